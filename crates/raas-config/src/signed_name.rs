//! The name that a signature gives to an image: `signature_identity` of a vendor's section.

use std::fmt;
use std::str::FromStr;

use raas_types::ImageReference;

/// A name of images in a registry, without tag and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedName {
    /// `HOST/NAME`: this repository.
    One(String),
    /// `HOST/NAME/*` or `HOST/*`: every repository below it.
    Below(String),
}

impl SignedName {
    /// Whether a signature with this reference is for the name. The tag or digest of the reference does not count: the
    /// signature has the digest of its image, and tags move.
    pub fn matches(&self, reference: &str) -> bool {
        let name = without_tag(reference);
        match self {
            SignedName::One(own) => name == own,
            SignedName::Below(prefix) => {
                name.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
            }
        }
    }
}

/// The reference without its tag and its digest.
fn without_tag(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let after_slash = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[after_slash..].find(':') {
        Some(colon) if after_slash > 0 => &name[..after_slash + colon],
        _ => name,
    }
}

impl FromStr for SignedName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no name in a registry: expected HOST/NAME or HOST/NAME/*");
        let (name, is_below) = match text.strip_suffix("/*") {
            Some(name) => (name, true),
            None => (text, false),
        };
        // The parser of image references checks the host and the name.
        let checked = if is_below { format!("{name}/x") } else { name.to_owned() };
        let parsed: Result<ImageReference, _> = checked.parse();
        if parsed.is_err() || without_tag(&checked) != checked {
            return Err(wrong());
        }
        let name = name.to_owned();
        Ok(if is_below { SignedName::Below(name) } else { SignedName::One(name) })
    }
}

impl fmt::Display for SignedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignedName::One(name) => f.write_str(name),
            SignedName::Below(name) => write!(f, "{name}/*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_references_of_its_repositories() {
        for (name, matching, others) in [
            (
                "quay.io/acme/app",
                vec!["quay.io/acme/app", "quay.io/acme/app:1.0", "quay.io/acme/app:1@sha256:0"],
                vec!["quay.io/acme/app2", "quay.io/acme/app/x", "docker.io/acme/app", "", "app"],
            ),
            (
                "quay.io/acme/*",
                vec!["quay.io/acme/app", "quay.io/acme/a/b:1"],
                vec!["quay.io/acme", "quay.io/acme/", "quay.io/acmee/app", "quay.io/acme:1"],
            ),
            ("r.example:5000/*", vec!["r.example:5000/app:1"], vec!["r.example/app", "r.example:5000"]),
        ] {
            let parsed: SignedName = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            matching.iter().for_each(|text| assert!(parsed.matches(text), "{name}: {text}"));
            others.iter().for_each(|text| assert!(!parsed.matches(text), "{name}: {text}"));
        }
        for bad in ["", "*", "app", "quay.io/acme/app:1", "quay.io/*/app", "https://quay.io/a", "quay.io/A"] {
            assert!(bad.parse::<SignedName>().is_err(), "{bad}");
        }
    }
}
