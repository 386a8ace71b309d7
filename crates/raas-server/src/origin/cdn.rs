//! A CDN that lets nobody in without a token.

use std::time::SystemTime;

use raas_types::ObjectKey;

use super::address::{AddressError, BaseUrl};
use super::akamai::AkamaiToken;
use super::cloudfront::CloudFront;
use super::credentials::CredentialError;

/// A base URL, and what makes tokens for what is below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Cdn {
    base: BaseUrl,
    token: CdnToken,
}

/// What makes tokens.
#[derive(Debug, PartialEq, Eq)]
pub enum CdnToken {
    /// Akamai's Auth Token 2.0.
    Akamai(AkamaiToken),
    /// Amazon CloudFront's signed URLs.
    CloudFront(CloudFront),
}

/// Why no tokens can be made. No text shows the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdnError {
    /// The base URL is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The secret is not what Akamai gives.
    #[error("the secret of the CDN is not an even number of hex digits")]
    Secret,
    /// Not a name that may stand in a query.
    #[error("`{0}` is not the name of a token: expected letters, digits, `_` and `-`")]
    Parameter(String),
    /// The key's own name is not as CloudFront gives them.
    #[error("`{0}` is not the id of a public key of CloudFront: expected letters and digits")]
    KeyId(String),
    /// Not a private key that can sign for CloudFront.
    #[error("the private key of the CDN is not a PEM of an RSA key or of an ECDSA key of the curve P-256")]
    Key,
}

impl Cdn {
    /// A CDN at this URL.
    ///
    /// # Errors
    /// The URL has a `*`, which CloudFront would take for anything.
    pub fn new(base: BaseUrl, token: CdnToken) -> Result<Self, CdnError> {
        if base.as_str().contains('*') {
            return Err(AddressError::Url.into());
        }
        Ok(Self { base, token })
    }

    /// The URL without a token, which by itself opens nothing.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// The URL of an object, good for as long as `size` bytes may take.
    pub(super) fn url(&self, key: &ObjectKey, size: u64, now: SystemTime) -> Result<String, CredentialError> {
        let mut url = self.base.of(key);
        match &self.token {
            CdnToken::Akamai(token) => token.append(&mut url, size, now),
            CdnToken::CloudFront(signer) => signer.append(&mut url, size, now)?,
        }
        Ok(url)
    }
}
