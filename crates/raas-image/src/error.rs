//! Errors of sources. Each names the member and the rule that the member breaks.

use std::io;

use raas_types::{Digest, ImageId, ManifestError};

/// Why a source cannot be read or published.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The source could not be read.
    #[error("cannot read {what}")]
    Read {
        /// The path, or the name of the stream.
        what: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The bytes could not be written to the disk or to the storage.
    #[error("cannot write {what}")]
    Write {
        /// The file or object.
        what: String,
        /// The error of the disk or the storage.
        source: io::Error,
    },
    /// A member of the source breaks a rule.
    #[error("`{member}` is refused: {rule}")]
    Refused {
        /// The member's name in the archive, or a part of the member.
        member: String,
        /// The rule that the member breaks.
        rule: Rule,
    },
    /// The source has none of the formats.
    #[error("{what} is not an image that raas can read: {found}")]
    NotAnImage {
        /// The source.
        what: String,
        /// What the source has instead.
        found: String,
    },
    /// The wanted image is not in the source, or several images could be meant. The message lists the choices.
    #[error("{0}")]
    Choice(String),
}

/// A rule that members must follow.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum Rule {
    #[error("its path is absolute")]
    AbsolutePath,
    #[error("its path leads out of the archive with `..`")]
    ParentPath,
    #[error("its name is not UTF-8")]
    NotUtf8,
    #[error("its name is empty")]
    NoName,
    #[error("the archive has two members of this name with different content")]
    Duplicate,
    #[error("it is a link to `{0}`, which is outside of the archive")]
    LinkLeaves(String),
    #[error("it is a link to `{0}`, which is not in the archive")]
    LinkDangles(String),
    #[error("its links lead in a circle, or through more than {0} others")]
    LinkLoop(usize),
    #[error("it is {0}; an image archive has files, folders and links only")]
    Special(&'static str),
    #[error("it is {size} bytes long, more than the {limit} that raas reads of such a file")]
    TooLarge { size: u64, limit: u64 },
    #[error("the archive has more than {0} members")]
    TooManyMembers(usize),
    #[error("the names in the archive take more than {0} bytes")]
    TooManyNames(usize),
    #[error("the archive ends in the middle of it: it is truncated, or was not copied whole")]
    Truncated,
    #[error("its header is damaged: {0}")]
    Header(String),
    #[error("{0}")]
    Missing(String),
    #[error("it is not the JSON that it should be: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("its content has the digest {found}, not {expected}: it was damaged or changed")]
    Digest { expected: Digest, found: Digest },
    #[error("it is {found} bytes long, not the {expected} that its descriptor says")]
    Size { expected: u64, found: u64 },
    #[error("it unpacks to the digest {found}, not to the diff id {expected} of the image's config")]
    DiffId { expected: Digest, found: Digest },
    #[error(
        "the checksum in the table of contents is {expected}, its content has {found}: it was damaged or changed"
    )]
    Checksum { expected: String, found: String },
    #[error("it unpacks to more than {0} bytes")]
    Inflates(u64),
    #[error("it does not unpack: {0}")]
    Unpack(String),
    #[error("its parents lead in a circle")]
    ParentCycle,
    #[error("its parent {0} is not in the archive")]
    ParentMissing(ImageId),
    #[error("{0}")]
    Content(String),
}

impl ImageError {
    pub(crate) fn refused(member: impl Into<String>, rule: Rule) -> Self {
        ImageError::Refused { member: legible(&member.into(), 300), rule: rule.legible() }
    }

    pub(crate) fn content(member: impl Into<String>, message: impl Into<String>) -> Self {
        Self::refused(member, Rule::Content(message.into()))
    }

    pub(crate) fn missing(member: impl Into<String>, message: impl Into<String>) -> Self {
        Self::refused(member, Rule::Missing(message.into()))
    }

    pub(crate) fn choice(message: impl Into<String>) -> Self {
        ImageError::Choice(legible(&message.into(), 2000))
    }

    pub(crate) fn read(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| ImageError::Read { what, source }
    }
}

impl Rule {
    /// The rule with legible text: errors of libraries and of `raas-types` quote the source.
    fn legible(self) -> Self {
        let shown = |text: String| legible(&text, 1000);
        match self {
            Rule::Header(text) => Rule::Header(shown(text)),
            Rule::Missing(text) => Rule::Missing(shown(text)),
            Rule::Unpack(text) => Rule::Unpack(shown(text)),
            Rule::Content(text) => Rule::Content(shown(text)),
            other => other,
        }
    }

    /// The error of the parser, made legible: it may quote the source at any length.
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Rule::Json(short(error))
    }

    /// The error of a manifest, made legible in the same way.
    pub(crate) fn manifest(error: ManifestError) -> Self {
        Rule::Manifest(match error {
            ManifestError::Json(error) => ManifestError::Json(short(error)),
            ManifestError::MediaType(found) => ManifestError::MediaType(legible(&found, 300)),
            ManifestError::Ambiguous(why) => ManifestError::Ambiguous(legible(&why, 1000)),
            other => other,
        })
    }
}

fn short(error: serde_json::Error) -> serde_json::Error {
    let text = error.to_string();
    let shown = legible(&text, 1000);
    if shown == text { error } else { serde::de::Error::custom(shown) }
}

/// Text of the source for a message: of bounded length, with escapes for control characters, which a terminal would
/// obey.
pub(crate) fn legible(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == most {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_parser_is_legible() {
        for text in [format!("\"{}\"", "x".repeat(5000)), "\"sha256:\\u007f\\u001b\"".to_owned()] {
            let error = serde_json::from_str::<Digest>(&text).unwrap_err();
            let shown = Rule::json(error).to_string();
            assert!(shown.len() < 1200 && !shown.chars().any(char::is_control), "{shown:?}");
        }
        let quoting = ImageError::refused("a\u{1b}b", Rule::Content("`\u{7f}` is no id".into())).to_string();
        assert_eq!(quoting, "`a\\u{1b}b` is refused: `\\u{7f}` is no id");
    }
}
