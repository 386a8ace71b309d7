//! The outcome of checking a signature.

use raas_types::Digest;

use crate::PublicKey;

/// A valid signature of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key that made it.
    pub key: PublicKey,
    /// The name of the image that was signed, such as `registry.example.com/app`. `None` if the format has none.
    pub reference: Option<String>,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The signature is not Base64, or is too long for one.
    #[error("its signature is not Base64 of at most {MAX_SIGNATURE} characters")]
    Encoding,
    /// A part of a document is not Base64.
    #[error("a part of it is not Base64")]
    Base64,
    /// The descriptor has no annotation with the signature.
    #[error("it has no annotation `{0}`")]
    Annotation(&'static str),
    /// None of the trusted keys made the signature, or the document was changed afterwards.
    #[error("none of the trusted keys made it, or its content was changed")]
    Key,
    /// The signature is not of this content.
    #[error("its content was changed, or its certificate belongs to another signature")]
    Changed,
    /// No trusted log has the signature.
    #[error("no trusted log vouches for it: {0}")]
    Log(String),
    /// No trusted clock says when the signature was made.
    #[error("its time does not count: {0}")]
    Time(String),
    /// The signed document is not what it should be.
    #[error("its signed document cannot be read: {0}")]
    Document(String),
    /// The signed document is something else, such as an attestation.
    #[error("it is no signature of an image, but `{0}`")]
    Kind(String),
    /// The document is about another manifest.
    #[error("it signs another manifest, {0}")]
    Digest(String),
    /// The document is about a manifest with the same digest, and with another media type or length.
    #[error("it signs a manifest with another media type or length: {0}")]
    Descriptor(String),
    /// A header of the signature is not what it should be.
    #[error("a header of it is wrong: {0}")]
    Header(String),
    /// The signer's certificate is not trusted, or may not sign images.
    #[error("its certificate does not count: {0}")]
    Certificate(String),
    /// The signer has said until when the signature counts.
    #[error("it has expired at {0}")]
    Expired(String),
}

/// The longest signature in Base64. A signature of P-256 has 96 characters.
pub const MAX_SIGNATURE: usize = 1024;

/// The key that made the signature.
pub(crate) fn signer<'a>(
    keys: &'a [PublicKey],
    message: &[u8],
    signature: &[u8],
) -> Result<&'a PublicKey, Invalid> {
    keys.iter().find(|key| key.verifies(message, signature)).ok_or(Invalid::Key)
}

/// Compares the digest in a document with that of the image.
pub(crate) fn same_digest(found: &str, image: &Digest) -> Result<(), Invalid> {
    if found == image.to_string() { Ok(()) } else { Err(Invalid::Digest(legible(found))) }
}

/// Text of a document, shortened for a message.
pub fn legible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
