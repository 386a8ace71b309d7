//! Sigstore bundles, which cosign 3 attaches to an image as a referrer.
//!
//! Source: sigstore/protobuf-specs, `sigstore_bundle.proto`, version 0.3; DSSE's protocol.md; in-toto's Statement v1. A
//! bundle that was made with a key has no certificate, and its entry in a log is not needed to check it.

use raas_types::Digest;
use serde::Deserialize;

use crate::PublicKey;
use crate::dsse::{Envelope, STATEMENT};
use crate::invalid::{Invalid, Verified, legible};

/// The media type of a bundle, and the type of the artifact that holds one.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

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
    let json = |error: serde_json::Error| Invalid::Document(legible(&error.to_string()));
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(json)?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(Invalid::Kind(legible(&bundle.media_type)));
    }
    let envelope =
        bundle.dsse_envelope.ok_or_else(|| Invalid::Kind("a bundle without an envelope".into()))?;
    let (payload, key) = envelope.open(keys)?;
    if envelope.payload_type != STATEMENT {
        return Err(Invalid::Kind(legible(&envelope.payload_type)));
    }
    let statement: Statement = serde_json::from_slice(&payload).map_err(json)?;
    if !statement.kind.starts_with("https://in-toto.io/Statement/") || statement.predicate_type != SIGNS {
        return Err(Invalid::Kind(legible(&statement.predicate_type)));
    }
    let digests = statement.subject.iter().filter_map(|subject| subject.digest.sha256.as_deref());
    let digests: Vec<&str> = digests.collect();
    if !digests.contains(&image.hex().as_str()) {
        return Err(Invalid::Digest(legible(&digests.join(", "))));
    }
    Ok(Verified { key: key.clone(), reference: None })
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
}
