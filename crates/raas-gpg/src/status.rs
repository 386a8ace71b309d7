//! What gpg says about a signature, for programs.
//!
//! Source: GnuPG, doc/DETAILS, "Format of the --status-fd output".

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// It is something else.
    #[error("it is no message of OpenPGP with one signature")]
    NoSignature,
    /// A key that is not trusted made it.
    #[error("none of the trusted keys made it, but the key {0}")]
    UnknownKey(String),
    /// The key did not make it, or its content was changed.
    #[error("its content was changed, or the key {0} did not make it")]
    Changed(String),
    /// The signature or its key has expired.
    #[error("it or its key {0} has expired")]
    Expired(String),
    /// The key is revoked.
    #[error("its key {0} is revoked")]
    Revoked(String),
    /// gpg cannot check it.
    #[error("gpg cannot check it{0}")]
    Unchecked(String),
    /// The signed content is too long.
    #[error("its content is longer than {0} bytes")]
    TooLong(usize),
}

/// The fingerprint of the primary key that made a signature, by what gpg says about a message with one signature.
///
/// # Errors
/// The signature does not count.
pub(crate) fn signer(status: &str) -> Result<String, BadSignature> {
    let lines: Vec<Vec<&str>> = status
        .lines()
        .filter_map(|line| line.strip_prefix("[GNUPG:] "))
        .map(|line| line.split(' ').collect())
        .collect();
    type Bad = fn(String) -> BadSignature;
    let bad: [(&str, Bad); 5] = [
        ("NO_PUBKEY", BadSignature::UnknownKey),
        ("BADSIG", BadSignature::Changed),
        ("EXPSIG", BadSignature::Expired),
        ("EXPKEYSIG", BadSignature::Expired),
        ("REVKEYSIG", BadSignature::Revoked),
    ];
    for (word, bad) in bad {
        if let Some(line) = lines.iter().find(|line| line[0] == word) {
            return Err(bad(key(line, 1)));
        }
    }
    let count = |word: &str| lines.iter().filter(|line| line[0] == word).count();
    if count("ERRSIG") > 0 {
        return Err(BadSignature::Unchecked(String::new()));
    }
    if ["NEWSIG", "PLAINTEXT", "GOODSIG", "VALIDSIG"].iter().any(|word| count(word) != 1) {
        return Err(BadSignature::NoSignature);
    }
    let valid = lines.iter().find(|line| line[0] == "VALIDSIG");
    // The last of ten fields is the primary key; the first is the key itself, which may be a subkey.
    match valid.map(|line| key(line, 10)) {
        Some(primary) if !primary.is_empty() => Ok(primary),
        _ => Err(BadSignature::NoSignature),
    }
}

/// The name of a key in a line: hexadecimal digits.
fn key(line: &[&str], field: usize) -> String {
    let name = line.get(field).copied().unwrap_or_default();
    name.chars().filter(char::is_ascii_hexdigit).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[GNUPG:] PLAINTEXT 62 1796005314 payload\n[GNUPG:] PLAINTEXT_LENGTH 8\n[GNUPG:] NEWSIG a@b\n\
        [GNUPG:] KEY_CONSIDERED 0846AD 0\n[GNUPG:] GOODSIG 60895DC3CDD70FEA a@b\n\
        [GNUPG:] VALIDSIG AAAA 2026-11-30 1796005314 0 4 0 22 8 00 0846AD590D95E5455955F22C60895DC3CDD70FEA\n";

    #[test]
    fn one_good_signature_counts_and_nothing_else() {
        assert_eq!(signer(GOOD).unwrap(), "0846AD590D95E5455955F22C60895DC3CDD70FEA");
        let more = |line: &str| signer(&format!("{GOOD}[GNUPG:] {line}\n")).unwrap_err();
        assert_eq!(more("EXPKEYSIG 7650C94D a@b"), BadSignature::Expired("7650C94D".into()));
        assert_eq!(more("EXPSIG 7650C94D a@b"), BadSignature::Expired("7650C94D".into()));
        assert_eq!(more("REVKEYSIG 7650C94D a@b"), BadSignature::Revoked("7650C94D".into()));
        assert_eq!(more("BADSIG 7650C94D a@b"), BadSignature::Changed("7650C94D".into()));
        assert_eq!(more("NO_PUBKEY 7650C94D"), BadSignature::UnknownKey("7650C94D".into()));
        assert_eq!(more("ERRSIG 7650C94D 22 8 00 1 4"), BadSignature::Unchecked(String::new()));
        for line in ["NEWSIG", "PLAINTEXT 62 1 x", "GOODSIG A b", "VALIDSIG A b"] {
            assert_eq!(more(line), BadSignature::NoSignature, "two of {line}");
        }
        for word in ["NEWSIG", "PLAINTEXT ", "GOODSIG", "VALIDSIG"] {
            assert_eq!(signer(&GOOD.replace(word, "OTHER")), Err(BadSignature::NoSignature), "no {word}");
        }
        assert_eq!(signer(""), Err(BadSignature::NoSignature));
        assert_eq!(signer(&GOOD.replace("[GNUPG:] ", "")), Err(BadSignature::NoSignature));
    }
}
