//! Sigstore bundles, which cosign 3 attaches to an image as a referrer.
//!
//! Source: sigstore/protobuf-specs, `sigstore_bundle.proto`, version 0.3; DSSE's protocol.md; in-toto's Statement v1. A
//! bundle that was made with a key has no certificate, and its entry in a log is not needed to check it. A bundle with a
//! certificate is a keyless signature, which `raas-sigstore` checks.

use raas_types::Digest;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::PublicKey;
use crate::dsse::{Envelope, STATEMENT};
use crate::invalid::{Invalid, Verified, legible};

/// The media type of a bundle, and the type of the artifact that holds one.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The media types of other bundles: the earlier versions, and another spelling of this one.
const OTHER_MEDIA_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
];

/// Whether this is the media type of a bundle, of any version.
pub fn is_media_type(text: &str) -> bool {
    text == MEDIA_TYPE || OTHER_MEDIA_TYPES.contains(&text)
}

/// The longest bundle. A usual one has a few kilobytes.
pub const MAX_BUNDLE: u64 = 1024 * 1024;

/// What a statement says if it signs an image. All others are attestations: an SBOM says nothing about who vouches for the
/// image.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnlyMaterial {
    verification_material: Material,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<IgnoredAny>,
    #[serde(rename = "x509CertificateChain")]
    chain: Option<IgnoredAny>,
}

/// Whether the bundle has the certificate of its signer, as a keyless signature has.
pub fn has_certificate(bundle: &[u8]) -> bool {
    let material = serde_json::from_slice(bundle).map(|bundle: OnlyMaterial| bundle.verification_material);
    material.is_ok_and(|material| material.certificate.is_some() || material.chain.is_some())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: Option<String>,
}

/// Checks that one of the keys signed the bundle, and that the bundle signs this image.
///
/// # Errors
/// The bundle does not count.
pub fn verify(bundle: &[u8], image: &Digest, keys: &[PublicKey]) -> Result<Verified, Invalid> {
    let bundle: Bundle =
        serde_json::from_slice(bundle).map_err(|error| Invalid::Document(legible(&error.to_string())))?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(Invalid::Kind(legible(&bundle.media_type)));
    }
    let envelope =
        bundle.dsse_envelope.ok_or_else(|| Invalid::Kind("a bundle without an envelope".into()))?;
    let (payload, key) = envelope.open(keys)?;
    check_statement(&envelope.payload_type, &payload, image)?;
    Ok(Verified { key: key.clone(), reference: None })
}

/// Checks that the payload of an envelope signs this image. The caller has checked the signature.
///
/// # Errors
/// The payload is something else, such as an attestation, or is about another image.
pub fn check_statement(payload_type: &str, payload: &[u8], image: &Digest) -> Result<(), Invalid> {
    if payload_type != STATEMENT {
        return Err(Invalid::Kind(legible(payload_type)));
    }
    let statement: Statement =
        serde_json::from_slice(payload).map_err(|error| Invalid::Document(legible(&error.to_string())))?;
    if !statement.kind.starts_with("https://in-toto.io/Statement/") || statement.predicate_type != SIGNS {
        return Err(Invalid::Kind(legible(&statement.predicate_type)));
    }
    let digests = statement.subject.iter().filter_map(|subject| subject.digest.sha256.as_deref());
    let digests: Vec<&str> = digests.collect();
    if !digests.contains(&image.hex().as_str()) {
        return Err(Invalid::Digest(legible(&digests.join(", "))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;
    use crate::key_file::tests::key;

    fn statement(digest: &str, predicate: &str) -> Value {
        json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "", "digest": {"sha256": digest}}],
            "predicateType": predicate, "predicate": {},
        })
    }

    fn bundle(kind: &str, payload: &str) -> Value {
        let envelope = Envelope::sign(kind, payload.as_bytes(), &key()).unwrap();
        json!({
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
            "dsseEnvelope": envelope,
        })
    }

    #[test]
    fn a_bundle_counts_if_it_signs_the_image() {
        let image = Digest::of(b"image");
        let hex = image.hex();
        let trusted = [key().public_key().clone()];
        let check = |bundle: &Value| verify(bundle.to_string().as_bytes(), &image, &trusted);
        let good = bundle(STATEMENT, &statement(&hex, SIGNS).to_string());
        assert_eq!(check(&good).unwrap(), Verified { key: trusted[0].clone(), reference: None });
        assert_eq!(verify(good.to_string().as_bytes(), &image, &[]).unwrap_err(), Invalid::Key);

        let sbom = bundle(STATEMENT, &statement(&hex, "https://spdx.dev/Document").to_string());
        assert_eq!(check(&sbom).unwrap_err(), Invalid::Kind("https://spdx.dev/Document".into()));
        let other = "0".repeat(64);
        assert_eq!(
            check(&bundle(STATEMENT, &statement(&other, SIGNS).to_string())).unwrap_err(),
            Invalid::Digest(other)
        );
        assert_eq!(
            check(&bundle("text/plain", &statement(&hex, SIGNS).to_string())).unwrap_err(),
            Invalid::Kind("text/plain".into())
        );
        let mut changed = good.clone();
        changed["dsseEnvelope"]["payload"] = STANDARD.encode(statement(&hex, SIGNS).to_string() + " ").into();
        assert_eq!(check(&changed).unwrap_err(), Invalid::Key);
        let mut unsigned = good.clone();
        unsigned["dsseEnvelope"]["signatures"] = json!([]);
        assert_eq!(check(&unsigned).unwrap_err(), Invalid::Key);
        let mut junk = good;
        junk["dsseEnvelope"]["signatures"][0]["sig"] = "?".into();
        assert_eq!(check(&junk).unwrap_err(), Invalid::Encoding);
        assert!(matches!(check(&json!({"mediaType": "x"})).unwrap_err(), Invalid::Kind(_)));
        assert!(matches!(check(&json!({"mediaType": MEDIA_TYPE})).unwrap_err(), Invalid::Kind(_)));
        assert!(matches!(check(&json!([])).unwrap_err(), Invalid::Document(_)));
        assert!(matches!(check(&bundle(STATEMENT, "{}")).unwrap_err(), Invalid::Document(_)));
    }

    #[test]
    fn a_bundle_tells_whether_it_has_a_certificate() {
        let with = |material: Value| {
            has_certificate(json!({"verificationMaterial": material}).to_string().as_bytes())
        };
        assert!(with(json!({"certificate": {"rawBytes": ""}})));
        assert!(with(json!({"x509CertificateChain": {"certificates": []}, "tlogEntries": []})));
        assert!(!with(json!({"publicKey": {"hint": ""}})));
        assert!(!with(json!({"certificate": null})));
        assert!(!has_certificate(b"{}") && !has_certificate(b"junk"));
        assert!(is_media_type(MEDIA_TYPE) && OTHER_MEDIA_TYPES.into_iter().all(is_media_type));
        assert!(!is_media_type("application/vnd.dev.sigstore.bundle+json;version=9"));
    }
}
