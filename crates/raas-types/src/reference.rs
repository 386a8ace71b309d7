//! Tags, references by tag or digest, and `<image>[:tag]` on the command line.

use std::fmt;
use std::str::FromStr;

use crate::text_type::text_type;
use crate::{Digest, DigestError, NameError, RepositoryName};

text_type! {
    /// A tag: a letter, digit or underscore, then up to 127 of those, dots and hyphens.
    ///
    /// Source: OCI distribution-spec 1.1, "Pulling manifests".
    ///
    /// ```
    /// use raas_types::Tag;
    ///
    /// assert!("1.0-rc_2".parse::<Tag>().is_ok());
    /// assert!("1.0+build5".parse::<Tag>().is_err());
    /// ```
    Tag, TagError
}

/// A text that is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a tag: expected at most 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`"
)]
pub struct TagError(String);

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let good = (1..=128).contains(&text.len())
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
            && word(text.as_bytes()[0]);
        if good { Ok(Tag(text.into())) } else { Err(TagError(text.chars().take(200).collect())) }
    }
}

/// A tag or a digest: what a client names a manifest by.
///
/// ```
/// use raas_types::{Digest, Reference};
///
/// assert!(matches!("latest".parse()?, Reference::Tag(_)));
/// assert!(matches!(Digest::of(b"").to_string().parse()?, Reference::Digest(_)));
/// # Ok::<(), raas_types::ReferenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// A tag, which may move.
    Tag(Tag),
    /// The digest of the manifest's bytes.
    Digest(Digest),
}

/// A text that is neither a tag nor a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text has a colon and is not a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The text has no colon and is not a tag.
    #[error(transparent)]
    Tag(#[from] TagError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        // No tag has a colon and every digest has one.
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// The argument `<image>[:tag]` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageArgument {
    /// The repository's name.
    pub name: RepositoryName,
    /// The tag, if the argument has one.
    pub tag: Option<Tag>,
}

impl FromStr for ImageArgument {
    type Err = ImageArgumentError;

    fn from_str(text: &str) -> Result<Self, ImageArgumentError> {
        if text.contains('@') {
            return Err(ImageArgumentError::Digest);
        }
        if text.split_once(':').is_some_and(|(_, behind)| behind.contains('/')) {
            return Err(ImageArgumentError::Host);
        }
        let (name, tag) = match text.split_once(':') {
            Some((name, tag)) => (name, Some(tag.parse()?)),
            None => (text, None),
        };
        Ok(Self { name: name.parse()?, tag })
    }
}

/// A text that is not `<image>[:tag]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageArgumentError {
    /// The text has a digest behind an `@`.
    #[error("an image is named by `<image>` or `<image>:<tag>`, not by its digest")]
    Digest,
    /// The text has a registry's host and port before the name.
    #[error("an image is named as in the vendor's registry, without the registry's host before the name")]
    Host,
    /// The part before the colon is not a repository name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The part behind the colon is not a tag.
    #[error(transparent)]
    Tag(#[from] TagError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["latest", "1.0", "_x", "V2-rc.1", &"a".repeat(128), "sha256-abc.sig"] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".x", "-x", "a b", "a:b", "a/b", "ä", &"a".repeat(129)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reference_is_a_digest_exactly_if_it_has_a_colon() {
        assert!(matches!("1.0".parse(), Ok(Reference::Tag(_))));
        assert!(matches!(Digest::of(b"x").to_string().parse(), Ok(Reference::Digest(_))));
        assert!(matches!("sha256:nope".parse::<Reference>(), Err(ReferenceError::Digest(_))));
    }

    #[test]
    fn the_image_argument_splits_at_the_colon() {
        let argument: ImageArgument = "tools/backup:1.0".parse().unwrap();
        assert_eq!((argument.name.as_str(), argument.tag.unwrap().as_str()), ("tools/backup", "1.0"));
        assert!("app:".parse::<ImageArgument>().is_err());
        assert!("app:1:2".parse::<ImageArgument>().is_err());
        assert_eq!("app@sha256:00".parse::<ImageArgument>(), Err(ImageArgumentError::Digest));
        assert_eq!("localhost:5000/app".parse::<ImageArgument>(), Err(ImageArgumentError::Host));
    }
}
