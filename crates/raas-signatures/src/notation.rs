//! Signatures of Notation: an envelope in an artifact that refers to the image. A chain of certificates in the envelope
//! leads to a certificate that is trusted.
//!
//! ```text
//! TrustedCertificate ◀── chain ◀── signing certificate ──▶ envelope ──▶ payload: the descriptor of the image
//! ```
//!
//! Source: Notary Project, signature-specification.md, signature-envelope-jws.md, and trust-store-trust-policy.md; RFC 7515;
//! RFC 5280. Not checked: revocation, and the countersignatures of timestamp authorities. So every certificate of the chain
//! must be valid now.

mod certificate;
mod envelope;
mod leaf;
mod time;

use raas_types::{Digest, Utc};
use serde::Deserialize;

pub use self::certificate::{CertificateError, TrustedCertificate};
use self::envelope::Envelope;
use self::leaf::Leaf;
use crate::invalid::{Invalid, legible, same_digest};

/// The type of the artifact that holds a signature.
pub const ARTIFACT_TYPE: &str = "application/vnd.cncf.notary.signature";

/// The media type of an envelope in JSON.
pub const JWS: &str = "application/jose+json";

/// The media type of an envelope in CBOR, which raas does not read.
pub const COSE: &str = "application/cose";

/// The longest envelope. A usual one has 4 KiB, with a timestamp 15 KiB.
pub const MAX_ENVELOPE: u64 = 1024 * 1024;

/// The image that a signature should be for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The digest of its manifest.
    pub digest: &'a Digest,
    /// The media type of its manifest.
    pub media_type: &'a str,
    /// The length of its manifest in bytes.
    pub size: u64,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "targetArtifact")]
    target: TargetArtifact,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetArtifact {
    media_type: String,
    digest: String,
    size: u64,
}

/// Checks that a chain of certificates leads from the envelope to one of the trusted certificates, that the envelope is
/// signed with the first certificate, and that it signs this image. Nothing of the payload is read before its signature is
/// known to be good.
///
/// # Errors
/// The signature does not count.
pub fn verify(
    envelope: &[u8],
    image: &Target<'_>,
    trusted: &[TrustedCertificate],
    now: Utc,
) -> Result<(), Invalid> {
    let envelope = Envelope::parse(envelope)?;
    let signed_at = envelope.signed_at()?;
    let leaf = Leaf::parse(&envelope.chain)?;
    leaf.leads_to(trusted, &[now, signed_at])?;
    leaf.verify(envelope.algorithm(), &envelope.signed, &envelope.signature)?;
    if let Some(expiry) = envelope.expiry()?
        && expiry <= now
    {
        return Err(Invalid::Expired(expiry.to_string()));
    }
    let payload: Payload = serde_json::from_slice(&envelope.payload)
        .map_err(|error| Invalid::Document(legible(&error.to_string())))?;
    let TargetArtifact { media_type, digest, size } = payload.target;
    same_digest(&digest, image.digest)?;
    if media_type != image.media_type || size != image.size {
        return Err(Invalid::Descriptor(format!("{}, {size} bytes", legible(&media_type))));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
