//! Files of private keys.

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::encrypted_key::EncryptedKey;
use crate::signing_key::{SigningKey, SigningKeyError};

/// The private key of a file.
#[derive(Debug)]
pub enum KeyFile {
    /// It can be used as it is.
    Plain(SigningKey),
    /// It needs a password.
    Encrypted(EncryptedKey),
}

/// The mark of a key that openssl has encrypted in its old form, with headers (RFC 1421).
const OLD_ENCRYPTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";

impl KeyFile {
    /// Reads a PEM file: a key in SEC 1 or PKCS #8, or an encrypted key in PKCS #8 or of cosign.
    ///
    /// # Errors
    /// The file has no such key.
    pub fn read(file: &[u8]) -> Result<Self, SigningKeyError> {
        if let Some(encrypted) = EncryptedKey::read(file) {
            return encrypted.map(KeyFile::Encrypted);
        }
        if file.windows(OLD_ENCRYPTION.len()).any(|bytes| bytes == OLD_ENCRYPTION) {
            return Err(SigningKeyError::Cipher);
        }
        let mut keys = PrivateKeyDer::pem_slice_iter(file);
        let key = keys.next().ok_or(SigningKeyError::NoKey)?.map_err(|_| SigningKeyError::Damaged)?;
        SigningKey::from_der(&key).map(KeyFile::Plain)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::PublicKey;

    fn plain(file: &str) -> SigningKey {
        match KeyFile::read(file.as_bytes()).unwrap() {
            KeyFile::Plain(key) => key,
            KeyFile::Encrypted(_) => panic!("the key is not encrypted"),
        }
    }

    /// The key of `tests/data/sec1.key`.
    pub(crate) fn key() -> SigningKey {
        plain(include_str!("../tests/data/sec1.key"))
    }

    #[test]
    fn keys_of_openssl_sign() {
        let public = PublicKey::read_all(include_bytes!("../tests/data/plain.pub")).unwrap();
        // `openssl ecparam -genkey` writes the parameters before the key; `openssl pkcs8 -topk8 -nocrypt` has none.
        for file in [include_str!("../tests/data/sec1.key"), include_str!("../tests/data/pkcs8.key")] {
            let key = plain(file);
            assert_eq!(key.public_key(), &public[0]);
            let signature = key.sign(b"message").unwrap();
            assert!(public[0].verifies(b"message", &signature));
            assert!(!public[0].verifies(b"messagf", &signature));
            assert!(!public[0].verifies(b"message", &signature[1..]));
            assert!(!public[0].verifies(b"message", b""));
        }
    }

    #[test]
    fn an_encrypted_key_opens_with_its_password_alone() {
        let cosign = include_str!("../tests/data/encrypted.key");
        for file in [
            cosign,
            &cosign.replace("SIGSTORE", "COSIGN"),
            // `openssl pkcs8 -topk8`, with `-scrypt`, and with `-v2 aes-128-cbc -v2prf hmacWithSHA512`.
            include_str!("../tests/data/pbkdf2.key"),
            include_str!("../tests/data/scrypt.key"),
            include_str!("../tests/data/pbkdf2-sha512.key"),
        ] {
            let KeyFile::Encrypted(key) = KeyFile::read(file.as_bytes()).unwrap() else {
                panic!("encrypted")
            };
            let public = PublicKey::read_all(include_bytes!("../tests/data/plain.pub")).unwrap();
            assert_eq!(key.open(b"secret").unwrap().public_key(), &public[0]);
            for wrong in ["", "Secret", "secret\n"] {
                assert_eq!(key.open(wrong.as_bytes()).unwrap_err(), SigningKeyError::Password, "{wrong}");
            }
        }
    }

    #[test]
    fn other_files_are_no_private_keys() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let encrypted = |json: &str| crate::pem::write("ENCRYPTED SIGSTORE PRIVATE KEY", json.as_bytes());
        let document = |n: &str, nonce: &str, text: &str| {
            encrypted(&format!(
                r#"{{"kdf":{{"name":"scrypt","params":{{"N":{n},"r":8,"p":1}},"salt":"AAAA"}},
                "cipher":{{"name":"nacl/secretbox","nonce":"{nonce}"}},"ciphertext":"{text}"}}"#
            ))
        };
        let (nonce, text) = ("A".repeat(32), "A".repeat(100));
        for (file, error) in [
            (String::new(), SigningKeyError::NoKey),
            (include_str!("../tests/data/plain.pub").to_owned(), SigningKeyError::NoKey),
            ("-----BEGIN PRIVATE KEY-----\n?\n-----END PRIVATE KEY-----\n".into(), SigningKeyError::Damaged),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into(),
                SigningKeyError::OtherKind,
            ),
            (p384, SigningKeyError::OtherKind),
            (ed25519, SigningKeyError::OtherKind),
            (encrypted("{}"), SigningKeyError::Damaged),
            (document("32768", "AAAA", &text), SigningKeyError::Damaged),
            (document("32768", &nonce, "AAAA"), SigningKeyError::Damaged),
            (document("32767", &nonce, &text), SigningKeyError::Cipher),
            (crate::pem::write("ENCRYPTED PRIVATE KEY", b"pkcs8"), SigningKeyError::Cipher),
            // Triple DES, and the encryption of PKCS #12 (PBES1).
            (include_str!("../tests/data/des3.key").to_owned(), SigningKeyError::Cipher),
            (include_str!("../tests/data/pbes1.key").to_owned(), SigningKeyError::Cipher),
            (
                crate::pem::write("EC PRIVATE KEY", b"sec1").replacen(
                    '\n',
                    "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
                    1,
                ),
                SigningKeyError::Cipher,
            ),
            // It would take 128 GiB of memory.
            (document("134217728", &nonce, &text), SigningKeyError::Cipher),
        ] {
            assert_eq!(KeyFile::read(file.as_bytes()).unwrap_err(), error, "{file:.60}");
        }
        let KeyFile::Encrypted(key) = KeyFile::read(document("2", &nonce, &text).as_bytes()).unwrap() else {
            panic!("encrypted")
        };
        assert_eq!(key.open(b"").unwrap_err(), SigningKeyError::Password);
    }
}
