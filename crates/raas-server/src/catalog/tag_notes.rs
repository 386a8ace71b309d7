//! What a document says of tags beside their manifests: when each was published, and which are deprecated. Everything that
//! an answer or a page needs of it is made once, when the document is loaded.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::HeaderValue;
use raas_types::crane::Deprecation;
use raas_types::pulls::Kind;
use raas_types::{Digest, RepositoryName, Tag, Utc, preferred_tag, tag_order};

use super::Manifest;
use super::repository::lexical;

/// The tags of a repository in the order of its list, with their manifests.
type Tags = [(Tag, Arc<Manifest>)];

/// What is known of the tags of a repository. Tags are named by their numbers in the repository's list.
#[derive(Debug)]
pub(crate) struct TagNotes {
    /// The tags that people pull, in the order of pages. The tags of attachments are not among them.
    pub(super) pulled: Box<[u32]>,
    /// The tag that a pull command names.
    pub(super) preferred: Option<u32>,
    /// For each tag when it was published, in seconds since 1970; 0 if that is not known. Empty if no time is known.
    published: Box<[u32]>,
    /// The last events, the last one first.
    pub(super) events: Box<[Event]>,
    /// Sorted by the number of the tag.
    deprecated: Box<[DeprecatedTag]>,
    /// The warnings for manifests all of whose tags are deprecated, sorted by digest.
    warnings: Box<[(Digest, HeaderValue)]>,
}

/// A deprecated tag.
#[derive(Debug)]
pub(crate) struct DeprecatedTag {
    pub(crate) tag: u32,
    since: u32,
    /// The tag to use, if it is published.
    pub(crate) replacement: Option<u32>,
    /// The day until which the tag is supported.
    pub(crate) until: Option<Utc>,
    /// The header that tells clients.
    pub(crate) warning: HeaderValue,
}

/// Something that happened to a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// In seconds since 1970.
    pub(crate) time: u32,
    pub(crate) tag: u32,
    pub(crate) kind: EventKind,
}

/// What happened to a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventKind {
    Published,
    Deprecated,
}

/// The events of a repository that are kept: as many as a feed has.
pub(crate) const EVENTS: usize = 50;

impl TagNotes {
    /// The notes of a sorted list of tags.
    pub(super) fn new(
        name: &RepositoryName,
        tags: &Tags,
        published: &BTreeMap<Tag, Utc>,
        deprecated: &BTreeMap<Tag, Deprecation>,
    ) -> Self {
        let numbers = || 0..u32::try_from(tags.len()).expect("a document has fewer entries");
        let text = |at: u32| tags[at as usize].0.as_str();
        let times: Box<[u32]> = match published.is_empty() {
            true => Box::default(),
            false => tags.iter().map(|(tag, _)| published.get(tag).copied().map_or(0, seconds)).collect(),
        };
        let dated = |at: u32| (text(at), time(&times, at));
        let mut pulled: Vec<u32> = numbers().filter(|at| Kind::of_tag(text(*at)).is_none()).collect();
        pulled.sort_unstable_by(|one, other| tag_order(dated(*one), dated(*other)));
        let preferred = preferred_tag(pulled.iter().map(|at| dated(*at)));
        let preferred = preferred.and_then(|tag| number_of(tags, tag));
        let deprecated =
            deprecated.iter().filter_map(|(tag, entry)| DeprecatedTag::new(name, tags, tag, entry));
        let mut deprecated: Vec<DeprecatedTag> = deprecated.collect();
        deprecated.sort_unstable_by_key(|entry| entry.tag);
        Self {
            preferred,
            events: events(&pulled, &times, &deprecated),
            warnings: warnings(tags, &pulled, &deprecated),
            pulled: pulled.into(),
            published: times,
            deprecated: deprecated.into(),
        }
    }

    /// The memory that the notes of so many published and deprecated tags take, beside the lists of all tags, in bytes.
    pub(super) fn cost(published: usize, deprecated: usize) -> u64 {
        /// Two names in a sentence, which both headers share.
        const SENTENCE: usize = 400;
        const DEPRECATED: usize = size_of::<DeprecatedTag>() + size_of::<(Digest, HeaderValue)>() + SENTENCE;
        (published.min(EVENTS) * size_of::<Event>() + deprecated * DEPRECATED) as u64
    }

    /// The tag that a pull command names.
    pub(crate) fn preferred(&self) -> Option<u32> {
        self.preferred
    }

    /// When a tag was published, if that is known.
    pub(crate) fn published(&self, tag: u32) -> Option<Utc> {
        time(&self.published, tag)
    }

    /// The deprecation of a tag.
    pub(crate) fn deprecated(&self, tag: u32) -> Option<&DeprecatedTag> {
        let at = self.deprecated.binary_search_by_key(&tag, |entry| entry.tag).ok()?;
        Some(&self.deprecated[at])
    }

    /// Whether any tag is deprecated. It is asked for every manifest that is answered.
    pub(crate) fn has_deprecated(&self) -> bool {
        !self.deprecated.is_empty()
    }

    /// The warning for clients that pull a manifest by its digest: all of its tags are deprecated.
    pub(crate) fn warning_of(&self, digest: &Digest) -> Option<&HeaderValue> {
        let at = self.warnings.binary_search_by_key(digest, |(digest, _)| *digest).ok()?;
        Some(&self.warnings[at].1)
    }
}

impl DeprecatedTag {
    /// None if the tag is not in the list.
    fn new(name: &RepositoryName, tags: &Tags, tag: &Tag, entry: &Deprecation) -> Option<Self> {
        let number = number_of(tags, tag.as_str())?;
        let replacement = number_of(tags, entry.r#use.as_str());
        let sentence = entry.sentence(name, tag, replacement.is_some());
        // Source: OCI distribution-spec 1.1, "Warnings": code 299, agent `-`, at most 4096 bytes.
        let warning = HeaderValue::try_from(format!("299 - \"{sentence}\""));
        let warning = warning.expect("names, tags and days are visible ASCII without quotes");
        Some(Self { tag: number, since: seconds(entry.since), replacement, until: entry.until, warning })
    }

    /// The sentence for people.
    pub(crate) fn sentence(&self) -> &str {
        let text = self.warning.to_str().unwrap_or_default();
        text.split('"').nth(1).unwrap_or_default()
    }
}

/// The number of a tag in the sorted list.
fn number_of(tags: &Tags, tag: &str) -> Option<u32> {
    let at = tags.binary_search_by(|(other, _)| lexical(other.as_str(), tag)).ok()?;
    u32::try_from(at).ok()
}

fn seconds(time: Utc) -> u32 {
    u32::try_from(time.unix()).unwrap_or(u32::MAX)
}

fn time(times: &[u32], tag: u32) -> Option<Utc> {
    let seconds = times.get(tag as usize).filter(|seconds| **seconds > 0)?;
    Some(Utc::from_unix((*seconds).into()))
}

fn events(pulled: &[u32], times: &[u32], deprecated: &[DeprecatedTag]) -> Box<[Event]> {
    let published = pulled.iter().filter_map(|tag| {
        let time = times.get(*tag as usize).copied().filter(|time| *time > 0)?;
        Some(Event { time, tag: *tag, kind: EventKind::Published })
    });
    let deprecated = deprecated.iter().map(|entry| Event {
        time: entry.since,
        tag: entry.tag,
        kind: EventKind::Deprecated,
    });
    let mut events: Vec<Event> = published.chain(deprecated).collect();
    events.sort_unstable_by_key(|event| Reverse(*event));
    events.truncate(EVENTS);
    events.into()
}

/// The warnings for manifests all of whose tags are deprecated.
fn warnings(tags: &Tags, pulled: &[u32], deprecated: &[DeprecatedTag]) -> Box<[(Digest, HeaderValue)]> {
    let digest = |tag: u32| tags[tag as usize].1.digest;
    let mut warnings: BTreeMap<Digest, HeaderValue> =
        deprecated.iter().map(|entry| (digest(entry.tag), entry.warning.clone())).collect();
    let is_deprecated = |tag: u32| deprecated.binary_search_by_key(&tag, |entry| entry.tag).is_ok();
    for tag in pulled.iter().filter(|tag| !deprecated.is_empty() && !is_deprecated(**tag)) {
        warnings.remove(&digest(*tag));
    }
    warnings.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use raas_types::media_type;

    use super::*;

    fn tags(of: &[(&str, &str)]) -> Vec<(Tag, Arc<Manifest>)> {
        let manifest = |text: &str| {
            let bytes = text.as_bytes().to_vec();
            Arc::new(Manifest::new(Digest::of(&bytes), media_type::OCI_MANIFEST, None, bytes.into()))
        };
        let mut tags: Vec<_> =
            of.iter().map(|(tag, text)| (tag.parse::<Tag>().unwrap(), manifest(text))).collect();
        tags.sort_by(|(one, _), (other, _)| lexical(one.as_str(), other.as_str()));
        tags
    }

    fn deprecation(to: &str, day: u64) -> Deprecation {
        Deprecation { since: Utc::from_unix(day * 86_400), r#use: to.parse().unwrap(), until: None }
    }

    #[test]
    fn a_manifest_is_warned_of_if_all_its_tags_are_deprecated() {
        let tags = tags(&[("1.0", "a"), ("1.1", "b"), ("old", "b"), ("2.0", "c"), ("gone", "d")]);
        let name = "tools/app".parse().unwrap();
        let tag = |text: &str| text.parse::<Tag>().unwrap();
        let deprecated = [
            (tag("1.0"), deprecation("2.0", 3)),
            (tag("1.1"), deprecation("2.0", 4)),
            (tag("none"), deprecation("2.0", 5)),
            (tag("gone"), deprecation("none", 6)),
        ];
        let published = [(tag("2.0"), Utc::from_unix(5 * 86_400)), (tag("1.0"), Utc::from_unix(86_400))];
        let notes = TagNotes::new(&name, &tags, &published.into(), &deprecated.into());
        let warning =
            |text: &str| notes.warning_of(&Digest::of(text.as_bytes())).map(|w| w.to_str().unwrap());
        assert_eq!(warning("a"), Some("299 - \"tools/app:1.0 is deprecated: use tools/app:2.0\""));
        assert_eq!((warning("b"), warning("c")), (None, None));
        assert_eq!(warning("d"), Some("299 - \"tools/app:gone is deprecated\""));
        let number = |tag: &str| number_of(&tags, tag).unwrap();
        let of = notes.deprecated(number("1.1")).unwrap();
        assert_eq!(
            (of.sentence(), of.replacement),
            ("tools/app:1.1 is deprecated: use tools/app:2.0", Some(number("2.0")))
        );
        assert!(notes.deprecated(number("old")).is_none() && notes.has_deprecated());
        assert_eq!(notes.preferred, Some(number("2.0")));
        let events: Vec<_> =
            notes.events.iter().map(|event| (tags[event.tag as usize].0.as_str(), event.kind)).collect();
        let (made, ended) = (EventKind::Published, EventKind::Deprecated);
        assert_eq!(events, [("gone", ended), ("2.0", made), ("1.1", ended), ("1.0", ended), ("1.0", made)]);
    }

    #[test]
    fn notes_are_few_whatever_a_document_says() {
        let tags = tags(
            &(0..200)
                .map(|n| (format!("1.{n}"), "x"))
                .collect::<Vec<_>>()
                .iter()
                .map(|(tag, text)| (tag.as_str(), *text))
                .collect::<Vec<_>>(),
        );
        let published = tags.iter().map(|(tag, _)| (tag.clone(), Utc::from_unix(u64::MAX))).collect();
        let notes = TagNotes::new(&"app".parse().unwrap(), &tags, &published, &BTreeMap::new());
        assert_eq!((notes.events.len(), notes.pulled.len()), (EVENTS, 200));
        assert!(notes.published(0).is_some() && notes.published(200).is_none());
    }
}
