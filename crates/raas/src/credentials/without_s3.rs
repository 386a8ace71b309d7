//! Credentials in a build without the feature `s3`: there are none.

use std::sync::Arc;

use raas_base::failure::Failure;
use raas_server::{CredentialError, CredentialSource, Credentials};

use crate::config::Aws;
use crate::storage::s3;

/// No credentials at all.
#[derive(Debug)]
struct Nothing;

impl CredentialSource for Nothing {
    fn current(&self) -> Result<Arc<Credentials>, CredentialError> {
        Err(CredentialError("no bucket needs credentials".into()))
    }
}

/// A source for servers whose vendors have no bucket.
///
/// # Errors
/// A bucket needs credentials.
#[expect(clippy::unused_async, reason = "a build with S3 asks services here")]
pub(crate) async fn source(_aws: &Aws, needed: bool) -> Result<Arc<dyn CredentialSource>, Failure> {
    if needed { Err(s3::missing("a server redirects to an S3 bucket")) } else { Ok(Arc::new(Nothing)) }
}
