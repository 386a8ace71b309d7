//! Private keys in the format of cosign: encrypted with a password.
//!
//! Source: `cosign generate-key-pair`. A PEM section holds a JSON document: scrypt makes a key of the password, and NaCl's
//! secretbox (XSalsa20 and Poly1305) has the private key in PKCS #8.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use serde::Deserialize;

use crate::pem;
use crate::signing_key::{SigningKey, SigningKeyError};

/// The names of the section: of cosign since 2.0, and before.
const NAMES: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// Bounds of scrypt's parameters: the memory is `128 * N * r` bytes. cosign uses 2^15 or 2^16, 8 and 1.
const MAX_N: u64 = 1 << 20;
const MAX_R: u32 = 16;
const MAX_P: u32 = 16;

/// The length of the authentication tag before the encrypted bytes.
const TAG: usize = 16;

/// A private key that cosign has encrypted.
pub(super) struct CosignKey {
    scrypt: scrypt::Params,
    salt: Vec<u8>,
    nonce: [u8; 24],
    /// The authentication tag, then the encrypted bytes.
    sealed: Vec<u8>,
}

#[derive(Deserialize)]
struct Document {
    kdf: KeyDerivation,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct KeyDerivation {
    name: String,
    params: Parameters,
    salt: String,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

impl CosignKey {
    /// Reads the file of a key. `None` if it holds no encrypted key.
    ///
    /// # Errors
    /// The encrypted key is damaged, or encrypted in another way.
    pub(super) fn read(file: &[u8]) -> Option<Result<Self, SigningKeyError>> {
        let section = NAMES.iter().find_map(|name| pem::section(file, name))?;
        Some(section.map_err(|_| SigningKeyError::Damaged).and_then(|json| Self::parse(&json)))
    }

    fn parse(json: &[u8]) -> Result<Self, SigningKeyError> {
        let Document { kdf, cipher, ciphertext } =
            serde_json::from_slice(json).map_err(|_| SigningKeyError::Damaged)?;
        if kdf.name != "scrypt" || cipher.name != "nacl/secretbox" {
            return Err(SigningKeyError::Cipher);
        }
        let Parameters { n, r, p } = kdf.params;
        if !n.is_power_of_two()
            || !(2..=MAX_N).contains(&n)
            || !(1..=MAX_R).contains(&r)
            || !(1..=MAX_P).contains(&p)
        {
            return Err(SigningKeyError::Cipher);
        }
        let log_n = u8::try_from(n.ilog2()).map_err(|_| SigningKeyError::Cipher)?;
        let scrypt = scrypt::Params::new(log_n, r, p).map_err(|_| SigningKeyError::Cipher)?;
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| SigningKeyError::Damaged);
        let nonce: [u8; 24] = bytes(&cipher.nonce)?.try_into().map_err(|_| SigningKeyError::Damaged)?;
        let (salt, sealed) = (bytes(&kdf.salt)?, bytes(&ciphertext)?);
        if sealed.len() <= TAG {
            return Err(SigningKeyError::Damaged);
        }
        Ok(Self { scrypt, salt, nonce, sealed })
    }

    /// Decrypts the key. This takes a tenth of a second: scrypt is slow on purpose.
    ///
    /// # Errors
    /// The password is wrong, or the decrypted key cannot be used.
    pub(super) fn open(&self, password: &[u8]) -> Result<SigningKey, SigningKeyError> {
        let mut key = [0; 32];
        scrypt::scrypt(password, &self.salt, &self.scrypt, &mut key).map_err(|_| SigningKeyError::Cipher)?;
        let mut cipher = XSalsa20::new(&key.into(), &self.nonce.into());
        // The first 32 bytes of the key stream are the key of the authentication.
        let mut authenticator = [0; 32];
        cipher.apply_keystream(&mut authenticator);
        let (tag, encrypted) = self.sealed.split_at(TAG);
        let expected = Poly1305::new(&authenticator.into()).compute_unpadded(encrypted);
        // Nobody can measure how long this takes: the file is the operator's own.
        if tag != expected.as_slice() {
            return Err(SigningKeyError::Password);
        }
        let mut plain = encrypted.to_vec();
        cipher.apply_keystream(&mut plain);
        SigningKey::from_der(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(plain)))
    }
}
