//! The cryptography for the crates of sigstore: ring, which raas has anyway.
//!
//! ring checks a signature of a whole message, and never one of a digest. `sigstore-verify` asks for the signature of a
//! digest where it checks a signed message. So the message is known to this module while it is checked
//! ([`with_message`]): if it has the digest that is asked for, ring checks the signature of the message. This is the same
//! question, since the digest is computed here.

use std::cell::RefCell;
use std::sync::OnceLock;

use ring::digest::{self, Context};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use sigstore_crypto::{CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider};
use sigstore_types::HashAlgorithm;

/// Makes ring the cryptography of this process. Returns whether it is.
pub(crate) fn install() -> bool {
    static IS_INSTALLED: OnceLock<bool> = OnceLock::new();
    *IS_INSTALLED.get_or_init(|| install_default_provider(&Ring).is_ok())
}

thread_local! {
    /// The message that this thread checks.
    static MESSAGE: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Runs a check of a signed message.
pub(crate) fn with_message<T>(message: &[u8], check: impl FnOnce() -> T) -> T {
    MESSAGE.set(Some(message.to_vec()));
    let checked = check();
    MESSAGE.set(None);
    checked
}

#[derive(Debug)]
struct Ring;

struct Hash(Context);

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        Ok(Box::new(Hash(Context::new(hash_algorithm(algorithm)?))))
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<()> {
        let key = UnparsedPublicKey::new(algorithm(scheme)?, key);
        let wrong = |_| Error::Verification(format!("the signature ({}) is wrong", scheme.name()));
        key.verify(data, signature).map_err(wrong)
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let unknown = || {
            Error::Verification("the message with the signed digest is not the one that is checked".into())
        };
        let hash = hash_algorithm(scheme.hash_algorithm().ok_or_else(|| unsupported(scheme.name()))?)?;
        let message = MESSAGE.with_borrow(Option::clone).ok_or_else(unknown)?;
        if digest::digest(hash, &message).as_ref() != digest {
            return Err(unknown());
        }
        self.verify_raw(scheme, key, &message, signature)
    }
}

fn hash_algorithm(algorithm: HashAlgorithm) -> Result<&'static digest::Algorithm> {
    match algorithm {
        HashAlgorithm::Sha2256 => Ok(&digest::SHA256),
        HashAlgorithm::Sha2384 => Ok(&digest::SHA384),
        HashAlgorithm::Sha2512 => Ok(&digest::SHA512),
        other => Err(unsupported(&other.to_string())),
    }
}

/// The algorithms that ring has. ML-DSA is missing.
fn algorithm(scheme: SigningScheme) -> Result<&'static dyn VerificationAlgorithm> {
    Ok(match scheme {
        SigningScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        SigningScheme::EcdsaP256Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
        SigningScheme::EcdsaP384Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
        SigningScheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        SigningScheme::Ed25519 => &signature::ED25519,
        SigningScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SigningScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SigningScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        SigningScheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        SigningScheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        SigningScheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        other => return Err(unsupported(other.name())),
    })
}

fn unsupported(name: &str) -> Error {
    Error::UnsupportedAlgorithm(format!("raas does not check {name}"))
}

#[cfg(test)]
mod tests {
    use raas_testkit::sigstore::SigningKey;

    use super::*;

    const SCHEME: SigningScheme = SigningScheme::EcdsaP256Sha256;

    #[test]
    fn a_signature_of_a_digest_counts_for_the_message_that_is_checked_alone() {
        let key = SigningKey::new();
        let (point, signature) = (key.point(), key.sign(b"message"));
        let sha256 = |message: &[u8]| digest::digest(&digest::SHA256, message).as_ref().to_vec();
        let check =
            |asked: &[u8], signature: &[u8]| Ring.verify_prehashed(SCHEME, &point, &sha256(asked), signature);
        assert!(check(b"message", &signature).is_err(), "no message is checked");
        with_message(b"message", || {
            check(b"message", &signature).unwrap();
            assert!(check(b"message", &key.sign(b"other")).is_err());
            assert!(check(b"message", &SigningKey::new().sign(b"message")).is_err());
            assert!(check(b"other", &key.sign(b"other")).is_err(), "another message is checked");
            assert!(check(b"message", b"").is_err());
            let ml_dsa =
                Ring.verify_prehashed(SigningScheme::MlDsa44, &point, &sha256(b"message"), &signature);
            assert!(ml_dsa.unwrap_err().to_string().contains("raas does not check ML_DSA_44"));
        });
        assert!(check(b"message", &signature).is_err(), "the check is over");
        assert!(install() && install());
    }

    #[test]
    fn hashes_are_those_of_their_names() {
        for (algorithm, length) in
            [(HashAlgorithm::Sha2256, 32), (HashAlgorithm::Sha2384, 48), (HashAlgorithm::Sha2512, 64)]
        {
            let mut hash = Ring.hash(algorithm).unwrap();
            hash.update(b"a");
            hash.update(b"b");
            let hash = hash.finalize();
            assert_eq!(hash.len(), length);
            assert_eq!(hash, digest::digest(hash_algorithm(algorithm).unwrap(), b"ab").as_ref());
        }
    }
}
