//! Why a signature does not count, in the words of `raas-signatures`.

use raas_signatures::{Invalid, legible};
use sigstore_types::Bundle;
use sigstore_verify::{CertificateError, Error};

/// Says why `sigstore-verify` rejects a bundle.
pub(crate) fn refusal(error: &Error, bundle: &Bundle) -> Invalid {
    let detail = legible(&error.to_string());
    match error {
        Error::SignatureInvalid(_) => Invalid::Changed,
        Error::ArtifactMismatch(_) => Invalid::Log("its entry is for another content".into()),
        Error::Certificate(CertificateError::ChainInvalid(_)) => match outside_of_validity(bundle) {
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

/// When the log took the signature in, if the certificate was not valid then.
fn outside_of_validity(bundle: &Bundle) -> Option<String> {
    let certificate = sigstore_crypto::parse_certificate_info(bundle.signing_certificate()?).ok()?;
    let (from, to) = (certificate.not_before, certificate.not_after);
    let entries = &bundle.verification_material.tlog_entries;
    let time =
        entries.iter().filter_map(|entry| entry.integrated_time).find(|time| *time < from || *time > to)?;
    Some(format!("it is valid from {from} to {to}, and the log took the signature in at {time}"))
}
