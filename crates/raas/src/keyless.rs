//! The keyless signatures that a vendor trusts: those of some identities, by the authorities and the logs of one Sigstore.

use std::path::Path;

use raas_base::failure::{Failure, Kind};
use raas_sigstore::{Identity, Signer, SigstoreRoot};
use raas_types::{Descriptor, Digest};

use crate::config::KeylessSigner;
use crate::trusted_file;

/// The trusted signers, and what vouches for them.
#[derive(Debug)]
pub(crate) struct Keyless {
    signers: Vec<KeylessSigner>,
    root: SigstoreRoot,
}

impl Keyless {
    /// Reads the root of the Sigstore: from the file, or that of the public Sigstore.
    ///
    /// # Errors
    /// The file cannot be read, or is no root.
    pub(crate) fn load(signers: Vec<KeylessSigner>, root: Option<&Path>) -> Result<Self, Failure> {
        let (read, shown) = match root {
            Some(file) => {
                let bytes = trusted_file::read(file, "the `sigstore_root`")?;
                (SigstoreRoot::read(&bytes), file.display().to_string())
            }
            None => (SigstoreRoot::public(), "the root of the public Sigstore".to_owned()),
        };
        let root = read.map_err(|error| {
            Failure::new(Kind::Usage, format!("cannot use {shown}"))
                .caused_by(error)
                .hint("give `sigstore_root` a file as `cosign trusted-root create` writes it")
        })?;
        Ok(Self { signers, root })
    }

    pub(crate) fn signers(&self) -> &[KeylessSigner] {
        &self.signers
    }

    /// Whether the Sigstore is another one than the public one.
    pub(crate) fn is_private(&self) -> bool {
        !self.root.is_public()
    }

    /// The certificates of the authorities as a PEM file.
    pub(crate) fn authorities(&self) -> String {
        self.root.authorities()
    }

    /// The URL of the authority.
    pub(crate) fn authority_url(&self) -> String {
        self.root.authority_url()
    }

    /// The URL of the log of signatures.
    pub(crate) fn log_url(&self) -> String {
        self.root.log_url()
    }

    /// The ECDSA keys of the logs of signatures, each as a PEM file.
    pub(crate) fn log_keys(&self) -> Vec<String> {
        self.root.log_keys()
    }

    /// The keys of the logs of certificates, each as a PEM file.
    pub(crate) fn certificate_log_keys(&self) -> Vec<String> {
        self.root.certificate_log_keys()
    }

    /// Checks a bundle of one of the signers. Returns the name that it gives to the image, if it gives one.
    ///
    /// # Errors
    /// Why it does not count.
    pub(crate) fn verify_bundle(
        &self,
        bundle: &[u8],
        image: &Digest,
        manifest: &[u8],
    ) -> Result<Option<String>, String> {
        let signer = self.root.verify_bundle(bundle, image, manifest);
        self.allow(signer.map_err(|invalid| invalid.to_string())?)
    }

    /// Checks a payload that cosign 2 has signed for one of the signers. Returns the name that it gives to the image.
    ///
    /// # Errors
    /// Why it does not count.
    pub(crate) fn verify_payload(
        &self,
        payload: &[u8],
        layer: &Descriptor,
        image: &Digest,
    ) -> Result<Option<String>, String> {
        let signer = self.root.verify_payload(payload, layer, image);
        self.allow(signer.map_err(|invalid| invalid.to_string())?)
    }

    fn allow(&self, signer: Signer) -> Result<Option<String>, String> {
        let is_allowed = self.signers.iter().any(|trusted| match &signer.identity {
            Identity::Email(email) => trusted.allows_email(email, &signer.issuer),
            Identity::Uri(uri) => trusted.allows_uri(uri, &signer.issuer),
        });
        if is_allowed {
            return Ok(signer.reference);
        }
        Err(format!(
            "it is a keyless signature of `{signer}`, and `require_signature` does not trust this signer"
        ))
    }
}
