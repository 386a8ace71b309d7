//! The secret of a key: made here, or taken from standard input.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use raas_base::Secret;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_types::access::SecretHash;

/// Where a secret comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// 256 random bits.
    Random,
    /// Standard input, for a secret of a vault.
    StandardInput,
}

impl SecretSource {
    /// The secret.
    ///
    /// # Errors
    /// Standard input cannot be read, or has no random secret.
    pub(crate) fn secret(self) -> Result<Secret, Failure> {
        match self {
            Self::Random => random(),
            Self::StandardInput => from_standard_input(),
        }
    }
}

/// The beginning by which scanners for leaked secrets recognise one of raas.
const PREFIX: &str = "raas_";

fn random() -> Result<Secret, Failure> {
    let mut bytes = [0_u8; 32];
    let provider = rustls::crypto::ring::default_provider();
    let filled = provider.secure_random.fill(&mut bytes);
    filled.map_err(|_| Failure::new(Kind::Environment, "the system gives no random bytes"))?;
    Ok(Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

fn from_standard_input() -> Result<Secret, Failure> {
    /// Longer than any secret of a vault, and short enough for the header of a request.
    const MAX: u64 = 1024;
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX + 1).read_to_string(&mut text);
    read.context(|| "cannot read the secret from standard input".into())?;
    if text.len() as u64 > MAX {
        return Err(Failure::new(
            Kind::Usage,
            format!("the secret on standard input is longer than {MAX} bytes"),
        ));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    SecretHash::check(text).map_err(|error| {
        Failure::new(Kind::Usage, "the secret on standard input cannot be used").caused_by(error).hint(
            "take 32 or more random characters, or leave out `--stdin-secret`: raas then makes a secret",
        )
    })?;
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_256_random_bits_and_a_prefix_for_scanners() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(one.expose().starts_with(PREFIX) && one.expose().len() == PREFIX.len() + 43);
        assert_ne!(one.expose(), other.expose());
        assert_eq!(SecretHash::check(one.expose()), Ok(()));
    }
}
