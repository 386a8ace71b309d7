//! Private keys.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::PrivateKeyDer;

use crate::PublicKey;

/// A private key of ECDSA on the curve P-256. Its `Debug` shows the public key.
#[derive(Clone)]
pub struct SigningKey {
    key: Arc<dyn rustls::sign::SigningKey>,
    public: PublicKey,
}

/// Why a private key cannot be used. No message has a part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// The file has no section of a private key.
    #[error("it holds no private key in PEM")]
    NoKey,
    /// A section is damaged.
    #[error("its private key is damaged")]
    Damaged,
    /// The key is of another kind.
    #[error("its private key is no ECDSA key of the curve P-256 with its public key")]
    OtherKind,
    /// The key is encrypted neither as cosign does it, nor in PKCS #8 with AES.
    #[error("its private key is encrypted in a way that raas does not read")]
    Cipher,
    /// The password is wrong.
    #[error("the password of its private key is wrong")]
    Password,
    /// The system gave no random numbers.
    #[error("the signature could not be made")]
    Sign,
}

impl SigningKey {
    pub(crate) fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, SigningKeyError> {
        let key = any_ecdsa_type(der).map_err(|_| SigningKeyError::OtherKind)?;
        let public = key.public_key().and_then(|public| PublicKey::from_der(&public));
        Ok(Self { public: public.ok_or(SigningKeyError::OtherKind)?, key })
    }

    /// Its public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message. Two signatures of one message differ.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        let signer = self.key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]);
        let signer = signer.ok_or(SigningKeyError::OtherKind)?;
        signer.sign(message).map_err(|_| SigningKeyError::Sign)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.fingerprint())
    }
}
