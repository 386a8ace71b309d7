//! The order of tags for people: by version, and the tag that a pull command names.

use std::cmp::Ordering;

use crate::Utc;
use crate::pulls::Kind;

/// The version that a tag names: `1.2`, `v1.2.3`, `1.2.3-rc.1`, `2.0_build`.
///
/// Source: Semantic Versioning 2.0.0, with any number of numbers, since tags often have one or two.
#[derive(Debug, Clone, Copy)]
pub struct TagVersion<'a> {
    /// Numbers with dots between them.
    numbers: &'a str,
    /// The identifiers behind the hyphen. None for a release.
    pre: Option<&'a str>,
}

impl<'a> TagVersion<'a> {
    /// Reads a version. `None` for a tag that names none.
    pub fn parse(tag: &'a str) -> Option<Self> {
        let text = tag.strip_prefix('v').unwrap_or(tag);
        // The build does not count for the order. A tag has no plus; some tools write an underscore for it.
        let text = text.split(['+', '_']).next()?;
        let (numbers, pre) = match text.split_once('-') {
            Some((numbers, pre)) => (numbers, Some(pre)),
            None => (text, None),
        };
        let is_pre = |pre: &str| pre.split('.').all(|part| !part.is_empty());
        (numbers.split('.').all(is_number) && pre.is_none_or(is_pre)).then_some(Self { numbers, pre })
    }

    /// Whether the version is a release: it has nothing behind a hyphen.
    pub fn is_release(&self) -> bool {
        self.pre.is_none()
    }

    /// The numbers, the most significant first.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.numbers.split('.').map(|number| number.parse().unwrap_or(u64::MAX))
    }
}

/// A text of digits that fits 64 bits. A longer one is the id of a build or a commit.
fn is_number(text: &str) -> bool {
    (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

impl Ord for TagVersion<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_numbers(self.numbers(), other.numbers()).then_with(|| match (self.pre, other.pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(other)) => compare_pre(one, other),
        })
    }
}

/// Compares numbers. A missing number counts as zero.
fn compare_numbers(mut one: impl Iterator<Item = u64>, mut other: impl Iterator<Item = u64>) -> Ordering {
    loop {
        let order = match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => a.unwrap_or(0).cmp(&b.unwrap_or(0)),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn compare_pre(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        let (a, b) = match (one.next(), other.next()) {
            (Some(a), Some(b)) => (a, b),
            (a, b) => return a.is_some().cmp(&b.is_some()),
        };
        let order = match (is_number(a), is_number(b)) {
            (true, true) => compare_numbers(a.parse().into_iter(), b.parse().into_iter()),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
    }
}

impl PartialEq for TagVersion<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for TagVersion<'_> {}

impl PartialOrd for TagVersion<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A tag, and when it was published, if that is known.
pub type DatedTag<'a> = (&'a str, Option<Utc>);

/// The order of tags in a list for people: `latest`, then versions, the highest first, then other tags, the newest first.
pub fn tag_order(one: DatedTag<'_>, other: DatedTag<'_>) -> Ordering {
    let rank = |(tag, _): DatedTag<'_>| (tag == "latest", TagVersion::parse(tag).is_some());
    let version = |(tag, _)| TagVersion::parse(tag);
    rank(other)
        .cmp(&rank(one))
        .then_with(|| version(other).cmp(&version(one)))
        .then_with(|| other.1.cmp(&one.1))
        .then_with(|| one.0.cmp(other.0))
}

/// The tag that a pull command names: `latest`, else the highest version that is a release, else the newest tag, else the
/// last tag by name. A tag that is made of a digest belongs to a signature or another attachment, which people do not pull.
///
/// ```
/// use raas_types::preferred_tag;
///
/// let tags = ["1.10", "1.9", "2.0-rc.1", "nightly"].map(|tag| (tag, None));
/// assert_eq!(preferred_tag(tags.into_iter()), Some("1.10"));
/// ```
pub fn preferred_tag<'a>(tags: impl Iterator<Item = DatedTag<'a>>) -> Option<&'a str> {
    let rank = |(tag, published): DatedTag<'a>| {
        let release = TagVersion::parse(tag).filter(TagVersion::is_release);
        (tag == "latest", release, published, tag)
    };
    let pulled = tags.filter(|(tag, _)| Kind::of_tag(tag).is_none());
    pulled.max_by(|one, other| rank(*one).cmp(&rank(*other))).map(|(tag, _)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_semantic_versioning_says() {
        let ordered = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1",
            "1.2",
            "v1.10.0",
            "2",
        ];
        for pair in ordered.windows(2) {
            assert!(TagVersion::parse(pair[0]) < TagVersion::parse(pair[1]), "{pair:?}");
        }
        let [short, long] = ["1.0", "v1.0.0_7"].map(|tag| TagVersion::parse(tag).unwrap());
        assert_eq!(short, long);
        for none in ["latest", "1.x", "", "1..2", "-1", "1.0-", "1-a..b", "99999999999999999999999"] {
            assert_eq!(TagVersion::parse(none), None, "{none}");
        }
    }

    /// Tags, each published on its own day if a number follows.
    fn dated<const N: usize>(tags: [(&'static str, u64); N]) -> [DatedTag<'static>; N] {
        tags.map(|(tag, day)| (tag, (day > 0).then(|| Utc::from_unix(day * 86_400))))
    }

    #[test]
    fn people_see_versions_first_and_the_newest_on_top() {
        let mut tags = dated([
            ("nightly", 3),
            ("1.9", 9),
            ("edge", 5),
            ("1.10-alpine", 1),
            ("1.10", 1),
            ("latest", 0),
            ("zeta", 0),
            ("alpha", 0),
            ("v2.0.0-rc.1", 2),
        ]);
        tags.sort_unstable_by(|one, other| tag_order(*one, *other));
        let names = tags.map(|(tag, _)| tag);
        let expected =
            ["latest", "v2.0.0-rc.1", "1.10", "1.10-alpine", "1.9", "edge", "nightly", "alpha", "zeta"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_pull_command_names_latest_else_the_highest_release_else_the_newest() {
        let signature = "sha256-0000000000000000000000000000000000000000000000000000000000000000.sig";
        let preferred = |tags: &[DatedTag<'static>]| preferred_tag(tags.iter().copied());
        assert_eq!(preferred(&dated([("9.0", 9), ("latest", 1), (signature, 99)])), Some("latest"));
        assert_eq!(
            preferred(&dated([("1.9", 9), ("1.10", 1), ("2.0-rc1", 10), (signature, 99)])),
            Some("1.10")
        );
        assert_eq!(preferred(&dated([("edge", 2), ("nightly", 1), ("2.0-rc1", 0)])), Some("edge"));
        assert_eq!(preferred(&dated([("b", 0), ("a", 0)])), Some("b"));
        assert_eq!(preferred(&dated([(signature, 1)])), None);
        assert_eq!(preferred(&[]), None);
    }
}
