//! Where objects can be had over HTTP, and by which URL. Every URL is made here on this machine; nothing is asked.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use hyper::Method;
use raas_types::ObjectKey;

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
    /// Below a URL that everybody may read: a public bucket, or a CDN before a bucket.
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
    pub(crate) fn shown(&self) -> &str {
        match self {
            Origin::Open(base) => base.as_str(),
            Origin::Signed(signer) => signer.address().as_str(),
            Origin::Cdn(cdn) => cdn.base().as_str(),
        }
    }
}

/// The bytes that stand for themselves in some part of a URL: RFC 3986's unreserved characters, and more.
type Kept = [bool; 256];

/// What stands for itself in the path of a URL that is signed.
///
/// Source: AWS, "Signature Version 4 signing process", `UriEncode()`.
const SIGNED_PATH: &Kept = &kept(b"/");

/// What stands for itself in the path of any other URL. RFC 3986, section 3.3, lets a path have colons, and not
/// every small server that is put before a folder takes `%3A` for one.
const OPEN_PATH: &Kept = &kept(b"/:");

/// What stands for itself in the value of a query.
const QUERY: &Kept = &kept(b"");

/// A table rather than comparisons: each redirect asks it a hundred times.
const fn kept(more: &[u8]) -> Kept {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    let mut at = 0;
    while at < more.len() {
        table[more[at] as usize] = true;
        at += 1;
    }
    table
}

/// Adds what is written to it in percent-encoding.
struct Encoding<'a> {
    out: &'a mut String,
    kept: &'a Kept,
}

impl fmt::Write for Encoding<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        encode(self.out, text, self.kept);
        Ok(())
    }
}

/// Adds a text in percent-encoding: all but what is kept.
fn encode(out: &mut String, text: &str, kept: &Kept) {
    let stands = |byte: u8| kept[usize::from(byte)];
    // Nearly everything stands for itself, which is found out quickest without a way out of the loop.
    if text.bytes().fold(true, |all, byte| all & stands(byte)) {
        return out.push_str(text);
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !stands(byte)) {
        let (run, more) = rest.split_at(at);
        out.push_str(run);
        let odd = more.chars().next().map_or(0, char::len_utf8);
        for byte in more[..odd].bytes() {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        rest = &more[odd..];
    }
    out.push_str(rest);
}
