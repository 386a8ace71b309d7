//! Private keys in PKCS #8, encrypted with a password, as `openssl genpkey` and `openssl pkcs8 -topk8` write them.
//!
//! Source: RFC 5958, section 3; RFC 8018, PBES2; RFC 7914 for scrypt. PBKDF2 or scrypt makes a key of the password, and AES
//! has the private key.

use ::pkcs8::der::Decode as _;
use ::pkcs8::pkcs5::EncryptionScheme;
use ::pkcs8::pkcs5::pbes2::Kdf;
use ::pkcs8::{EncryptedPrivateKeyInfoOwned, Error, pkcs5};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::pem;
use crate::signing_key::{SigningKey, SigningKeyError};

/// The name of the section.
const NAME: &str = "ENCRYPTED PRIVATE KEY";

/// The most rounds of PBKDF2. openssl uses 2048 by default, and current advice for passwords is 600,000.
const MAX_ROUNDS: u32 = 10_000_000;

/// Bounds of scrypt's parameters: the memory is `128 * N * r` bytes. openssl uses 2^14, 8 and 1.
const MAX_N: u64 = 1 << 20;
const MAX_R: u16 = 16;
const MAX_P: u16 = 16;

/// A private key in an encrypted PKCS #8 document.
pub(super) struct Pkcs8Key(EncryptedPrivateKeyInfoOwned);

impl Pkcs8Key {
    /// Reads the file of a key. `None` if it holds no such key.
    ///
    /// # Errors
    /// The key is damaged, or encrypted in another way.
    pub(super) fn read(file: &[u8]) -> Option<Result<Self, SigningKeyError>> {
        let section = pem::section(file, NAME)?;
        Some(section.map_err(|_| SigningKeyError::Damaged).and_then(|der| Self::parse(&der)))
    }

    fn parse(der: &[u8]) -> Result<Self, SigningKeyError> {
        // An unknown way to encrypt looks like damage.
        let info = EncryptedPrivateKeyInfoOwned::from_der(der).map_err(|_| SigningKeyError::Cipher)?;
        let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
            return Err(SigningKeyError::Cipher);
        };
        let is_bounded = match &parameters.kdf {
            Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= MAX_ROUNDS,
            Kdf::Scrypt(scrypt) => {
                scrypt.cost_parameter <= MAX_N
                    && scrypt.block_size <= MAX_R
                    && scrypt.parallelization <= MAX_P
            }
            _ => false,
        };
        if is_bounded { Ok(Self(info)) } else { Err(SigningKeyError::Cipher) }
    }

    /// Decrypts the key.
    ///
    /// # Errors
    /// The password is wrong, or the decrypted key cannot be used.
    pub(super) fn open(&self, password: &[u8]) -> Result<SigningKey, SigningKeyError> {
        let plain = self.0.decrypt(password).map_err(|error| match error {
            Error::EncryptedPrivateKey(pkcs5::Error::UnsupportedAlgorithm { .. })
            | Error::EncryptedPrivateKey(pkcs5::Error::AlgorithmParametersInvalid { .. }) => {
                SigningKeyError::Cipher
            }
            // AES-CBC has no authentication: a wrong password shows in what it decrypts to.
            _ => SigningKeyError::Password,
        })?;
        if ::pkcs8::PrivateKeyInfoRef::from_der(plain.as_bytes()).is_err() {
            return Err(SigningKeyError::Password);
        }
        SigningKey::from_der(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(plain.as_bytes())))
    }
}
