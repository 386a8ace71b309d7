//! Names of repositories and of vendors.

use std::str::FromStr;

use crate::text_type::text_type;

text_type! {
    /// The name that people pull: `bigdata-app`, `tools/backup`.
    ///
    /// ```
    /// use raas_types::RepositoryName;
    ///
    /// let name: RepositoryName = "tools/backup".parse()?;
    /// assert_eq!(name.parts().collect::<Vec<_>>(), ["tools", "backup"]);
    /// assert!("Tools".parse::<RepositoryName>().is_err());
    /// # Ok::<(), raas_types::NameError>(())
    /// ```
    ///
    /// Source: OCI distribution-spec 1.1, "Pulling manifests": parts of lower-case letters and digits joined by `.`,
    /// `_`, `__` or hyphens, and slashes between parts; at most 255 characters, as clients allow.
    RepositoryName, NameError
}

/// Why a text is not a name that raas takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text breaks the grammar of repository names.
    #[error(
        "`{0}` is not a repository name: expected lower-case letters and digits, joined by `.`, `_`, `__` or `-`, in parts \
         separated by `/`, at most 255 characters"
    )]
    Repository(String),
    /// The name is valid, but its files would have the places of another repository's files.
    #[error("`{name}` cannot be published: its part `{part}` {reason}")]
    Unpublishable {
        /// The whole name.
        name: String,
        /// The part that makes the conflict.
        part: String,
        /// What the part would be taken for.
        reason: &'static str,
    },
    /// The text breaks the grammar of vendor names, or is reserved.
    #[error(
        "`{0}` is not a vendor name: expected lower-case letters, digits and inner hyphens, at most 63 characters, \
         as in a host name; `localhost` and the sections of raas.cfg (aws, openshift, pulpserver, redhat) are reserved"
    )]
    Vendor(String),
}

impl RepositoryName {
    /// The parts between slashes.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Checks that the files of this repository cannot have the places of another repository's files.
    ///
    /// A part of 64 hex digits would be taken for a Docker v1 image id in `<image>/<image id>/layer`. A part that ends
    /// in `.json` would be a folder at the place of another repository's document.
    ///
    /// # Errors
    /// [`NameError::Unpublishable`] for such a part.
    pub fn check_publishable(&self) -> Result<(), NameError> {
        for part in self.parts() {
            let reason = if part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit()) {
                "would be taken for a Docker v1 image id"
            } else if part.ends_with(".json") {
                "would be taken for another repository's metadata document"
            } else {
                continue;
            };
            return Err(NameError::Unpublishable { name: self.to_string(), part: part.to_owned(), reason });
        }
        Ok(())
    }
}

fn is_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    // A separator is one dot, one or two underscores, or any number of hyphens.
    bytes
        .split(alphanumeric)
        .all(|run| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-'))
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= 255 && text.split('/').all(is_part) {
            Ok(RepositoryName(text.into()))
        } else {
            Err(NameError::Repository(text.chars().take(300).collect()))
        }
    }
}

text_type! {
    /// A vendor's name (ISV), which is also the vendor's label in `<isv>.localhost`.
    VendorName, NameError
}

/// Names that no vendor can have. Clients treat `localhost.localhost` in ways of their own. The other names are
/// sections of the configuration, where each vendor has a section of its own name.
const NO_VENDORS: [&str; 5] = ["localhost", "aws", "openshift", "pulpserver", "redhat"];

impl FromStr for VendorName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=63).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !NO_VENDORS.contains(&text);
        if good {
            Ok(VendorName(text.into()))
        } else {
            Err(NameError::Vendor(text.chars().take(300).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        for good in ["a", "bigdata-app", "a/b/c", "a.b", "a__b", "a---b", "0/9", "rhel7.1/x_y"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in [
            "", "A", "a/", "/a", "a//b", "-a", "a-", "a..b", "a___b", "a._b", "_a", "ä", "a b", "a:b", "..",
            &long,
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_with_the_places_of_other_files_are_not_publishable() {
        let id = "e1f5733f050b2488a17b7630cb038bfbea8b7bdfa9bdfb99e63a33117e28d02f";
        assert!(format!("app/{id}").parse::<RepositoryName>().unwrap().check_publishable().is_err());
        assert!("app.json/x".parse::<RepositoryName>().unwrap().check_publishable().is_err());
        assert!("app/json".parse::<RepositoryName>().unwrap().check_publishable().is_ok());
    }

    #[test]
    fn vendor_names_are_host_labels() {
        assert!("bigdatainc".parse::<VendorName>().is_ok());
        for bad in ["", "Big", "a.b", "a/b", "-a", "a-", "..", "localhost", "aws", &"a".repeat(64)] {
            assert!(bad.parse::<VendorName>().is_err(), "{bad}");
        }
    }
}
