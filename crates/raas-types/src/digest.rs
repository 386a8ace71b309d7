//! Content digests, `sha256:` and 64 hex digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// The SHA-256 digest of content. Every registry and client has this algorithm.
///
/// Source: OCI image-spec 1.1, descriptor.md, "Digests". The specification has `sha512:` too, and not every client can use
/// it: skopeo 1.9 computes the SHA-256 of what it copies and refuses the image, which an end-to-end test shows; docker 28
/// takes blobs of that name only if the diff ids are SHA-256. So raas rejects such digests with an error of their own.
///
/// ```
/// use raas_types::Digest;
///
/// let digest = Digest::of(b"content");
/// assert_eq!(digest, digest.to_string().parse()?);
/// assert_eq!(digest.short(), "ed7002b439e9");
/// # Ok::<(), raas_types::DigestError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The text breaks the grammar `algorithm ":" encoded`, or its hex part does not fit the algorithm.
    #[error("`{0}` is not a digest: expected `sha256:` and 64 lower-case hex digits")]
    Malformed(String),
    /// The text is a digest by the grammar, with an algorithm that raas does not compute.
    #[error("`{0}` is a digest of an algorithm that raas does not support: only sha256 is")]
    Unsupported(String),
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The length of a digest's text in bytes.
    pub const LENGTH: usize = 71;

    /// The digest as text in a buffer of the caller. The server writes digests more often than anything else, and this
    /// way allocates nothing.
    pub fn text<'a>(&self, into: &'a mut [u8; Self::LENGTH]) -> &'a str {
        let (algorithm, digits) = into.split_at_mut(7);
        algorithm.copy_from_slice(b"sha256:");
        hex::encode_to_slice(self.0, digits).expect("64 digits are left");
        std::str::from_utf8(into).expect("hex digits are ASCII")
    }

    /// The 64 hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// A digest from its 64 lower-case hex digits, which name files in docker save archives and Pulp exports.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        parse_hex32(text).map(Digest).ok_or_else(|| DigestError::Malformed(text.to_owned()))
    }

    /// The first twelve hex digits, for messages to people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

/// Exactly 64 lower-case hex digits. Upper case is an error, because clients compare digests as text.
pub(crate) fn parse_hex32(text: &str) -> Option<[u8; 32]> {
    // The library would skip a `0x` before the digits.
    if text.len() != 64 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed(text.chars().take(200).collect());
        let (algorithm, encoded) = text.split_once(':').ok_or_else(malformed)?;
        if algorithm == "sha256" {
            return parse_hex32(encoded).map(Digest).ok_or_else(malformed);
        }
        let known_shape = !algorithm.is_empty()
            && algorithm
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b))
            && encoded.len() >= 32
            && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"=_-".contains(&b));
        Err(if known_shape {
            DigestError::Unsupported(text.chars().take(200).collect())
        } else {
            malformed()
        })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; Self::LENGTH]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a digest from bytes in pieces of any length.
#[derive(Clone, Default)]
pub struct Sha256 {
    state: sha2::Sha256,
    length: u64,
}

impl Sha256 {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// The number of bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest of all bytes.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl std::io::Write for Sha256 {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_content_has_the_well_known_digest() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Sha256::default().finish());
    }

    #[test]
    fn malformed_and_unsupported_digests_have_different_errors() {
        let hex = "a".repeat(64);
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:abc",
            &format!("sha256:{}", hex.to_uppercase()),
            &format!("sha256:{hex}0"),
        ] {
            assert!(matches!(bad.parse::<Digest>(), Err(DigestError::Malformed(_))), "{bad}");
        }
        let sha512 = format!("sha512:{hex}{hex}");
        assert_eq!(sha512.parse::<Digest>(), Err(DigestError::Unsupported(sha512)));
    }
}
