//! Origins: where objects are available over HTTP. All URLs are computed here, without a request.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::Method;
use raas_types::ObjectKey;

use crate::http::query::{SafeBytes, safe_bytes};

mod address;
mod akamai;
mod cdn;
mod cloudfront;
mod credentials;
mod recent;
mod signer;

pub use address::{AddressError, BaseUrl, S3Location};
pub use akamai::{AkamaiToken, TokenAlgorithm};
pub use cdn::{Cdn, CdnError, CdnToken};
pub use cloudfront::CloudFront;
pub use credentials::{CredentialError, CredentialSource, Credentials};
pub use signer::Signer;
use signer::{MIN_LIFETIME, size_for};

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

    /// The URL of an object of a protected repository. It ends within a quarter of an hour, whatever the size is,
    /// unless the operator has set longer tokens of a CDN. A client that needs longer asks the registry again.
    pub(crate) fn short_url(
        &self,
        method: &Method,
        key: &ObjectKey,
        size: Option<u64>,
    ) -> Result<String, CredentialError> {
        let longest = match self {
            // A signature of CloudFront is used for five minutes, and its lifetime is rounded up to a power of two.
            Origin::Cdn(cdn) if cdn.rounds_up() => size_for(Duration::from_secs(512) - MIN_LIFETIME),
            _ => size_for(Duration::from_secs(15 * 60) - MIN_LIFETIME),
        };
        self.url(method, key, size.map(|size| size.min(longest)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_protected_content_ends_within_a_quarter_of_an_hour() {
        let credentials = Credentials {
            access_key_id: "KEY".into(),
            secret_access_key: "secret".into(),
            session_token: None,
            expires: None,
        };
        let location = S3Location {
            endpoint: Some("http://127.0.0.1:9".into()),
            region: "x".into(),
            bucket: "acme".into(),
            prefix: None,
            path_style: true,
        };
        let signer = Signer::new(&location, Arc::new(Arc::new(credentials))).unwrap();
        let origin = Origin::Signed(Arc::new(signer));
        let key = ObjectKey::Blob("app".parse().unwrap(), raas_types::Digest::of(b""));
        let lifetime = |url: String| -> u64 {
            let (_, rest) = url.split_once("X-Amz-Expires=").unwrap();
            rest.split('&').next().unwrap().parse().unwrap()
        };
        let mib = 1024 * 1024;
        for (size, long, short) in [(0, 300, 300), (10 * mib, 340, 340), (1024 * mib, 4396, 900)] {
            assert_eq!(lifetime(origin.url(&Method::GET, &key, Some(size)).unwrap()), long);
            assert_eq!(lifetime(origin.short_url(&Method::GET, &key, Some(size)).unwrap()), short);
        }
    }
}
