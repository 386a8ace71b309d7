//! Whose keyless signatures count: `IDENTITY from ISSUER` in `require_signature`.

use std::fmt;
use std::str::FromStr;

/// An identity, and the issuer that vouches for it. Anybody can get a certificate for an identity of another issuer, so one
/// without the other says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeylessSigner {
    /// Which identities.
    pub identity: IdentityPattern,
    /// The URL of the issuer, as the certificate has it.
    pub issuer: String,
}

/// Identities in certificates of Fulcio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityPattern {
    /// This e-mail address.
    Email(String),
    /// `*@DOMAIN`: every e-mail address of the domain.
    EmailsOf(String),
    /// This URI.
    Uri(String),
    /// `URI*`: every URI that begins so.
    UrisFrom(String),
}

impl KeylessSigner {
    /// The word between an identity and its issuer.
    pub(crate) const FROM: &'static str = "from";

    /// A signer by the two words of the configuration.
    pub(crate) fn new(identity: &str, issuer: &str) -> Result<Self, String> {
        let host = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
        let is_host = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'));
        if !is_host || issuer.contains('*') {
            return Err(format!(
                "`{issuer}` is no issuer of identities: expected its URL, such as https://accounts.google.com"
            ));
        }
        Ok(Self { identity: identity.parse()?, issuer: issuer.to_owned() })
    }

    /// Whether a signature by this e-mail address of this issuer counts.
    pub fn allows_email(&self, email: &str, issuer: &str) -> bool {
        issuer == self.issuer
            && match &self.identity {
                IdentityPattern::Email(own) => email == own,
                IdentityPattern::EmailsOf(domain) => {
                    email.rsplit_once('@').is_some_and(|(name, of)| !name.is_empty() && of == domain)
                }
                IdentityPattern::Uri(_) | IdentityPattern::UrisFrom(_) => false,
            }
    }

    /// Whether a signature by this URI of this issuer counts.
    pub fn allows_uri(&self, uri: &str, issuer: &str) -> bool {
        issuer == self.issuer
            && match &self.identity {
                IdentityPattern::Uri(own) => uri == own,
                IdentityPattern::UrisFrom(begin) => {
                    uri.strip_prefix(begin.as_str()).is_some_and(|rest| !rest.is_empty())
                }
                IdentityPattern::Email(_) | IdentityPattern::EmailsOf(_) => false,
            }
    }
}

impl FromStr for KeylessSigner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            [identity, Self::FROM, issuer] => Self::new(identity, issuer),
            _ => Err(format!("`{text}` is no signer: expected `IDENTITY from ISSUER`")),
        }
    }
}

impl fmt::Display for KeylessSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.identity, Self::FROM, self.issuer)
    }
}

impl FromStr for IdentityPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains("://") {
            true => Self::of_uri(text),
            false => Self::of_email(text),
        }
    }
}

impl IdentityPattern {
    fn of_email(text: &str) -> Result<Self, String> {
        match text.split_once('@') {
            Some(("*", domain)) if is_domain(domain) => Ok(Self::EmailsOf(domain.to_owned())),
            Some((name, domain)) if !name.is_empty() && !name.contains('*') && is_domain(domain) => {
                Ok(Self::Email(text.to_owned()))
            }
            _ => Err(format!(
                "`{text}` is no identity: expected an e-mail address, *@DOMAIN, or a URI such as \
                 https://github.com/OWNER/REPOSITORY/.github/workflows/FILE@refs/tags/*"
            )),
        }
    }

    fn of_uri(text: &str) -> Result<Self, String> {
        let (begin, is_pattern) = match text.strip_suffix('*') {
            Some(begin) => (begin, true),
            None => (text, false),
        };
        let path = begin.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        let path = path.filter(|(host, path)| !host.is_empty() && !path.is_empty());
        let (Some((_, path)), false) = (path, begin.contains('*')) else {
            return Err(format!(
                "`{text}` is no identity: a URI has a host and a path, and `*` at its end alone. The URIs of a whole host \
                 belong to everybody who uses it"
            ));
        };
        if !is_pattern {
            return Ok(Self::Uri(text.to_owned()));
        }
        // Without such an end, the names of others could begin in the same way.
        match begin.ends_with('/') || path.contains('@') {
            true => Ok(Self::UrisFrom(begin.to_owned())),
            false => Err(format!(
                "`{text}` would allow names that only begin in the same way: put `*` behind a `/`, or behind the `@` of a \
                 workflow"
            )),
        }
    }
}

/// Whether this can be the domain of an e-mail address.
fn is_domain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Email(text) | Self::Uri(text) => f.write_str(text),
            Self::EmailsOf(domain) => write!(f, "*@{domain}"),
            Self::UrisFrom(begin) => write!(f, "{begin}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOGLE: &str = "https://accounts.google.com";
    const GITHUB: &str = "https://token.actions.githubusercontent.com";

    #[test]
    fn an_identity_counts_with_its_issuer_alone() {
        let workflow = "https://github.com/acme/app/.github/workflows/release.yml";
        let tags = format!("{workflow}@refs/tags/*");
        let tag = format!("{workflow}@refs/tags/v1");
        for (signer, good, others) in [
            (
                format!("release@acme.example from {GOOGLE}"),
                vec!["release@acme.example"],
                vec![
                    "Release@acme.example",
                    "release@acme.example.evil",
                    "x",
                    "",
                    "https://release@acme.example",
                ],
            ),
            (
                format!("*@acme.example from {GOOGLE}"),
                vec!["a@acme.example", "b@acme.example"],
                vec!["@acme.example", "a@evil.acme.example", "a@acme.example@evil", "acme.example"],
            ),
            (
                format!("{tags} from {GITHUB}"),
                vec![&tag, "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/a/b"],
                vec!["https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main", &tag[1..]],
            ),
            (format!("{tag} from {GITHUB}"), vec![&tag], vec![workflow, "release@acme.example"]),
            (
                format!("https://github.com/acme/* from {GITHUB}"),
                vec![&tag],
                vec!["https://github.com/acme-evil/x", "https://github.com/acme/"],
            ),
        ] {
            let parsed: KeylessSigner = signer.parse().unwrap();
            assert_eq!(parsed.to_string(), signer);
            let allows = |identity: &str, issuer: &str| match identity.contains("://") {
                true => parsed.allows_uri(identity, issuer),
                false => parsed.allows_email(identity, issuer),
            };
            for identity in good {
                assert!(allows(identity, &parsed.issuer), "{signer}: {identity}");
                for issuer in ["https://other.example", "", &format!("{}/", parsed.issuer)] {
                    assert!(!allows(identity, issuer), "{signer}: {identity} from {issuer}");
                }
                // The kind of the name in the certificate counts too.
                let (email, uri) = (
                    parsed.allows_email(identity, &parsed.issuer),
                    parsed.allows_uri(identity, &parsed.issuer),
                );
                assert!(email != uri, "{signer}: {identity}");
            }
            others.iter().for_each(|one| assert!(!allows(one, &parsed.issuer), "{signer}: {one}"));
        }
    }

    #[test]
    fn what_would_allow_too_much_is_no_signer() {
        for identity in [
            "",
            "*",
            "release",
            "*@*",
            "re*@acme.example",
            "a@",
            "@b",
            "a@b@c",
            "https://github.com",
            "https://github.com/",
            "https://github.com/*",
            "https://github.com/acme*",
            "https://*/acme",
            "https://github.com/*/app/x",
            "https:///x",
            "https://github.com/acme/**",
        ] {
            assert!(KeylessSigner::new(identity, GITHUB).is_err(), "{identity}");
        }
        for issuer in ["", "*", "accounts.google.com", "https://", "https:///x", "https://*", "ftp://x"] {
            assert!(KeylessSigner::new("release@acme.example", issuer).is_err(), "{issuer}");
        }
        for text in [
            "",
            "release@acme.example",
            "release@acme.example from",
            "a@b by https://x",
            "a@b from https://x y",
        ] {
            assert!(text.parse::<KeylessSigner>().is_err(), "{text}");
        }
    }
}
