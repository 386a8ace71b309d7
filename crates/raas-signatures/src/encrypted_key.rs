//! Private keys that are encrypted with a password.

mod cosign;
mod pkcs8;

use std::fmt;

use self::cosign::CosignKey;
use self::pkcs8::Pkcs8Key;
use crate::signing_key::{SigningKey, SigningKeyError};

/// A private key that needs a password.
pub struct EncryptedKey(Format);

enum Format {
    Cosign(CosignKey),
    Pkcs8(Pkcs8Key),
}

impl fmt::Debug for EncryptedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptedKey")
    }
}

impl EncryptedKey {
    /// Reads the file of a key. `None` if it holds no encrypted key.
    ///
    /// # Errors
    /// The encrypted key is damaged, or encrypted in another way.
    pub(crate) fn read(file: &[u8]) -> Option<Result<Self, SigningKeyError>> {
        let cosign = CosignKey::read(file).map(|key| key.map(Format::Cosign));
        let key = cosign.or_else(|| Pkcs8Key::read(file).map(|key| key.map(Format::Pkcs8)));
        key.map(|key| key.map(Self))
    }

    /// Decrypts the key. This takes a tenth of a second: what makes a key of a password is slow on purpose.
    ///
    /// # Errors
    /// The password is wrong, or the decrypted key cannot be used.
    pub fn open(&self, password: &[u8]) -> Result<SigningKey, SigningKeyError> {
        match &self.0 {
            Format::Cosign(key) => key.open(password),
            Format::Pkcs8(key) => key.open(password),
        }
    }
}
