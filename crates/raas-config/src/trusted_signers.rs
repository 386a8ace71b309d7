//! Whose signatures count: `require_signature` of a vendor's section.

use std::path::{Path, PathBuf};

use crate::keyless_signer::KeylessSigner;

/// Keys, and signers without a key. A signature by any of them is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedSigners {
    /// The files of keys.
    pub key_files: Vec<PathBuf>,
    /// The signers of keyless signatures.
    pub keyless: Vec<KeylessSigner>,
}

impl TrustedSigners {
    /// Whether nobody is trusted, so no signature is needed.
    pub fn is_empty(&self) -> bool {
        self.key_files.is_empty() && self.keyless.is_empty()
    }

    /// Reads files, and identities with their issuers: `IDENTITY from ISSUER`. A relative file is in this folder.
    pub(crate) fn read(words: &[&str], folder: &Path) -> Result<Self, String> {
        let mut signers = Self::default();
        let mut rest = words;
        while let [word, behind @ ..] = rest {
            rest = match behind {
                [KeylessSigner::FROM, issuer, behind @ ..] => {
                    signers.keyless.push(KeylessSigner::new(word, issuer)?);
                    behind
                }
                _ => {
                    signers.key_files.push(folder.join(key_file(word)?));
                    behind
                }
            };
        }
        Ok(signers)
    }
}

/// A file of keys, as the configuration names it.
fn key_file(word: &str) -> Result<&str, String> {
    let is_keyless = word.to_ascii_lowercase().starts_with("keyless");
    if is_keyless
        || word == KeylessSigner::FROM
        || word.starts_with("https://")
        || word.starts_with("http://")
    {
        return Err(format!(
            "`{word}`: a keyless signature needs an identity and its issuer, `IDENTITY from ISSUER`, such as \
             release@example.com from https://accounts.google.com"
        ));
    }
    if word.contains("://") {
        return Err(format!(
            "`{word}` is no file; write the public key into one: cosign public-key --key {word} > vendor.pub"
        ));
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_identities_stand_in_one_list() {
        let words = "a.pub x@b.example from https://c.example /d.pem".split(' ').collect::<Vec<_>>();
        let signers = TrustedSigners::read(&words, Path::new("/etc/raas")).unwrap();
        assert_eq!(signers.key_files, [Path::new("/etc/raas/a.pub"), Path::new("/d.pem")]);
        assert_eq!(signers.keyless, ["x@b.example from https://c.example".parse().unwrap()]);
        assert!(TrustedSigners::read(&[], Path::new("")).unwrap().is_empty());
        for (words, reason) in [
            (&["x@b.example", "from"][..], "IDENTITY from ISSUER"),
            (&["from", "https://c.example"], "IDENTITY from ISSUER"),
            (&["https://github.com/acme/app"], "IDENTITY from ISSUER"),
            (&["keyless:x@b.example"], "IDENTITY from ISSUER"),
            (&["x", "from", "https://c.example"], "is no identity"),
            (&["x@b.example", "from", "c.example"], "is no issuer"),
            (&["awskms://alias/acme"], "is no file"),
        ] {
            let message = TrustedSigners::read(words, Path::new("")).unwrap_err();
            assert!(message.contains(reason), "{message}");
        }
    }
}
