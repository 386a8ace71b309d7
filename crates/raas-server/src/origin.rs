//! Origins: where objects are available over HTTP. All URLs are computed here, without a request.

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

/// Where objects are available over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Below a URL that everybody may read: a public bucket, or a CDN in front of a bucket.
    Open(BaseUrl),
    /// In a private bucket of an S3 service. Its URLs are signed and expire.
    Signed(Arc<Signer>),
    /// Behind a CDN that requires tokens. They are computed here and expire.
    Cdn(Arc<Cdn>),
}

impl Origin {
    /// The URL of an object. It is valid long enough for a slow client to download `size` bytes.
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

    /// The base URL, which holds no secret.
    pub(crate) fn display_name(&self) -> &str {
        match self {
            Origin::Open(base) => base.as_str(),
            Origin::Signed(signer) => signer.address().as_str(),
            Origin::Cdn(cdn) => cdn.base().as_str(),
        }
    }
}

/// The bytes that are not encoded in the path of a signed URL.
///
/// Source: AWS, "Signature Version 4 signing process", `UriEncode()`.
const SIGNED_PATH: &SafeBytes = &safe_bytes(b"/");
