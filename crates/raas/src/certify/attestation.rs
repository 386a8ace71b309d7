//! The attestation of a certified image: a statement of in-toto about the manifest, in an artifact that refers to it.

use raas_signatures::dsse::{self, Envelope};
use raas_signatures::{SigningKey, SigningKeyError};
use raas_types::{Descriptor, Digest, Manifest, media_type};
use serde::Serialize;

use super::ImageCertification;
use crate::check::Outcome;

/// The type of the artifact, which clients ask the referrers API for.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.raas.certification.v1+json";

/// The type of the predicate.
const PREDICATE_TYPE: &str = "https://github.com/raas-registry/raas/certification/v1";

/// The annotation of the artifact with the digest of the statement. A signature differs each time, and the statement does
/// not: the same statement by the same key is not published again.
const STATEMENT_DIGEST: &str = "io.raas.certification.statement";

/// The annotation with the SHA-256 of the public key in DER.
const SIGNED_BY: &str = "io.raas.certification.signed-by";

/// The config of an artifact without one. Source: OCI image-spec 1.1, "Guidance for an Empty Descriptor".
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const EMPTY: &[u8] = b"{}";

/// An attestation, ready to be stored.
pub(crate) struct Attestation {
    pub(crate) manifest: Vec<u8>,
    /// The statement, or the envelope that signs it.
    pub(crate) layer: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Subject<'a>; 1],
    predicate_type: &'static str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
struct Subject<'a> {
    name: &'a str,
    digest: SubjectDigest,
}

#[derive(Serialize)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Serialize)]
struct Predicate<'a> {
    tool: &'static str,
    checks: Vec<CheckResult<'a>>,
}

#[derive(Serialize)]
struct CheckResult<'a> {
    name: &'a str,
    outcome: Outcome,
    found: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Artifact<'a> {
    schema_version: u8,
    media_type: &'static str,
    artifact_type: &'static str,
    config: Descriptor,
    layers: [Descriptor; 1],
    subject: &'a Descriptor,
    annotations: Annotations,
}

#[derive(Serialize)]
struct Annotations {
    #[serde(rename = "io.raas.certification.statement")]
    statement: Digest,
    #[serde(rename = "io.raas.certification.signed-by", skip_serializing_if = "Option::is_none")]
    signed_by: Option<Digest>,
}

/// The statement about a manifest. The same bytes each time.
pub(crate) fn statement(repository: &str, subject: &Digest, image: &ImageCertification) -> Vec<u8> {
    let checks = image.checks.iter();
    let checks =
        checks.map(|check| CheckResult { name: check.name, outcome: check.outcome, found: &check.found });
    let statement = Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject: [Subject { name: repository, digest: SubjectDigest { sha256: subject.hex() } }],
        predicate_type: PREDICATE_TYPE,
        predicate: Predicate { tool: "raas", checks: checks.collect() },
    };
    serde_json::to_vec(&statement).expect("all keys are strings")
}

/// Makes the artifact of a statement, signed if there is a key.
///
/// # Errors
/// The statement cannot be signed.
pub(crate) fn make(
    statement: &[u8],
    subject: &Descriptor,
    key: Option<&SigningKey>,
) -> Result<Attestation, SigningKeyError> {
    let (layer, layer_type) = match key {
        Some(key) => {
            let envelope = Envelope::sign(dsse::STATEMENT, statement, key)?;
            (serde_json::to_vec(&envelope).expect("all keys are strings"), dsse::MEDIA_TYPE)
        }
        None => (statement.to_vec(), dsse::STATEMENT),
    };
    let artifact = Artifact {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST,
        artifact_type: ARTIFACT_TYPE,
        config: descriptor(EMPTY_TYPE, EMPTY),
        layers: [descriptor(layer_type, &layer)],
        subject,
        annotations: Annotations { statement: Digest::of(statement), signed_by: key.map(fingerprint) },
    };
    Ok(Attestation { manifest: serde_json::to_vec(&artifact).expect("all keys are strings"), layer })
}

fn fingerprint(key: &SigningKey) -> Digest {
    key.public_key().fingerprint()
}

/// Whether a published manifest is the attestation of this statement, with the same key or without one.
pub(crate) fn is_of(manifest: &Manifest, statement: &[u8], key: Option<&SigningKey>) -> bool {
    let annotation = |name: &str| manifest.annotations.as_ref()?.get(name).cloned();
    manifest.artifact_type.as_deref() == Some(ARTIFACT_TYPE)
        && annotation(STATEMENT_DIGEST) == Some(Digest::of(statement).to_string())
        && annotation(SIGNED_BY) == key.map(|key| fingerprint(key).to_string())
}

/// A descriptor without optional keys.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        urls: Vec::new(),
        data: None,
        platform: None,
        annotations: None,
        artifact_type: None,
    }
}
