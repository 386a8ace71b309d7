//! Public keys.

use std::fmt;

use raas_types::Digest;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

use crate::pem;

/// A public key of ECDSA on the curve P-256.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The `SubjectPublicKeyInfo` in DER, [`PREFIX`] and the point.
    der: Vec<u8>,
}

/// What stands before the point in the `SubjectPublicKeyInfo` of a key of P-256 with an uncompressed point.
///
/// Source: RFC 5480, sections 2 and 2.1.1.1.
const PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The length of an uncompressed point of P-256.
const POINT: usize = 65;

/// The most keys in one file.
const MAX_KEYS: usize = 100;

/// Why a file holds no public keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file has no section of this kind.
    #[error("it has no `-----BEGIN PUBLIC KEY-----`")]
    NoKey,
    /// The file holds a private key.
    #[error("it holds a private key")]
    Private,
    /// The file holds an OpenPGP key.
    #[error("it holds an OpenPGP key")]
    OpenPgp,
    /// The file holds a certificate.
    #[error("it holds a certificate")]
    Certificate,
    /// A section is damaged.
    #[error("a section of it is not valid PEM")]
    Damaged,
    /// A key is of another kind.
    #[error("it holds a key that is no ECDSA key of the curve P-256")]
    OtherKind,
    /// The file has very many keys.
    #[error("it holds more than {MAX_KEYS} keys")]
    TooMany,
}

impl PublicKey {
    /// All public keys in a PEM file.
    ///
    /// # Errors
    /// The file has no public key, or anything else that looks like a key.
    pub fn read_all(file: &[u8]) -> Result<Vec<Self>, KeyError> {
        let has = |words: &str| file.windows(words.len()).any(|window| window == words.as_bytes());
        if has("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        if has("-----BEGIN PGP") {
            return Err(KeyError::OpenPgp);
        }
        if has("-----BEGIN CERTIFICATE-----") {
            return Err(KeyError::Certificate);
        }
        let mut keys = Vec::new();
        for section in SubjectPublicKeyInfoDer::pem_slice_iter(file) {
            let section = section.map_err(|_| KeyError::Damaged)?;
            let key = Self::from_der(&section).ok_or(KeyError::OtherKind)?;
            if keys.len() == MAX_KEYS {
                return Err(KeyError::TooMany);
            }
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(keys) }
    }

    /// A key by its `SubjectPublicKeyInfo` in DER. `None` if it is of another kind.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let point = der.strip_prefix(&PREFIX)?;
        // 4 begins an uncompressed point.
        (point.len() == POINT && point[0] == 4).then(|| Self { der: der.to_vec() })
    }

    /// The key as a PEM file.
    pub fn to_pem(&self) -> String {
        pem::write("PUBLIC KEY", &self.der)
    }

    /// The SHA-256 of the key in DER: a short name for it.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// Whether the key made this signature of the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.der[PREFIX.len()..]);
        key.verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl ecparam -name prime256v1 -genkey | openssl ec -pubout`.
    const PEM: &str = include_str!("../tests/data/plain.pub");

    #[test]
    fn a_key_is_read_and_written() {
        let keys = PublicKey::read_all(PEM.as_bytes()).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].to_pem(), PEM);
        let twice = format!("a comment\n{PEM}{PEM}");
        assert_eq!(PublicKey::read_all(twice.as_bytes()).unwrap(), keys, "a key counts once");
    }

    #[test]
    fn other_files_are_no_public_keys() {
        let of_p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let mut many = String::new();
        for _ in 0..=MAX_KEYS {
            many.push_str(&rcgen::KeyPair::generate().unwrap().public_key_pem());
        }
        for (file, error) in [
            ("", KeyError::NoKey),
            ("vendor.pub", KeyError::NoKey),
            ("-----BEGIN PGP PUBLIC KEY BLOCK-----", KeyError::OpenPgp),
            ("-----BEGIN CERTIFICATE-----", KeyError::Certificate),
            ("-----BEGIN PUBLIC KEY-----\n?\n-----END PUBLIC KEY-----\n", KeyError::Damaged),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", KeyError::OtherKind),
            (&private, KeyError::Private),
            (&of_p384.public_key_pem(), KeyError::OtherKind),
            (&ed25519.public_key_pem(), KeyError::OtherKind),
            (&format!("{PEM}{}", ed25519.public_key_pem()), KeyError::OtherKind),
            (&many, KeyError::TooMany),
        ] {
            assert_eq!(PublicKey::read_all(file.as_bytes()).unwrap_err(), error, "{file:.80}");
        }
    }
}
