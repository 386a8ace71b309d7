//! What a request turned out to be for, as the access log tells it and as pulls are counted by it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use raas_types::pulls::{Kind, UNTAGGED};
use raas_types::{Digest, RepositoryName, Tag, VendorName};

use crate::catalog::{Manifest, Repository};

/// What a request was for. It is made on the way of every request, so making it copies no text.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) vendor: VendorName,
    pub(crate) repository: RepositoryName,
    pub(crate) item: FetchedItem,
}

/// What of the repository.
#[derive(Debug, Clone)]
pub(crate) enum FetchedItem {
    /// A manifest by its tag: what the tag's own is, and the one that was answered.
    Tag { tag: Tag, kind: Kind, answered: Arc<Manifest> },
    /// A manifest by its digest.
    Digest { repository: Arc<Repository>, manifest: Arc<Manifest> },
    /// A manifest of which nothing is known here, by its tag.
    Legacy(Tag),
    /// A config or a layer.
    Blob(Digest),
    /// The list of tags.
    Tags,
    /// The list of what is attached to a manifest.
    Referrers(Option<Digest>),
}

/// A request that was answered well.
#[derive(Debug)]
pub(crate) struct CountableRequest {
    pub(crate) fetched: Fetched,
    /// Whether the client got it: GET and a whole answer.
    pub(crate) got: bool,
    pub(crate) client: IpAddr,
    pub(crate) user_agent: Option<Box<str>>,
    /// Where pulls are told: the host that was request, and whether by TLS.
    pub(crate) host: Option<(Box<str>, bool)>,
}

/// The same in the words of the access log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogFields<'a> {
    pub(crate) kind: Kind,
    /// The tag that was asked for.
    pub(crate) tag: Option<&'a str>,
    /// The tags of the digest that was asked for, `a|b`; empty if it has none.
    pub(crate) tags: Cow<'a, str>,
    pub(crate) digest: Option<Digest>,
}

impl FetchedItem {
    /// A manifest by its tag. What it is, is told apart now: once it is counted, the manifest is out of mind.
    pub(crate) fn tag(tag: Tag, tagged: &Manifest, answered: Arc<Manifest>) -> Self {
        let kind = kind(Some(tag.as_str()), tagged);
        FetchedItem::Tag { tag, kind, answered }
    }

    /// Whether it can change what is counted.
    pub(crate) fn is_countable(&self) -> bool {
        !matches!(self, FetchedItem::Blob(_))
    }
}

impl Fetched {
    /// The manifest that was answered.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        match &self.item {
            FetchedItem::Tag { answered, .. } => Some(answered),
            FetchedItem::Digest { manifest, .. } => Some(manifest),
            _ => None,
        }
    }

    pub(crate) fn log_fields(&self) -> LogFields<'_> {
        let plain = |kind, digest| LogFields { kind, tag: None, tags: "".into(), digest };
        match &self.item {
            FetchedItem::Tag { tag, kind, answered } => LogFields {
                kind: *kind,
                tag: Some(tag.as_str()),
                tags: "".into(),
                digest: Some(answered.digest),
            },
            FetchedItem::Digest { repository, manifest } => by_digest(repository, manifest),
            FetchedItem::Legacy(tag) => LogFields { tag: Some(tag.as_str()), ..plain(Kind::Manifest, None) },
            FetchedItem::Blob(digest) => plain(Kind::Blob, Some(*digest)),
            FetchedItem::Tags => plain(Kind::Tags, None),
            FetchedItem::Referrers(digest) => plain(Kind::Referrers, *digest),
        }
    }
}

fn kind(tag: Option<&str>, manifest: &Manifest) -> Kind {
    match tag.and_then(Kind::of_tag) {
        Some(kind) => kind,
        None if manifest.referrer().is_some() => Kind::Referrer,
        None if manifest.is_index() => Kind::Index,
        None => Kind::Manifest,
    }
}

fn by_digest<'a>(repository: &'a Repository, manifest: &Manifest) -> LogFields<'a> {
    /// As many as stand in a label.
    const MOST: usize = 4;
    let mut tags: Vec<&str> = repository.tags_of(&manifest.digest).take(MOST).collect();
    tags.sort_by_key(|tag| Kind::of_tag(tag).is_some());
    let kind = kind(tags.first().copied(), manifest);
    let tags = match tags.as_slice() {
        [one] => Cow::Borrowed(*one),
        several => several.join("|").into(),
    };
    LogFields { kind, tag: None, tags, digest: Some(manifest.digest) }
}

/// The tag that a notification names; none for a pull by a digest that has several or none.
pub(crate) fn one_tag(label: &str) -> Option<&str> {
    Some(label).filter(|label| *label != UNTAGGED && !label.contains('|'))
}
