//! Where objects can be had over HTTP, and by which URL. Every URL is made here on this machine; nothing is asked.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::Method;
use raas_types::ObjectKey;

mod address;
mod credentials;
mod signer;

pub use address::{AddressError, BaseUrl, S3Location};
pub use credentials::{CredentialError, CredentialSource, Credentials};
pub use signer::Signer;

/// Where objects can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Below a URL that everybody may read: a public bucket, or a CDN before a bucket.
    Open(BaseUrl),
    /// In a private bucket of an S3 service, by URLs that are signed and soon expire.
    Signed(Arc<Signer>),
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
        }
    }

    /// What may be told of it.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Origin::Open(base) => base.as_str(),
            Origin::Signed(signer) => signer.address().as_str(),
        }
    }
}

/// Adds a text in percent-encoding: all but RFC 3986's unreserved characters, and but slashes if they are kept. It is
/// as AWS wants it in what is signed.
///
/// Source: "Signature Version 4 signing process", `UriEncode()`.
fn encode(out: &mut String, text: &str, keep_slash: bool) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
