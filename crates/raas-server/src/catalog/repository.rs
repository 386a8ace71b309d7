//! A repository of the v2 API.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use raas_types::crane::Deprecation;
use raas_types::{Digest, RepositoryName, Tag, Utc};

use super::{Event, Manifest, MemoryCharge, Referrer, TagNotes};

/// A repository with its manifests. Its lists are small and immutable, so sorted lists take less memory than maps.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) name: RepositoryName,
    /// Sorted by [`lexical`].
    tags: Box<[(Tag, Arc<Manifest>)]>,
    /// The indexes of the tags, sorted by the digests of their manifests.
    by_digest: Box<[u32]>,
    /// What is known of the tags beside their manifests.
    pub(crate) notes: TagNotes,
    /// Sorted by digest.
    manifests: Box<[Arc<Manifest>]>,
    /// The indexes of the manifests with a subject, sorted by the subject and by their own digests.
    referrers: Box<[u32]>,
    /// Sorted by digest.
    blobs: Box<[Blob]>,
    /// The answers about atomic signatures, sorted by the digest of the manifest.
    signatures: Box<[(Digest, Bytes)]>,
    /// The path of the document's `url`, if the repository is protected.
    pub(super) url_path: Option<Box<str>>,
    /// The memory that this takes.
    pub(super) charge: Option<MemoryCharge>,
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
        published: &BTreeMap<Tag, Utc>,
        deprecated: &BTreeMap<Tag, Deprecation>,
    ) -> Self {
        tags.sort_unstable_by(|(a, _), (b, _)| lexical(a.as_str(), b.as_str()));
        manifests.sort_unstable_by_key(|manifest| manifest.digest);
        blobs.sort_unstable_by_key(|blob| blob.digest);
        let numbers = |count: usize| 0..u32::try_from(count).expect("a document has fewer entries");
        let mut by_digest: Vec<u32> = numbers(tags.len()).collect();
        // The order among the tags of a manifest is that of the tags.
        by_digest.sort_by_key(|at| tags[*at as usize].1.digest);
        let subject = |at: u32| manifests[at as usize].referrer().map(|referrer| referrer.subject);
        let mut referrers: Vec<u32> = numbers(manifests.len()).filter(|at| subject(*at).is_some()).collect();
        referrers.sort_by_key(|at| subject(*at));
        Self {
            notes: TagNotes::new(&name, &tags, published, deprecated),
            name,
            by_digest: by_digest.into(),
            referrers: referrers.into(),
            tags: tags.into(),
            manifests: manifests.into(),
            blobs: blobs.into(),
            signatures: Box::default(),
            url_path: None,
            charge: None,
        }
    }

    /// The same repository with these answers about atomic signatures, in the order of the digests.
    pub(super) fn with_signatures(self, signatures: Vec<(Digest, Bytes)>) -> Self {
        Self { signatures: signatures.into(), ..self }
    }

    /// Whether a manifest has an atomic signature.
    pub(crate) fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    /// The answer about the atomic signatures of a manifest; `None` if it has none.
    pub(crate) fn signatures(&self, digest: &Digest) -> Option<&Bytes> {
        let at = self.signatures.binary_search_by_key(digest, |(digest, _)| *digest).ok()?;
        Some(&self.signatures[at].1)
    }

    /// About how many bytes of memory a repository with lists of these lengths takes, without the locations of blobs.
    pub(super) fn cost(tags: usize, manifests: usize, blobs: usize) -> u64 {
        /// Of a tag whose text is too long to be stored inside the tag itself.
        const LONG: usize = 64;
        const TAG: usize = size_of::<(Tag, Arc<Manifest>)>() + 3 * size_of::<u32>() + LONG;
        const MANIFEST: usize = size_of::<Arc<Manifest>>() + size_of::<u32>();
        (size_of::<Self>() + tags * TAG + manifests * MANIFEST + blobs * size_of::<Blob>()) as u64
    }

    /// A repository without content.
    pub(crate) fn empty(name: RepositoryName) -> Self {
        Self::new(name, Vec::new(), Vec::new(), Vec::new(), &BTreeMap::new(), &BTreeMap::new())
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
        let tag = |at: u32| &self.tags[at as usize];
        let begin = self.by_digest.partition_point(|at| tag(*at).1.digest < *digest);
        let rest = self.by_digest[begin..].iter().map(move |at| tag(*at));
        rest.take_while(move |(_, manifest)| manifest.digest == *digest).map(|(tag, _)| tag.as_str())
    }

    /// The tags in order. With `last`, those after it, whether or not it is a tag.
    pub(crate) fn tags_after(&self, last: Option<&str>) -> impl ExactSizeIterator<Item = &Tag> {
        let from = last.map_or(0, |last| {
            self.tags.partition_point(|(tag, _)| lexical(tag.as_str(), last) != Ordering::Greater)
        });
        self.tags[from..].iter().map(|(tag, _)| tag)
    }

    /// The number of a tag in the list.
    pub(crate) fn number_of(&self, tag: &str) -> Option<u32> {
        let at = self.tags.binary_search_by(|(other, _)| lexical(other.as_str(), tag)).ok()?;
        u32::try_from(at).ok()
    }

    /// The tag with a number, and its manifest.
    pub(crate) fn tag_at(&self, number: u32) -> (&Tag, &Arc<Manifest>) {
        let (tag, manifest) = &self.tags[number as usize];
        (tag, manifest)
    }

    /// The number of tags that people pull. The tags of attachments, such as `sha256-<hex>.sig`, are not among them.
    pub(crate) fn pulled_len(&self) -> usize {
        self.notes.pulled.len()
    }

    /// The numbers of the tags that people pull, in the order of pages.
    pub(crate) fn pulled(&self) -> impl ExactSizeIterator<Item = u32> {
        self.notes.pulled.iter().copied()
    }

    /// The tag that a pull command names. None if there is no tag that people pull.
    pub(crate) fn preferred(&self) -> Option<&Tag> {
        Some(self.tag_at(self.notes.preferred?).0)
    }

    /// The last events of the repository, the last one first.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        self.notes.events.iter().copied()
    }

    /// The tags of attachments of a manifest: those made of its digest, as cosign makes them.
    pub(crate) fn attachment_tags(&self, digest: Digest) -> impl Iterator<Item = &(Tag, Arc<Manifest>)> {
        let begin = format!("sha256-{}", digest.hex());
        let from = self.tags.partition_point(|(tag, _)| lexical(tag.as_str(), &begin) == Ordering::Less);
        self.tags[from..].iter().take_while(move |(tag, _)| tag.as_str().starts_with(&begin))
    }

    /// The manifests whose subject is `subject`, in the order of their digests. With `last`, those after it.
    pub(crate) fn referrers(
        &self,
        subject: Digest,
        last: Option<Digest>,
    ) -> impl Iterator<Item = (&Arc<Manifest>, &Referrer)> {
        let of = |at: u32| {
            let manifest = &self.manifests[at as usize];
            Some((manifest, manifest.referrer()?))
        };
        let key = |at: u32| of(at).map(|(manifest, referrer)| (referrer.subject, manifest.digest));
        let begin = self.referrers.partition_point(|at| match (key(*at), last) {
            (Some(key), Some(last)) => key <= (subject, last),
            (Some(key), None) => key.0 < subject,
            (None, _) => true,
        });
        let rest = self.referrers[begin..].iter().filter_map(move |at| of(*at));
        rest.take_while(move |(_, referrer)| referrer.subject == subject)
    }
}

/// The order of tags in a list. Case matters only between tags that are equal without it.
///
/// Source: OCI distribution-spec 1.1, "Listing Tags": "lexical order (i.e. case-insensitive alphanumeric order)".
pub(super) fn lexical(a: &str, b: &str) -> Ordering {
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

    /// A manifest with this text in its bytes, attached to a subject or not.
    fn manifest(text: &str, subject: Option<Digest>) -> Arc<Manifest> {
        let part = |digest: Digest| format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":0}}"#);
        let (config, own) =
            (part(Digest::of(b"")), subject.map(|subject| format!(r#","subject":{}"#, part(subject))));
        let bytes = format!(
            r#"{{"schemaVersion":2,"config":{config},"layers":[],"annotations":{{"a":"{text}"}}{}}}"#,
            own.unwrap_or_default()
        );
        let digest = Digest::of(bytes.as_bytes());
        Arc::new(Manifest::new(digest, raas_types::media_type::OCI_MANIFEST, None, bytes.into()))
    }

    #[test]
    fn tags_and_referrers_are_found_by_digest() {
        let images: Vec<_> = (0..20).map(|n| manifest(&n.to_string(), None)).collect();
        let subject = images[3].digest;
        let attached: Vec<_> = (0..9).map(|n| manifest(&n.to_string(), Some(subject))).collect();
        let other = manifest("other", Some(images[4].digest));
        let attachment = |end: &str| format!("sha256-{}{end}", subject.hex());
        let mut tags = vec![(attachment(".sig"), &attached[0]), (attachment(""), &attached[1])];
        tags.extend((0..20).flat_map(|n| [(format!("{n}"), &images[n]), (format!("v{n}"), &images[n])]));
        let tags = tags.into_iter().map(|(tag, manifest)| (tag.parse().unwrap(), Arc::clone(manifest)));
        let all = images.iter().chain(&attached).chain([&other]).map(Arc::clone).collect();
        let none = (BTreeMap::new(), BTreeMap::new());
        let repository =
            Repository::new("app".parse().unwrap(), tags.collect(), all, Vec::new(), &none.0, &none.1);
        for (n, image) in images.iter().enumerate() {
            let tags: Vec<&str> = repository.tags_of(&image.digest).collect();
            assert_eq!(tags, [n.to_string(), format!("v{n}")]);
        }
        assert_eq!(repository.tags_of(&Digest::of(b"none")).count(), 0);
        // Attachments are not tags that people pull.
        assert_eq!((repository.pulled_len(), repository.tags_after(None).len()), (40, 42));
        let pulled: Vec<&str> = repository.pulled().map(|tag| repository.tag_at(tag).0.as_str()).collect();
        assert!(pulled.iter().all(|tag| !tag.contains("sha256")));
        assert_eq!((pulled[0], repository.number_of(pulled[0])), ("19", Some(11)));
        assert_eq!(repository.preferred().unwrap().as_str(), "v19");
        let tags: Vec<&str> = repository.attachment_tags(subject).map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, [attachment(""), attachment(".sig")]);
        // Referrers in pages of one.
        let (mut seen, mut last) = (Vec::new(), None);
        while let Some((manifest, _)) = repository.referrers(subject, last).next() {
            last = Some(manifest.digest);
            seen.push(manifest.digest);
        }
        let mut expected: Vec<Digest> = attached.iter().map(|manifest| manifest.digest).collect();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        assert_eq!(repository.referrers(images[4].digest, None).count(), 1);
        assert_eq!(repository.referrers(images[5].digest, None).count(), 0);
    }
}
