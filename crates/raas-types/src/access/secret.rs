//! The hash of a key's secret.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The SHA-256 of a secret. A secret has 256 random bits, so no slow hash is needed: nobody can try them all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(Digest);

/// Why raas rejects a secret that the operator has chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// It is so short that it can be guessed.
    #[error("the secret has {0} characters; at least {min} random ones are needed", min = SecretHash::MIN_LENGTH)]
    Short(usize),
    /// It repeats so few characters that it can be guessed.
    #[error("the secret has only {0} different characters, so it is not random")]
    Plain(usize),
    /// No client could send it.
    #[error("the secret has spaces, or characters that are not visible ASCII")]
    Characters,
}

impl SecretHash {
    /// The shortest secret: 32 letters and digits have more than 160 random bits.
    pub const MIN_LENGTH: usize = 32;

    /// The hash of a secret.
    pub fn of(secret: &str) -> Self {
        Self(Digest::of(secret.as_bytes()))
    }

    /// The beginning of the hash. It identifies the secret, and tokens carry it.
    pub fn id(&self) -> u128 {
        let bytes = self.0.bytes();
        let (first, _) = bytes.split_first_chunk::<16>().expect("a SHA-256 has 32 bytes");
        u128::from_be_bytes(*first)
    }

    /// Checks a secret that raas has not made. Its hash protects it only if it is random.
    ///
    /// # Errors
    /// The secret is short, repeats few characters, or cannot be sent.
    pub fn check(secret: &str) -> Result<(), WeakSecret> {
        const MIN_DIFFERENT: usize = 10;
        if !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(WeakSecret::Characters);
        }
        if secret.len() < Self::MIN_LENGTH {
            return Err(WeakSecret::Short(secret.len()));
        }
        let different = secret.bytes().collect::<std::collections::BTreeSet<_>>().len();
        if different < MIN_DIFFERENT { Err(WeakSecret::Plain(different)) } else { Ok(()) }
    }
}

/// Shows no part of the hash.
impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_the_operator_must_look_random() {
        assert_eq!(SecretHash::check("k3Jd82hfLsQwe91mNbVcXz4Rt6Yu8Io0"), Ok(()));
        assert_eq!(SecretHash::check("hunter2"), Err(WeakSecret::Short(7)));
        assert_eq!(SecretHash::check(&"a".repeat(40)), Err(WeakSecret::Plain(1)));
        assert_eq!(SecretHash::check(&"aä ".repeat(20)), Err(WeakSecret::Characters));
    }

    #[test]
    fn the_id_is_the_beginning_of_the_hash() {
        let hash = SecretHash::of("x");
        assert!(Digest::of(b"x").hex().starts_with(&format!("{:032x}", hash.id())));
        assert_eq!(format!("{hash:?}"), "SecretHash(***)");
    }
}
