//! Versions in tags, and ranges of versions.

use std::cmp::Ordering;

/// The version that a tag names: `1.2`, `v1.2.3`, `1.2.3-rc.1`, `2.0+build`.
///
/// Source: Semantic Versioning 2.0.0, with any number of numbers, since tags often have one or two.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    numbers: Vec<u64>,
    /// The identifiers behind the hyphen; none for a release.
    pre: Vec<String>,
}

impl Version {
    /// Reads a version. `None` for a tag that names none.
    pub(crate) fn parse(tag: &str) -> Option<Self> {
        let text = tag.strip_prefix('v').unwrap_or(tag);
        // The build does not count for the order. A tag has no plus; some tools write an underscore for it.
        let text = text.split(['+', '_']).next()?;
        let (numbers, pre) = match text.split_once('-') {
            Some((numbers, pre)) => (numbers, pre.split('.').map(str::to_owned).collect()),
            None => (text, Vec::new()),
        };
        let numbers = numbers.split('.').map(number).collect::<Option<Vec<_>>>()?;
        (pre.iter().all(|part: &String| !part.is_empty())).then_some(Self { numbers, pre })
    }

    fn is_release(&self) -> bool {
        self.pre.is_empty()
    }

    /// The smallest version above all that begin with the first `count` numbers.
    fn after(&self, count: usize) -> Self {
        let mut numbers: Vec<u64> = self.numbers.iter().copied().take(count.max(1)).collect();
        if let Some(last) = numbers.last_mut() {
            *last = last.saturating_add(1);
        }
        Self { numbers, pre: Vec::new() }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let count = self.numbers.len().max(other.numbers.len());
        let at = |version: &Self, n: usize| version.numbers.get(n).copied().unwrap_or(0);
        let numbers = (0..count).map(|n| at(self, n).cmp(&at(other, n))).find(|order| order.is_ne());
        numbers.unwrap_or(Ordering::Equal).then_with(|| match (self.is_release(), other.is_release()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_pre(&self.pre, &other.pre),
        })
    }
}

fn compare_pre(one: &[String], other: &[String]) -> Ordering {
    for (a, b) in one.iter().zip(other) {
        let order = match (number(a), number(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A range of versions: `>=1.2 <2`, `^1.4`, `~1.2.3`. All parts must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range(Vec<(Comparison, Version)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

impl Range {
    /// Whether a word begins like a part of a range.
    pub(crate) fn is_meant_by(word: &str) -> bool {
        word.starts_with(['<', '>', '=', '^', '~'])
    }

    /// Reads the parts of a range, separated by spaces.
    ///
    /// # Errors
    /// A part is no comparison with a version. The message names it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for word in text.split_whitespace() {
            let operators = ["<=", ">=", "<", ">", "=", "^", "~"];
            let found = operators.iter().find_map(|operator| Some((*operator, word.strip_prefix(operator)?)));
            let read = found.and_then(|(operator, version)| Some((operator, Version::parse(version)?)));
            let (operator, version) = read.ok_or_else(|| {
                format!("`{word}` is no part of a range of versions, such as `>=1.2` or `^1.4`")
            })?;
            match operator {
                "<=" => parts.push((Comparison::LessOrEqual, version)),
                ">=" => parts.push((Comparison::GreaterOrEqual, version)),
                "<" => parts.push((Comparison::Less, version)),
                ">" => parts.push((Comparison::Greater, version)),
                "=" => parts.push((Comparison::Equal, version)),
                // `^` keeps the first number that is not zero, `~` the second number.
                operator => {
                    let leading =
                        version.numbers.iter().position(|n| *n != 0).map_or(version.numbers.len(), |n| n + 1);
                    let count = if operator == "^" { leading } else { version.numbers.len().min(2) };
                    let end = version.after(count);
                    parts.push((Comparison::GreaterOrEqual, version));
                    parts.push((Comparison::Less, end));
                }
            }
        }
        if parts.is_empty() { Err("a range of versions is empty".into()) } else { Ok(Self(parts)) }
    }

    /// Whether a version is in the range. A version before a release is in it only if a part of the range names one.
    pub(crate) fn contains(&self, version: &Version) -> bool {
        let names_pre = self.0.iter().any(|(_, limit)| !limit.is_release());
        (version.is_release() || names_pre)
            && self.0.iter().all(|(comparison, limit)| match comparison {
                Comparison::Less => version < limit,
                Comparison::LessOrEqual => version <= limit,
                Comparison::Greater => version > limit,
                Comparison::GreaterOrEqual => version >= limit,
                Comparison::Equal => version == limit,
            })
    }
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
            assert!(Version::parse(pair[0]) < Version::parse(pair[1]), "{pair:?}");
        }
        let [short, long] = ["1.0", "v1.0.0"].map(|tag| Version::parse(tag).unwrap());
        assert_eq!(short.cmp(&long), Ordering::Equal);
        for none in ["latest", "1.x", "", "1..2", "-1", "1.0-", "99999999999999999999999"] {
            assert_eq!(Version::parse(none), None, "{none}");
        }
    }

    #[test]
    fn ranges_contain_versions() {
        let table: [(&str, &[&str], &[&str]); 6] = [
            (">=1.2 <2", &["1.2", "1.9.9"], &["1.1", "2", "2.0.0", "1.5-rc1"]),
            ("^1.4", &["1.4.0", "1.9"], &["1.3", "2"]),
            ("^0.4", &["0.4", "0.4.7"], &["0.5", "1"]),
            ("~1.2", &["1.2.9"], &["1.3"]),
            ("~1", &["1.3"], &["2"]),
            (">=1.0-rc1", &["1.0-rc2", "1.0"], &["1.0-beta"]),
        ];
        for (range, inside, outside) in table {
            let range = Range::parse(range).unwrap();
            let contains = |tag: &&&str| range.contains(&Version::parse(tag).unwrap());
            assert!(inside.iter().all(|tag| contains(&tag)), "{range:?}");
            assert!(!outside.iter().any(|tag| contains(&tag)), "{range:?}");
        }
        for bad in ["", ">=", "1.2", ">=x"] {
            assert!(Range::parse(bad).is_err(), "{bad}");
        }
    }
}
