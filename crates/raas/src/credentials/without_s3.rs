//! The place of `credentials.rs` in a build without the feature `s3`, which has no credentials.

use std::sync::Arc;

use raas_base::failure::{Failure, Kind};
use raas_server::{CredentialError, CredentialSource, Credentials};

use crate::config::Aws;

#[derive(Debug)]
struct NoCredentials;

impl CredentialSource for NoCredentials {
    fn current(&self) -> Result<Arc<Credentials>, CredentialError> {
        Err(CredentialError("no bucket needs credentials".into()))
    }
}

/// What AWS's standard chain says for all buckets: nothing.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) credentials: Arc<dyn CredentialSource>,
    pub(crate) region: Option<String>,
}

/// A source without credentials, for servers whose vendors have no bucket.
///
/// # Errors
/// A bucket needs credentials.
#[expect(clippy::unused_async, reason = "the function of a build with S3 is asynchronous")]
pub(crate) async fn source(_aws: &Aws, needed: bool) -> Result<Found, Failure> {
    if needed {
        let message = "a server redirects to an S3 bucket, but this raas was built without S3";
        return Err(Failure::new(Kind::Usage, message)
            .hint("build raas with its default features: cargo install --path crates/raas --locked"));
    }
    Ok(Found { credentials: Arc::new(NoCredentials), region: None })
}
