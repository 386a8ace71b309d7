//! Which signatures a vendor's images need: `require_signature`, `signature_identity` and `sigstore_root` of the vendor's
//! section.

use std::path::PathBuf;

use raas_base::failure::Failure;
use raas_types::VendorName;

use crate::config::{SignedName, TrustedSigners, VendorSettings};
use crate::trusted_keys::TrustedKeys;

/// The keys that a vendor trusts, and the names that their signatures may give to an image.
#[derive(Debug)]
pub(crate) struct SignaturePolicy {
    pub(crate) vendor: VendorName,
    pub(crate) keys: TrustedKeys,
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
        let TrustedSigners { key_files, keyless } = &settings.require_signature;
        let files = key_files.iter().map(PathBuf::as_path);
        let mut keys = TrustedKeys::load(files, &format!("`require_signature` of [{vendor}]"))?;
        keys.add_keyless(keyless, settings.sigstore_root.as_deref())?;
        Ok(Some(Self { vendor: vendor.clone(), keys, names: settings.signature_identity.clone() }))
    }

    /// Whether a valid signature counts: the name that it gives to the image, if it gives one, is allowed.
    ///
    /// # Errors
    /// Why it does not count.
    pub(crate) fn check_name(&self, name: Option<&str>) -> Result<(), String> {
        if self.names.is_empty() {
            return Ok(());
        }
        match name {
            None => Err("it gives the image no name, and `signature_identity` demands one".into()),
            Some(reference) if self.names.iter().any(|name| name.matches(reference)) => Ok(()),
            Some(reference) => {
                let shown: String = reference.chars().filter(|c| !c.is_control()).take(200).collect();
                Err(format!("it is for `{shown}`, which `signature_identity` does not allow"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use raas_base::failure::Kind;
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
        let require_signature = TrustedSigners { key_files: files.to_vec(), keyless: Vec::new() };
        let settings = VendorSettings { require_signature, ..VendorSettings::default() };
        let policy = SignaturePolicy::load(&vendor, &settings).unwrap().unwrap();
        assert_eq!(policy.keys.cosign.len(), 3);
        assert!(SignaturePolicy::load(&vendor, &VendorSettings::default()).unwrap().is_none());
        std::fs::write(&files[1], rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let error = SignaturePolicy::load(&vendor, &settings).unwrap_err().to_string();
        assert!(error.contains("two.pub") && error.contains("it holds a private key"), "{error}");
        assert!(!error.contains("BEGIN"), "{error}");
        std::fs::remove_file(&files[1]).unwrap();
        assert_eq!(SignaturePolicy::load(&vendor, &settings).unwrap_err().kind(), Kind::Usage);
        std::fs::write(&files[1], vec![b'x'; 2_000_000]).unwrap();
        assert!(SignaturePolicy::load(&vendor, &settings).unwrap_err().to_string().contains("longer"));
    }

    #[test]
    fn a_signature_counts_for_the_allowed_names_alone() {
        let policy = |names: &[&str]| SignaturePolicy {
            vendor: "acme".parse().unwrap(),
            keys: TrustedKeys::default(),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
        };
        assert!(policy(&[]).check_name(None).is_ok());
        let strict = policy(&["quay.io/acme/*", "r.example/app"]);
        assert!(strict.check_name(Some("quay.io/acme/app:1")).is_ok());
        assert!(strict.check_name(Some("r.example/app")).is_ok());
        assert!(strict.check_name(Some("r.example/other")).is_err());
        assert!(strict.check_name(None).is_err());
        let long = Digest::of(b"").to_string().repeat(100);
        assert!(strict.check_name(Some(&long)).unwrap_err().len() < 300);
    }
}
