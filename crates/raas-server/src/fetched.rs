//! What a request was for: the access log writes it, and the pull counters count it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use raas_types::access::{CustomerName, KeyName};
use raas_types::pulls::{Kind, UNTAGGED};
use raas_types::{Digest, RepositoryName, Tag, VendorName};

use crate::catalog::{Manifest, Repository};

/// What a request was for. Every request makes one, so it shares all texts instead of copying them.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) vendor: VendorName,
    pub(crate) repository: RepositoryName,
    pub(crate) item: FetchedItem,
    /// The customer's key, if the request had one or a token for it.
    pub(crate) key: Option<UsedKey>,
}

/// A key of a customer, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedKey {
    pub(crate) customer: CustomerName,
    pub(crate) name: KeyName,
}

/// An item of a repository.
#[derive(Debug, Clone)]
pub(crate) enum FetchedItem {
    /// A manifest by its tag: the kind of the tag's own manifest, and the manifest that was answered.
    Tag { tag: Tag, kind: Kind, answered: Arc<Manifest> },
    /// A manifest by its digest.
    Digest { repository: Arc<Repository>, manifest: Arc<Manifest> },
    /// A manifest by its tag, in a repository whose content is unknown.
    Legacy(Tag),
    /// A config or a layer.
    Blob(Digest),
    /// The list of tags.
    Tags,
    /// The list of referrers.
    Referrers(Option<Digest>),
}

/// A request with a successful answer, to be counted.
#[derive(Debug)]
pub(crate) struct CountableRequest {
    pub(crate) client: IpAddr,
    pub(crate) what: Arc<Countable>,
}

/// What is counted, besides the client: the same whenever a request is repeated.
#[derive(Debug)]
pub(crate) struct Countable {
    pub(crate) fetched: Fetched,
    /// Whether the client received a manifest: a GET that was not answered with 304.
    pub(crate) got: bool,
    pub(crate) user_agent: Option<Box<str>>,
    /// The host that the client named and whether it used TLS. Only set if pulls are notified.
    pub(crate) host: Option<(Box<str>, bool)>,
}

/// The fields of the access log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogFields<'a> {
    pub(crate) kind: Kind,
    /// The tag in the request.
    pub(crate) tag: Option<&'a str>,
    /// The tags of the digest in the request, `a|b`. Empty if it has none.
    pub(crate) tags: Cow<'a, str>,
    pub(crate) digest: Option<Digest>,
}

impl FetchedItem {
    /// A manifest by its tag. The kind is computed here because the tag's own manifest is not kept.
    pub(crate) fn tag(tag: Tag, tagged: &Manifest, answered: Arc<Manifest>) -> Self {
        let kind = kind(Some(tag.as_str()), tagged);
        FetchedItem::Tag { tag, kind, answered }
    }

    /// Whether the request may change a counter.
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
    /// The maximal number of tags in a label.
    const MAX: usize = 4;
    let mut tags: Vec<&str> = repository.tags_of(&manifest.digest).take(MAX).collect();
    tags.sort_by_key(|tag| Kind::of_tag(tag).is_some());
    let kind = kind(tags.first().copied(), manifest);
    let tags = match tags.as_slice() {
        [one] => Cow::Borrowed(*one),
        several => several.join("|").into(),
    };
    LogFields { kind, tag: None, tags, digest: Some(manifest.digest) }
}

/// The tag that a notification names. None for a pull by a digest that has no tag or several.
pub(crate) fn one_tag(label: &str) -> Option<&str> {
    Some(label).filter(|label| *label != UNTAGGED && !label.contains('|'))
}
