//! The signers who must have signed an image: public keys of cosign, keys of OpenPGP, certificates of Notation, and
//! identities without a key.

use std::path::Path;

use raas_base::failure::{Failure, Kind};
use raas_gpg::{GpgError, Keyring};
use raas_signatures::{CertificateError, KeyError, PublicKey, TrustedCertificate};

use crate::config::KeylessSigner;
use crate::keyless::Keyless;
use crate::trusted_file;

/// The trusted keys of some files, and the trusted identities. A signature by any of them is enough.
#[derive(Debug, Default)]
pub(crate) struct TrustedKeys {
    /// Keys of cosign's signatures and of sigstore bundles.
    pub(crate) cosign: Vec<PublicKey>,
    /// Keys of atomic signatures.
    pub(crate) open_pgp: Option<Keyring>,
    /// Certificates of Notation's signatures.
    pub(crate) certificates: Vec<TrustedCertificate>,
    /// The signers of keyless signatures.
    pub(crate) keyless: Option<Keyless>,
}

impl TrustedKeys {
    /// Reads the files. `asked_by` says what names them.
    ///
    /// # Errors
    /// A file cannot be read, or holds no key that raas can use.
    pub(crate) fn load<'f>(
        files: impl IntoIterator<Item = &'f Path>,
        asked_by: &str,
    ) -> Result<Self, Failure> {
        let mut keys = Self::default();
        for file in files {
            let bytes = trusted_file::read(file, &format!("the key of {asked_by}")).map_err(|failure| {
                let is_address = file.to_string_lossy().contains('@');
                failure.hint_if(is_address.then(|| {
                    "or write `IDENTITY from ISSUER`, if it is the identity of a keyless signature".to_owned()
                }))
            })?;
            keys.add(&bytes).map_err(|unusable| unusable.failure(file, asked_by))?;
        }
        Ok(keys)
    }

    /// Adds signers of keyless signatures, by the root of a Sigstore: that of the file, or the public one.
    ///
    /// # Errors
    /// The file cannot be read, or is no root.
    pub(crate) fn add_keyless(
        &mut self,
        signers: &[KeylessSigner],
        root: Option<&Path>,
    ) -> Result<(), Failure> {
        if !signers.is_empty() {
            self.keyless = Some(Keyless::load(signers.to_vec(), root)?);
        }
        Ok(())
    }

    /// Adds the keys of a file, whose content tells their kind.
    fn add(&mut self, file: &[u8]) -> Result<(), Unusable> {
        match PublicKey::read_all(file) {
            Ok(keys) => self.cosign.extend(keys),
            Err(KeyError::Certificate) => self.certificates.extend(TrustedCertificate::read_all(file)?),
            Err(KeyError::OpenPgp) => self.add_open_pgp(file)?,
            Err(KeyError::NoKey) if is_binary_open_pgp(file) => self.add_open_pgp(file)?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn add_open_pgp(&mut self, file: &[u8]) -> Result<(), Unusable> {
        let armoured = b"-----BEGIN PGP PRIVATE KEY BLOCK-----";
        if packet_tag(file) == Some(SECRET_KEY) || file.windows(armoured.len()).any(|part| part == armoured) {
            return Err(Unusable::Key(KeyError::Private));
        }
        let keyring = match self.open_pgp.take() {
            Some(keyring) => keyring,
            None => Keyring::new()?,
        };
        Ok(self.open_pgp.insert(keyring).add(file)?)
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.cosign.is_empty()
            && self.open_pgp.is_none()
            && self.certificates.is_empty()
            && self.keyless.is_none()
    }

    /// A short name of each key: the SHA-256 of a public key or of a certificate, the fingerprint of a key of OpenPGP, an
    /// identity with its issuer.
    pub(crate) fn fingerprints(&self) -> Vec<String> {
        let mut all: Vec<String> = self.cosign.iter().map(|key| key.fingerprint().to_string()).collect();
        all.extend(self.open_pgp.iter().flat_map(Keyring::fingerprints).cloned());
        all.extend(self.certificates.iter().map(|certificate| certificate.fingerprint().to_string()));
        all.extend(self.keyless.iter().flat_map(Keyless::signers).map(ToString::to_string));
        all
    }
}

/// The tags of the first packet of a file. Source: RFC 9580, sections 4.2 and 5.
const SECRET_KEY: u8 = 5;
const PUBLIC_KEY: u8 = 6;

fn packet_tag(file: &[u8]) -> Option<u8> {
    match file.first()? {
        new @ 0xc0..=0xff => Some(new & 0x3f),
        old @ 0x80..=0xbf => Some(old >> 2 & 0x0f),
        _ => None,
    }
}

fn is_binary_open_pgp(file: &[u8]) -> bool {
    matches!(packet_tag(file), Some(SECRET_KEY | PUBLIC_KEY))
}

/// Why the keys of a file cannot be used.
enum Unusable {
    Key(KeyError),
    Certificate(CertificateError),
    Gpg(GpgError),
}

impl From<KeyError> for Unusable {
    fn from(error: KeyError) -> Self {
        Unusable::Key(error)
    }
}

impl From<CertificateError> for Unusable {
    fn from(error: CertificateError) -> Self {
        Unusable::Certificate(error)
    }
}

impl From<GpgError> for Unusable {
    fn from(error: GpgError) -> Self {
        Unusable::Gpg(error)
    }
}

impl Unusable {
    fn failure(self, file: &Path, asked_by: &str) -> Failure {
        let message = format!("cannot use {}, the key of {asked_by}", file.display());
        let failure = Failure::new(Kind::Usage, &message);
        match self {
            Unusable::Key(error) => {
                let hint = match error {
                    KeyError::Private => {
                        "give the public key: cosign.pub beside cosign.key, or what `openssl ec -pubout` or `gpg --export` writes"
                    }
                    _ => {
                        "give a public key as `cosign generate-key-pair` or `gpg --armor --export` writes it, or a certificate \
                         in PEM"
                    }
                };
                failure.caused_by(error).hint(hint)
            }
            Unusable::Certificate(error) => {
                failure.caused_by(error).hint("give the certificates as `openssl x509` writes them, in PEM")
            }
            Unusable::Gpg(error @ GpgError::NoKey(_)) => failure
                .caused_by(error)
                .hint("give the key as `gpg --armor --export FINGERPRINT` writes it, with a user ID"),
            Unusable::Gpg(error) => error.because_of(Kind::Usage, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use raas_testkit::gpg::Gpg;
    use raas_testkit::notation::Signer;

    use super::*;

    fn add(file: &[u8]) -> Result<TrustedKeys, String> {
        let mut keys = TrustedKeys::default();
        match keys.add(file) {
            Ok(()) => Ok(keys),
            Err(unusable) => Err(unusable.failure(Path::new("x.pub"), "--key").to_string()),
        }
    }

    #[test]
    fn the_content_of_a_file_tells_the_kind_of_its_keys() {
        let gpg = Gpg::new();
        let key = gpg.key("vendor@example.com");
        for file in [gpg.public(&key), gpg.armoured(&key)] {
            let keys = add(&file).unwrap();
            assert!(keys.cosign.is_empty() && keys.certificates.is_empty() && !keys.is_empty());
            assert_eq!(keys.fingerprints(), [key.as_str()]);
        }
        let keys = add(Signer::usual().authority().as_bytes()).unwrap();
        assert_eq!((keys.cosign.len(), keys.certificates.len()), (0, 1));
        assert_eq!(keys.fingerprints(), [keys.certificates[0].fingerprint().to_string()]);
        let keys = add(rcgen::KeyPair::generate().unwrap().public_key_pem().as_bytes()).unwrap();
        assert_eq!((keys.cosign.len(), keys.certificates.len()), (1, 0));
        assert!(TrustedKeys::default().is_empty());
    }

    #[test]
    fn private_keys_and_other_files_are_rejected() {
        let gpg = Gpg::new();
        let key = gpg.key("vendor@example.com");
        for more in [&[][..], &["--armor"]] {
            let private = gpg.run(&[more, &["--export-secret-keys", &key]].concat(), b"");
            let error = add(&private).unwrap_err();
            assert!(error.contains("it holds a private key") && error.contains("gpg --export"), "{error}");
        }
        for file in [&b""[..], b"junk", b"\x99junk", b"-----BEGIN PGP PUBLIC KEY BLOCK-----"] {
            let error = add(file).unwrap_err();
            assert!(error.starts_with("error: cannot use x.pub, the key of --key"), "{error}");
        }
    }
}
