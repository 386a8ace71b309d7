//! What raas trusts: the authorities and the logs of one Sigstore.

use std::fmt;

use raas_signatures::{Invalid, bundle, legible, simple_signing};
use raas_types::{Descriptor, Digest};
use sigstore_trust_root::{SigstoreInstance, TrustedRoot};
use sigstore_types::{Artifact, Bundle, Sha256Hash, SignatureContent, VerificationMaterialContent};
use sigstore_verify::{Error, VerificationPolicy, Verifier};

use crate::signer::Signer;
use crate::{payload, provider, refusal::refusal};

/// The most entries, timestamps or certificates of one bundle that are looked at. A usual one has one of each.
const MAX_PARTS: usize = 10;

/// The authority of Sigstore's public service.
const PUBLIC: &str = "https://fulcio.sigstore.dev";

/// The authorities and the logs of one Sigstore.
pub struct SigstoreRoot {
    root: TrustedRoot,
    verifier: Verifier,
}

/// Why a root cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It is not the JSON of a trusted root.
    #[error("it is no trusted root of Sigstore: {0}")]
    Json(String),
    /// A key or a certificate of it cannot be used.
    #[error("a key or a certificate of it cannot be used: {0}")]
    Unusable(String),
    /// Nothing could be checked with it.
    #[error("it has no `{0}`, so no signature could count")]
    Missing(&'static str),
    /// Another part of the process has chosen other cryptography.
    #[error("the cryptography of this process is not that of raas")]
    Provider,
}

impl SigstoreRoot {
    /// The root of Sigstore's public service, as this raas has it.
    ///
    /// # Errors
    /// A key of it cannot be used.
    pub fn public() -> Result<Self, RootError> {
        Self::read(SigstoreInstance::PublicGood.embedded_trusted_root_json().as_bytes())
    }

    /// A root as `cosign trusted-root create` writes it, and as a Sigstore publishes it by TUF: `trusted_root.json`.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn read(file: &[u8]) -> Result<Self, RootError> {
        if !provider::install() {
            return Err(RootError::Provider);
        }
        let json = |error: &dyn fmt::Display| RootError::Json(legible(&error.to_string()));
        let text = str::from_utf8(file).map_err(|error| json(&error))?;
        let root = TrustedRoot::from_json(text).map_err(|error| json(&error))?;
        for (key, is_missing) in [
            ("certificateAuthorities", root.certificate_authorities.is_empty()),
            ("tlogs", root.tlogs.is_empty()),
            ("ctlogs", root.ctlogs.is_empty()),
        ] {
            if is_missing {
                return Err(RootError::Missing(key));
            }
        }
        let verifier =
            Verifier::new(&root).map_err(|error| RootError::Unusable(legible(&error.to_string())))?;
        Ok(Self { root, verifier })
    }

    /// Checks a bundle: an envelope with a statement about the image, or a signature of the image's manifest. Returns whose
    /// it is. Nothing of a statement is read before its signature is known to be good.
    ///
    /// # Errors
    /// The bundle does not count.
    pub fn verify_bundle(&self, bundle: &[u8], image: &Digest, manifest: &[u8]) -> Result<Signer, Invalid> {
        let bundle: Bundle =
            serde_json::from_slice(bundle).map_err(|error| Invalid::Document(legible(&error.to_string())))?;
        match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) => {
                let statement =
                    || bundle::check_statement(&envelope.payload_type, envelope.payload.as_bytes(), image);
                let digest = Sha256Hash::from_hex(&image.hex())
                    .map_err(|error| Invalid::Document(error.to_string()))?;
                let signer = self.verify(&bundle, digest.into()).map_err(|refused| {
                    // The statement says of which images it is, and the envelope which document it has.
                    let is_of_content = matches!(
                        &refused,
                        Refused::ByLibrary(Error::ArtifactMismatch(_) | Error::UnsupportedBundle(_))
                    );
                    let why = if is_of_content { statement().err() } else { None };
                    why.unwrap_or_else(|| self.reason(refused, &bundle))
                })?;
                statement()?;
                Ok(signer)
            }
            SignatureContent::MessageSignature(signature) => {
                let signed = signature.message_digest.as_ref().map(|digest| digest.digest.to_hex());
                if signed.as_ref().is_some_and(|signed| *signed != image.hex()) {
                    return Err(Invalid::Digest(legible(&signed.unwrap_or_default())));
                }
                if Digest::of(manifest) != *image {
                    return Err(Invalid::Digest(Digest::of(manifest).to_string()));
                }
                self.verify(&bundle, Artifact::Blob(manifest))
                    .map_err(|refused| self.reason(refused, &bundle))
            }
            _ => Err(Invalid::Kind("a bundle without a signature".into())),
        }
    }

    /// Checks a payload that cosign 2 has signed. Its layer has the signature, the certificate and the entry of the log.
    ///
    /// # Errors
    /// The signature does not count.
    pub fn verify_payload(
        &self,
        payload: &[u8],
        layer: &Descriptor,
        image: &Digest,
    ) -> Result<Signer, Invalid> {
        let bundle = payload::bundle(payload, layer)?;
        let signer =
            self.verify(&bundle, Artifact::Blob(payload)).map_err(|refused| self.reason(refused, &bundle))?;
        let reference = simple_signing::read_cosign(payload, image)?;
        Ok(Signer { reference: Some(reference), ..signer })
    }

    /// Checks all of a bundle but whose it is.
    fn verify(&self, bundle: &Bundle, artifact: Artifact<'_>) -> Result<Signer, Refused> {
        let material = &bundle.verification_material;
        let certificates = match &material.content {
            VerificationMaterialContent::X509CertificateChain { certificates } => certificates.len(),
            _ => 1,
        };
        let timestamps = material.timestamp_verification_data.rfc3161_timestamps.len();
        if [material.tlog_entries.len(), timestamps, certificates].into_iter().any(|count| count > MAX_PARTS)
        {
            let message = format!("more than {MAX_PARTS} entries, timestamps or certificates");
            return Err(Refused::ByRaas(Invalid::Document(message)));
        }
        let message: &[u8] = match &artifact {
            Artifact::Blob(message) => message,
            _ => &[],
        };
        let policy = VerificationPolicy::any_identity();
        let checked =
            provider::with_message(message, || self.verifier.verify(artifact.clone(), bundle, &policy));
        Signer::of(&checked.map_err(Refused::ByLibrary)?).map_err(Refused::ByRaas)
    }

    fn reason(&self, refused: Refused, bundle: &Bundle) -> Invalid {
        match refused {
            Refused::ByLibrary(error) => refusal(&error, bundle, &self.root),
            Refused::ByRaas(invalid) => invalid,
        }
    }

    /// Whether it is a root of Sigstore's public service, of any time, by what it says of itself.
    pub fn is_public(&self) -> bool {
        self.root.certificate_authorities.iter().all(|authority| authority.uri == PUBLIC)
    }

    /// The certificates of the authorities as a PEM file.
    pub fn authorities(&self) -> String {
        let chains = self.root.certificate_authorities.iter().map(|authority| &authority.cert_chain);
        chains.flat_map(|chain| &chain.certificates).map(|entry| lines(&entry.raw_bytes.to_pem())).collect()
    }

    /// The URL of the first authority.
    pub fn authority_url(&self) -> String {
        self.root.certificate_authorities.first().map(|authority| authority.uri.clone()).unwrap_or_default()
    }

    /// The URL of the first log of signatures.
    pub fn log_url(&self) -> String {
        self.root.tlogs.first().map(|log| log.base_url.clone()).unwrap_or_default()
    }

    /// The ECDSA keys of the logs of signatures, each as a PEM file.
    pub fn log_keys(&self) -> Vec<String> {
        let keys = self.root.tlogs.iter().map(|log| &log.public_key);
        let ecdsa = keys.filter(|key| key.key_details.as_str().starts_with("PKIX_ECDSA"));
        ecdsa.map(|key| lines(&key.raw_bytes.to_pem())).collect()
    }

    /// The keys of the logs of certificates, each as a PEM file.
    pub fn certificate_log_keys(&self) -> Vec<String> {
        self.root.ctlogs.iter().map(|log| lines(&log.public_key.raw_bytes.to_pem())).collect()
    }
}

/// Why a bundle does not count: in the words of `sigstore-verify`, or in our own.
enum Refused {
    ByLibrary(Error),
    ByRaas(Invalid),
}

/// A PEM file with the ends of lines that Unix has.
fn lines(pem: &str) -> String {
    pem.replace("\r\n", "\n")
}

impl fmt::Debug for SigstoreRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorities = self.root.certificate_authorities.iter().map(|authority| &authority.uri);
        f.debug_list().entries(authorities).finish()
    }
}
