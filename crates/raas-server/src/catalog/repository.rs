//! A repository of the v2 API.

use std::cmp::Ordering;
use std::sync::Arc;

use raas_types::{Digest, RepositoryName, Tag};

use super::Manifest;

/// A repository with its manifests. Its lists are small and immutable, so sorted lists take less memory than maps.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) name: RepositoryName,
    /// Sorted by [`lexical`].
    tags: Box<[(Tag, Arc<Manifest>)]>,
    /// Sorted by digest.
    manifests: Box<[Arc<Manifest>]>,
    /// Sorted by digest.
    blobs: Box<[Blob]>,
}

/// A config or a layer of a repository.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// The URL of the bytes, if they are not in the bucket. It was checked to be visible ASCII.
    pub(crate) location: Option<Box<str>>,
}

impl Repository {
    pub(crate) fn new(
        name: RepositoryName,
        mut tags: Vec<(Tag, Arc<Manifest>)>,
        mut manifests: Vec<Arc<Manifest>>,
        mut blobs: Vec<Blob>,
    ) -> Self {
        tags.sort_unstable_by(|(a, _), (b, _)| lexical(a.as_str(), b.as_str()));
        manifests.sort_unstable_by_key(|manifest| manifest.digest);
        blobs.sort_unstable_by_key(|blob| blob.digest);
        Self { name, tags: tags.into(), manifests: manifests.into(), blobs: blobs.into() }
    }

    /// A repository without content.
    pub(crate) fn empty(name: RepositoryName) -> Self {
        Self::new(name, Vec::new(), Vec::new(), Vec::new())
    }

    pub(crate) fn tag(&self, tag: &str) -> Option<&Arc<Manifest>> {
        self.tagged(tag).map(|(_, manifest)| manifest)
    }

    /// A tag and its manifest.
    pub(crate) fn tagged(&self, tag: &str) -> Option<&(Tag, Arc<Manifest>)> {
        let at = self.tags.binary_search_by(|(other, _)| lexical(other.as_str(), tag)).ok()?;
        Some(&self.tags[at])
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> Option<&Arc<Manifest>> {
        let at = self.manifests.binary_search_by_key(digest, |manifest| manifest.digest).ok()?;
        Some(&self.manifests[at])
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Option<&Blob> {
        let at = self.blobs.binary_search_by_key(digest, |blob| blob.digest).ok()?;
        Some(&self.blobs[at])
    }

    /// The tags of a manifest, in order.
    pub(crate) fn tags_of(&self, digest: &Digest) -> impl Iterator<Item = &str> {
        self.tags.iter().filter(move |(_, manifest)| manifest.digest == *digest).map(|(tag, _)| tag.as_str())
    }

    /// The tags in order. With `last`, those after it, whether or not it is a tag.
    pub(crate) fn tags_after(&self, last: Option<&str>) -> impl ExactSizeIterator<Item = &Tag> {
        let from = last.map_or(0, |last| {
            self.tags.partition_point(|(tag, _)| lexical(tag.as_str(), last) != Ordering::Greater)
        });
        self.tags[from..].iter().map(|(tag, _)| tag)
    }

    /// The manifests whose subject is `subject`.
    pub(crate) fn referrers(&self, subject: Digest) -> impl Iterator<Item = &super::Referrer> {
        let referrers = self.manifests.iter().filter_map(|manifest| manifest.referrer());
        referrers.filter(move |referrer| referrer.subject == subject)
    }
}

/// The order of tags in a list. Case matters only between tags that are equal without it.
///
/// Source: OCI distribution-spec 1.1, "Listing Tags": "lexical order (i.e. case-insensitive alphanumeric order)".
fn lexical(a: &str, b: &str) -> Ordering {
    fn fold(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().map(|byte| byte.to_ascii_lowercase())
    }
    fold(a).cmp(fold(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lexical_order_ignores_case_first() {
        let mut tags = ["b", "B", "a", "C", "1.10", "1.9", "_x"];
        tags.sort_unstable_by(|a, b| lexical(a, b));
        assert_eq!(tags, ["1.10", "1.9", "_x", "a", "B", "b", "C"]);
    }
}
