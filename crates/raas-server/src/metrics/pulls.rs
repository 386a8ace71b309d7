//! What counts as a pull, and of what.
//!
//! Docker and containerd ask with HEAD for a tag and then with GET for the digest that it has; podman and skopeo ask
//! with GET for the tag. Both are one pull of the tag. What is asked for with HEAD alone is a look, and an index's
//! own manifests are a part of the pull of the index.

use std::borrow::Cow;

use raas_types::Digest;

use crate::catalog::{Manifest, Repository};

/// A pull.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pull<'a> {
    /// Of an image, by its tag; by the tags that it has, if it was asked for by its digest; `@` for an index that has
    /// none any more.
    Image(Cow<'a, str>),
    /// Of something that is attached to an image.
    Attachment(&'static str),
}

impl<'a> Pull<'a> {
    /// A manifest that was asked for by this tag.
    pub(crate) fn by_tag(tag: &'a str, manifest: &Manifest) -> Self {
        match attachment(tag) {
            Some(kind) => Pull::Attachment(kind),
            None if manifest.referrer().is_some() => Pull::Attachment("referrer"),
            None => Pull::Image(tag.into()),
        }
    }

    /// A manifest that was asked for by its digest.
    pub(crate) fn by_digest(repository: &'a Repository, manifest: &Manifest) -> Option<Self> {
        /// As many as stand in a label.
        const MOST: usize = 4;
        let mut tags: Vec<&str> = repository.tags_of(&manifest.digest).take(MOST).collect();
        if manifest.referrer().is_some() && tags.is_empty() {
            return Some(Pull::Attachment("referrer"));
        }
        tags.sort_by_key(|tag| attachment(tag).is_some());
        match tags.as_slice() {
            [] => manifest.is_index().then(|| Pull::Image("@".into())),
            [one] => Some(Pull::by_tag(one, manifest)),
            [first, ..] if attachment(first).is_some() => Some(Pull::by_tag(first, manifest)),
            several => Some(Pull::Image(several.join("|").into())),
        }
    }
}

/// The kind of a tag by which cosign and its kin attach something to a digest: `sha256-<hex>.sig`; the fallback of
/// the referrers API is such a tag without an end.
///
/// Source: cosign, "Signature Spec"; OCI distribution-spec 1.1, "Referrers Tag Schema".
fn attachment(tag: &str) -> Option<&'static str> {
    let rest = tag.strip_prefix("sha256-")?;
    let (hex, end) = rest.split_once('.').unwrap_or((rest, ""));
    Digest::from_hex(hex).ok()?;
    Some(match end {
        "sig" => "sig",
        "att" => "att",
        "sbom" => "sbom",
        "" => "referrer",
        _ => "other",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_are_told_from_images() {
        let hex = "a".repeat(64);
        let table = [
            ("1.0".to_owned(), None),
            (format!("sha256-{hex}.sig"), Some("sig")),
            (format!("sha256-{hex}.att"), Some("att")),
            (format!("sha256-{hex}.sbom"), Some("sbom")),
            (format!("sha256-{hex}"), Some("referrer")),
            (format!("sha256-{hex}.x"), Some("other")),
            ("sha256-abc.sig".to_owned(), None),
        ];
        for (tag, kind) in table {
            assert_eq!(attachment(&tag), kind, "{tag}");
        }
    }
}
