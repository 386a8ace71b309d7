//! Why a signature does not count, in the words of `raas-signatures`.

use raas_signatures::{Invalid, legible};
use sigstore_trust_root::TrustedRoot;
use sigstore_types::{Bundle, SignatureContent};
use sigstore_verify::tsa::verify_timestamp_for_authority;
use sigstore_verify::{CertificateError, Error};

/// Says why `sigstore-verify` rejects a bundle.
pub(crate) fn refusal(error: &Error, bundle: &Bundle, root: &TrustedRoot) -> Invalid {
    let detail = legible(&error.to_string());
    match error {
        Error::SignatureInvalid(_) => Invalid::Changed,
        Error::ArtifactMismatch(_) => Invalid::Log("its entry is for another content".into()),
        Error::Certificate(CertificateError::ChainInvalid(_)) => match outside_of_validity(bundle, root) {
            Some(why) => Invalid::Certificate(why),
            None => Invalid::Certificate(format!("no trusted authority has issued it ({detail})")),
        },
        Error::Certificate(CertificateError::Sct(_)) => {
            Invalid::Certificate(format!("no trusted log of certificates has it ({detail})"))
        }
        Error::Certificate(_) => Invalid::Certificate(detail),
        Error::TransparencyLog(_) => Invalid::Log(detail),
        Error::Timestamp(_) => Invalid::Time(detail),
        // The parts that a bundle of its version must have: the entry in the log, with its proof or its promise.
        Error::Bundle(_) => Invalid::Log(detail),
        _ => Invalid::Document(detail),
    }
}

/// When the signature was made, if the certificate was not valid then. The library has checked promises and timestamps
/// before the certificate, and says no time.
fn outside_of_validity(bundle: &Bundle, root: &TrustedRoot) -> Option<String> {
    let certificate = sigstore_crypto::parse_certificate_info(bundle.signing_certificate()?).ok()?;
    let (from, to) = (certificate.not_before, certificate.not_after);
    let material = &bundle.verification_material;
    let promised = material.tlog_entries.iter().filter(|entry| entry.inclusion_promise.is_some());
    let logged = promised.filter_map(|entry| entry.integrated_time).find(|time| *time < from || *time > to);
    if let Some(time) = logged {
        return Some(format!("it is valid from {from} to {to}, and the log took the signature in at {time}"));
    }
    let signature = match &bundle.content {
        SignatureContent::DsseEnvelope(envelope) => &envelope.signature.sig,
        SignatureContent::MessageSignature(message) => &message.signature,
        _ => return None,
    };
    let authorities = root.tsa_authorities();
    let timestamps = &material.timestamp_verification_data.rfc3161_timestamps;
    let time = timestamps
        .iter()
        .flat_map(|timestamp| authorities.iter().map(|authority| (&timestamp.signed_timestamp, authority)))
        .filter_map(|(token, authority)| verify_timestamp_for_authority(token, signature, authority).ok())
        .find(|time| *time < from || *time > to)?;
    Some(format!("it is valid from {from} to {to}, and the timestamp of the signature is {time}"))
}
