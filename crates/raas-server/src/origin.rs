//! Where objects can be had over HTTP, and by which URL. Every URL is made here on this machine; nothing is asked.

use std::sync::Arc;
use std::time::SystemTime;

use hyper::Method;
use raas_types::ObjectKey;

use crate::http::query::{SafeBytes, safe_bytes};

mod address;
mod akamai;
mod cdn;
mod cloudfront;
mod credentials;
mod signer;

pub use address::{AddressError, BaseUrl, S3Location};
pub use akamai::{AkamaiToken, TokenAlgorithm};
pub use cdn::{Cdn, CdnError, CdnToken};
pub use cloudfront::CloudFront;
pub use credentials::{CredentialError, CredentialSource, Credentials};
pub use signer::Signer;

/// Where objects can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// ConfinedFile a URL that everybody may read: a public bucket, or a CDN before a bucket.
    Open(BaseUrl),
    /// In a private bucket of an S3 service, by URLs that are signed and soon expire.
    Signed(Arc<Signer>),
    /// Behind a CDN that asks for a token, which is made here and soon expires.
    Cdn(Arc<Cdn>),
}

impl Origin {
    /// The URL of an object, good from now on for as long as `size` bytes may take.
    pub(crate) fn url(
        &self,
        method: &Method,
        key: &ObjectKey,
        size: Option<u64>,
    ) -> Result<String, CredentialError> {
        match self {
            Origin::Open(base) => Ok(base.of(key)),
            Origin::Signed(signer) => signer.url(method, key, size.unwrap_or(0), SystemTime::now()),
            Origin::Cdn(cdn) => cdn.url(key, size.unwrap_or(0), SystemTime::now()),
        }
    }

    /// What may be told of it.
    pub(crate) fn display_name(&self) -> &str {
        match self {
            Origin::Open(base) => base.as_str(),
            Origin::Signed(signer) => signer.address().as_str(),
            Origin::Cdn(cdn) => cdn.base().as_str(),
        }
    }
}

/// What stands for itself in the path of a URL that is signed.
///
/// Source: AWS, "Signature Version 4 signing process", `UriEncode()`.
const SIGNED_PATH: &SafeBytes = &safe_bytes(b"/");
