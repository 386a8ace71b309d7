//! The `raas` object of a document: what a server needs in order to answer from memory, and what Crane's own keys lack.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Deprecation, ImageFacts};
use crate::{AtomicSignature, Digest, ImageId, Platform, Tag, Utc, null_as_default};

/// What raas adds to a document of version 4.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2Extension {
    /// Each tag's manifest.
    #[serde(deserialize_with = "null_as_default")]
    pub tags: BTreeMap<Tag, Digest>,
    /// When each tag began to lead to its manifest. A tag that an older raas published has no time.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub published: BTreeMap<Tag, Utc>,
    /// The deprecated tags.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub deprecated: BTreeMap<Tag, Deprecation>,
    /// Every manifest of the repository, tagged or not.
    #[serde(deserialize_with = "null_as_default")]
    pub manifests: BTreeMap<Digest, ManifestEntry>,
    /// Every config and layer that a manifest names.
    #[serde(deserialize_with = "null_as_default")]
    pub blobs: BTreeMap<Digest, BlobEntry>,
    /// The atomic signatures of manifests.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub signatures: BTreeMap<Digest, Vec<AtomicSignature>>,
}

impl V2Extension {
    /// The bytes of a document that facts of images may take. Further images have none.
    const MAX_FACTS: usize = 8 * 1024 * 1024;

    /// Notes the time for the tags that are new or lead to another manifest than in `before`, and keeps the times and the
    /// deprecations of the other tags.
    pub fn note_times(&mut self, before: Option<&V2Extension>, now: Utc) {
        let time = |(tag, digest): (&Tag, &Digest)| {
            let known = before.filter(|before| before.tags.get(tag) == Some(digest));
            let time = known.map_or(Some(now), |before| before.published.get(tag).copied())?;
            Some((tag.clone(), time))
        };
        self.published = self.tags.iter().filter_map(time).collect();
        self.deprecated = before.map(|before| before.deprecated.clone()).unwrap_or_default();
        self.forget_removed_tags();
    }

    /// Drops what is said of tags that are gone.
    pub fn forget_removed_tags(&mut self) {
        let Self { tags, published, deprecated, .. } = self;
        published.retain(|tag, _| tags.contains_key(tag));
        deprecated.retain(|tag, _| tags.contains_key(tag));
    }

    /// The bytes of a document that are left for facts of further images.
    pub fn room_for_facts(&self) -> usize {
        let weights = self.manifests.values().filter_map(|entry| entry.image.as_ref());
        Self::MAX_FACTS.saturating_sub(weights.map(|facts| facts.weight()).sum())
    }
}

/// A manifest of the repository; its bytes lie beside the document, under its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// The media type to serve it with.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// What the image runs on, if its config or its index says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What pages show of the image's config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Box<ImageFacts>>,
}

/// A blob of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobEntry {
    /// Its length in bytes.
    pub size: u64,
    /// For a layer that raas packed: the digest of the plain tar. A later push recognises the layer by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<Digest>,
    /// For a blob that is not in the vendor's bucket (a masked or foreign layer): the URL of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// What raas adds to a document of version 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1Extension {
    /// For each image, the other identities of its layer.
    #[serde(deserialize_with = "null_as_default")]
    pub images: BTreeMap<ImageId, V1ImageEntry>,
}

/// A Docker v1 image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1ImageEntry {
    /// Digest of the `layer` file as the source has it.
    pub layer: Digest,
    /// Length of the `layer` file in bytes.
    pub size: u64,
    /// Digest of the layer's plain tar.
    pub diff_id: Digest,
    /// The blob that today's clients pull in place of the layer.
    pub blob: Digest,
    /// Digest of the `json` file, if the bucket has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Digest>,
    /// For a masked image: the URL of the folder with its `layer`, `json` and `ancestry`, without a slash at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_kept_while_a_tag_leads_to_the_same_manifest() {
        let tag = |text: &str| text.parse::<Tag>().unwrap();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let at = Utc::from_unix;
        let deprecation = |to: &str| Deprecation { since: at(5), r#use: tag(to), until: None };
        let before = V2Extension {
            tags: [(tag("kept"), one), (tag("moved"), one), (tag("gone"), one), (tag("old"), one)].into(),
            published: [(tag("kept"), at(1)), (tag("moved"), at(1)), (tag("gone"), at(1))].into(),
            deprecated: [(tag("moved"), deprecation("new")), (tag("gone"), deprecation("new"))].into(),
            ..V2Extension::default()
        };
        let tags = [(tag("kept"), one), (tag("moved"), two), (tag("new"), two), (tag("old"), one)].into();
        let mut after = V2Extension { tags, ..V2Extension::default() };
        after.note_times(Some(&before), at(9));
        assert_eq!(
            after.published,
            [(tag("kept"), at(1)), (tag("moved"), at(9)), (tag("new"), at(9))].into()
        );
        assert_eq!(after.deprecated, [(tag("moved"), deprecation("new"))].into());
        let mut again = after.clone();
        again.note_times(Some(&after), at(20));
        assert_eq!(again, after, "an unchanged repository stays as it is");
    }
}
