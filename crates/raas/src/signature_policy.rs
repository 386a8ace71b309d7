//! Which signatures a vendor's images need: `require_signature` and `signature_identity` of the vendor's section.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use raas_base::failure::{Failure, Kind};
use raas_signatures::{KeyError, PublicKey, Verified};
use raas_types::VendorName;

use crate::config::{SignedName, VendorSettings};

/// The keys that a vendor trusts, and the names that their signatures may give to an image.
#[derive(Debug, Clone)]
pub(crate) struct SignaturePolicy {
    pub(crate) vendor: VendorName,
    pub(crate) keys: Vec<PublicKey>,
    names: Vec<SignedName>,
}

impl SignaturePolicy {
    /// Reads the keys. `None` if the vendor's images need no signature.
    ///
    /// # Errors
    /// A file cannot be read, or holds no key that raas can use.
    pub(crate) fn load(vendor: &VendorName, settings: &VendorSettings) -> Result<Option<Self>, Failure> {
        if settings.require_signature.is_empty() {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for file in &settings.require_signature {
            keys.extend(public_keys(file, &format!("`require_signature` of [{vendor}]"))?);
        }
        Ok(Some(Self { vendor: vendor.clone(), keys, names: settings.signature_identity.clone() }))
    }

    /// Whether a valid signature counts: the name that it gives to the image is allowed.
    ///
    /// # Errors
    /// Why it does not count.
    pub(crate) fn check_name(&self, verified: &Verified) -> Result<(), String> {
        if self.names.is_empty() {
            return Ok(());
        }
        match &verified.reference {
            None => Err("it gives the image no name, and `signature_identity` demands one".into()),
            Some(reference) if self.names.iter().any(|name| name.matches(reference)) => Ok(()),
            Some(reference) => {
                let shown: String = reference.chars().filter(|c| !c.is_control()).take(200).collect();
                Err(format!("it is for `{shown}`, which `signature_identity` does not allow"))
            }
        }
    }
}

/// How many bytes of a key file raas reads.
const MAX_FILE: u64 = 64 * 1024;

/// The public keys of a file. `asked_by` says what names the file.
///
/// # Errors
/// The file cannot be read, or holds no key that raas can use.
pub(crate) fn public_keys(file: &Path, asked_by: &str) -> Result<Vec<PublicKey>, Failure> {
    let shown = file.display();
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|open| open.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Failure::new(Kind::of_named_file(&error), format!("cannot read {shown}, the key of {asked_by}"))
            .caused_by(error)
            .hint("correct the path, or make the file readable")
    })?;
    if bytes.len() as u64 > MAX_FILE {
        let message = format!("{shown}, the key of {asked_by}, is longer than {MAX_FILE} bytes");
        return Err(Failure::new(Kind::Usage, message).hint("give a file with public keys in PEM"));
    }
    PublicKey::read_all(&bytes).map_err(|error| {
        let failure = Failure::new(Kind::Usage, format!("cannot use {shown}, the key of {asked_by}"));
        let hint = match error {
            KeyError::Private => "give the public key: cosign.pub beside cosign.key, or what `openssl ec -pubout` writes",
            KeyError::OpenPgp => "give a key as cosign makes it: raas does not check OpenPGP signatures",
            KeyError::Certificate => {
                "give the public key alone: `openssl x509 -pubkey -noout` writes it. raas does not check Notation signatures"
            }
            _ => "give a public key as `cosign generate-key-pair` writes it into cosign.pub",
        };
        failure.caused_by(error).hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use raas_types::Digest;

    use super::*;

    fn key() -> String {
        rcgen::KeyPair::generate().unwrap().public_key_pem()
    }

    #[test]
    fn all_keys_of_all_files_are_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let vendor: VendorName = "acme".parse().unwrap();
        let files = [folder.path().join("one.pub"), folder.path().join("two.pub")];
        std::fs::write(&files[0], key() + &key()).unwrap();
        std::fs::write(&files[1], key()).unwrap();
        let settings = VendorSettings { require_signature: files.to_vec(), ..VendorSettings::default() };
        let policy = SignaturePolicy::load(&vendor, &settings).unwrap().unwrap();
        assert_eq!(policy.keys.len(), 3);
        assert!(SignaturePolicy::load(&vendor, &VendorSettings::default()).unwrap().is_none());
        std::fs::write(&files[1], rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let error = SignaturePolicy::load(&vendor, &settings).unwrap_err().to_string();
        assert!(error.contains("two.pub") && error.contains("it holds a private key"), "{error}");
        assert!(!error.contains("BEGIN"), "{error}");
        std::fs::remove_file(&files[1]).unwrap();
        assert_eq!(SignaturePolicy::load(&vendor, &settings).unwrap_err().kind(), Kind::Usage);
        std::fs::write(&files[1], vec![b'x'; 100_000]).unwrap();
        assert!(SignaturePolicy::load(&vendor, &settings).unwrap_err().to_string().contains("longer"));
    }

    #[test]
    fn a_signature_counts_for_the_allowed_names_alone() {
        let keys = PublicKey::read_all(key().as_bytes()).unwrap();
        let verified =
            |name: Option<&str>| Verified { key: keys[0].clone(), reference: name.map(str::to_owned) };
        let policy = |names: &[&str]| SignaturePolicy {
            vendor: "acme".parse().unwrap(),
            keys: keys.clone(),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
        };
        assert!(policy(&[]).check_name(&verified(None)).is_ok());
        let strict = policy(&["quay.io/acme/*", "r.example/app"]);
        assert!(strict.check_name(&verified(Some("quay.io/acme/app:1"))).is_ok());
        assert!(strict.check_name(&verified(Some("r.example/app"))).is_ok());
        assert!(strict.check_name(&verified(Some("r.example/other"))).is_err());
        assert!(strict.check_name(&verified(None)).is_err());
        let long = Digest::of(b"").to_string().repeat(100);
        assert!(strict.check_name(&verified(Some(&long))).unwrap_err().len() < 300);
    }
}
