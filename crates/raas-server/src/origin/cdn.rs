//! A CDN that requires tokens.

use std::time::SystemTime;

use raas_types::ObjectKey;

use super::address::{AddressError, BaseUrl};
use super::akamai::AkamaiToken;
use super::cloudfront::CloudFront;
use super::credentials::CredentialError;

/// A base URL, and the signer for URLs below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Cdn {
    base: BaseUrl,
    token: CdnToken,
}

/// The kind of token.
#[derive(Debug, PartialEq, Eq)]
pub enum CdnToken {
    /// Akamai's Auth Token 2.0.
    Akamai(AkamaiToken),
    /// Amazon CloudFront's signed URLs.
    CloudFront(CloudFront),
}

/// Why a CDN cannot be used. The texts never show a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdnError {
    /// The base URL is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The secret is not in Akamai's format.
    #[error("the secret of the CDN is not hex: expected an even number of hex digits")]
    Secret,
    /// Not a name for a query parameter.
    #[error("`{0}` is not the name of a token: expected letters, digits, `_` and `-`")]
    Parameter(String),
    /// Not an id as CloudFront assigns it.
    #[error("`{0}` is not the id of a public key of CloudFront: expected letters and digits")]
    KeyId(String),
    /// Not a private key for CloudFront.
    #[error("the private key of the CDN is not a PEM of an RSA key or of an ECDSA key of the curve P-256")]
    Key,
}

impl Cdn {
    /// A CDN at this base URL.
    ///
    /// # Errors
    /// The URL has a `*`, which is a wildcard in CloudFront's policies.
    pub fn new(base: BaseUrl, token: CdnToken) -> Result<Self, CdnError> {
        if base.as_str().contains('*') {
            return Err(AddressError::Url.into());
        }
        Ok(Self { base, token })
    }

    /// The base URL. It opens nothing without a token.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Whether lifetimes are rounded up.
    pub(super) fn rounds_up(&self) -> bool {
        matches!(self.token, CdnToken::CloudFront(_))
    }

    /// The URL of an object. It is valid long enough for a slow client to download `size` bytes.
    pub(super) fn url(&self, key: &ObjectKey, size: u64, now: SystemTime) -> Result<String, CredentialError> {
        let mut url = self.base.of(key);
        match &self.token {
            CdnToken::Akamai(token) => token.append(&mut url, size, now),
            CdnToken::CloudFront(signer) => signer.append(&mut url, size, now)?,
        }
        Ok(url)
    }
}
