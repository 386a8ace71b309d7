//! A payload that cosign 2 has signed, with what its layer says of the signature, as a bundle.
//!
//! Source: cosign, specs/SIGNATURE_SPEC.md, "Properties"; sigstore/protobuf-specs, `sigstore_bundle.proto`, version 0.1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_signatures::signature_manifest::{CERTIFICATE, CHAIN, LOG_ENTRY, SIGNATURE, TIMESTAMP};
use raas_signatures::{Invalid, MAX_SIGNATURE, legible};
use raas_types::{Descriptor, Digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_types::{Bundle, Sha256Hash};

/// The entry of the log, as Rekor answers.
#[derive(Deserialize)]
struct LogEntry {
    #[serde(rename = "SignedEntryTimestamp")]
    promise: String,
    #[serde(rename = "Payload")]
    payload: Entry,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    body: String,
    integrated_time: i64,
    log_index: u64,
    #[serde(rename = "logID")]
    log_id: String,
}

/// What the body of an entry says of its own form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    kind: String,
    api_version: String,
}

#[derive(Deserialize)]
struct Timestamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    token: String,
}

/// The bundle of a signed payload.
///
/// # Errors
/// An annotation is missing, or is not what it should be.
pub(crate) fn bundle(payload: &[u8], layer: &Descriptor) -> Result<Bundle, Invalid> {
    let annotation = |key| layer.annotation(key).ok_or(Invalid::Annotation(key));
    let signature = annotation(SIGNATURE)?;
    if signature.len() > MAX_SIGNATURE {
        return Err(Invalid::Encoding);
    }
    let mut certificates = certificates(annotation(CERTIFICATE)?)?;
    // Nothing but the signer's own: the chain has the others.
    certificates.truncate(1);
    if let Some(chain) = layer.annotation(CHAIN).filter(|chain| !chain.is_empty()) {
        certificates.extend(self::certificates(chain)?);
    }
    let entry = layer
        .annotation(LOG_ENTRY)
        .ok_or_else(|| Invalid::Log(format!("it has no annotation `{LOG_ENTRY}` with its entry")))?;
    let timestamps = match layer.annotation(TIMESTAMP).filter(|timestamp| !timestamp.is_empty()) {
        Some(timestamp) => {
            let Timestamp { token } = read(timestamp)?;
            vec![json!({"signedTimestamp": token})]
        }
        None => Vec::new(),
    };
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "verificationMaterial": {
            "x509CertificateChain": {"certificates": certificates},
            "tlogEntries": [log_entry(entry)?],
            "timestampVerificationData": {"rfc3161Timestamps": timestamps},
        },
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": base64_of_hex(&Digest::of(payload).hex())?},
            "signature": signature,
        },
    });
    serde_json::from_value(bundle).map_err(|error| document(&error))
}

fn log_entry(text: &str) -> Result<Value, Invalid> {
    let LogEntry { promise, payload: Entry { body, integrated_time, log_index, log_id } } = read(text)?;
    let decoded = STANDARD.decode(&body).map_err(|_| Invalid::Base64)?;
    let Kind { kind, api_version } = serde_json::from_slice(&decoded).map_err(|error| document(&error))?;
    Ok(json!({
        "logIndex": log_index.to_string(),
        "logId": {"keyId": base64_of_hex(&log_id)?},
        "kindVersion": {"kind": kind, "version": api_version},
        "integratedTime": integrated_time.to_string(),
        "inclusionPromise": {"signedEntryTimestamp": promise},
        "canonicalizedBody": body,
    }))
}

/// The certificates of a PEM file, as a bundle has them.
fn certificates(pem: &str) -> Result<Vec<Value>, Invalid> {
    let damaged = || Invalid::Certificate("it is not valid PEM".into());
    let all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let all: Result<Vec<Value>, Invalid> = all
        .map(|der| der.map(|der| json!({"rawBytes": STANDARD.encode(&der)})).map_err(|_| damaged()))
        .collect();
    all.and_then(|all| if all.is_empty() { Err(damaged()) } else { Ok(all) })
}

fn base64_of_hex(hex: &str) -> Result<String, Invalid> {
    Ok(Sha256Hash::from_hex(hex).map_err(|error| document(&error))?.to_base64())
}

fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, Invalid> {
    serde_json::from_str(text).map_err(|error| document(&error))
}

fn document(error: &dyn std::error::Error) -> Invalid {
    Invalid::Document(legible(&error.to_string()))
}
