//! Which tags of a repository are wanted.

use std::collections::BTreeSet;

use raas_types::{Tag, TagVersion};

use super::version::Range;

/// Which tags of a repository are wanted: patterns and ranges that allow, patterns that deny, and the newest of what is left.
///
/// Without anything that allows, all tags are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagFilter {
    globs: Vec<String>,
    ranges: Vec<Range>,
    denied: Vec<String>,
    newest: Option<usize>,
}

impl TagFilter {
    /// Reads parts that are separated by commas: `1.*`, `!*-rc*`, `>=1.2 <2`, `newest 5`.
    ///
    /// # Errors
    /// A part is none of these. The message names it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if Range::is_meant_by(part) {
                filter.ranges.push(Range::parse(part)?);
            } else if let Some(count) = part.strip_prefix("newest ").or((part == "newest").then_some("")) {
                let count = count.trim().parse().ok().filter(|count| *count > 0);
                let count =
                    count.ok_or_else(|| format!("`{part}` names no number of tags, such as `newest 5`"))?;
                if filter.newest.replace(count).is_some() {
                    return Err("`newest` is there twice".into());
                }
            } else {
                let (denies, glob) = part.strip_prefix('!').map_or((false, part), |glob| (true, glob));
                let is_glob = |b: u8| b.is_ascii_alphanumeric() || b"_.-*?".contains(&b);
                if glob.is_empty() || !glob.bytes().all(is_glob) {
                    return Err(format!(
                        "`{part}` is no pattern of tags: expected letters, digits, `_`, `.`, `-`, `*` and `?`, with `!` before \
                         a pattern that denies"
                    ));
                }
                let list = if denies { &mut filter.denied } else { &mut filter.globs };
                list.push(glob.to_owned());
            }
        }
        Ok(filter)
    }

    /// The wanted tags.
    pub fn choose(&self, tags: impl IntoIterator<Item = Tag>) -> BTreeSet<Tag> {
        let mut chosen: Vec<Tag> = tags.into_iter().filter(|tag| self.allows(tag.as_str())).collect();
        if let Some(newest) = self.newest {
            // A tag that names no version is neither old nor new.
            chosen.retain(|tag| TagVersion::parse(tag.as_str()).is_some());
            chosen.sort_by(|one, other| {
                let [first, second] = [one, other].map(|tag| TagVersion::parse(tag.as_str()));
                second.cmp(&first).then_with(|| one.cmp(other))
            });
            chosen.truncate(newest);
        }
        chosen.into_iter().collect()
    }

    fn allows(&self, tag: &str) -> bool {
        let version = TagVersion::parse(tag);
        let in_range = |range: &Range| version.as_ref().is_some_and(|version| range.contains(version));
        let allowed = (self.globs.is_empty() && self.ranges.is_empty())
            || self.globs.iter().any(|glob| matches(glob.as_bytes(), tag.as_bytes()))
            || self.ranges.iter().any(in_range);
        allowed && !self.denied.iter().any(|glob| matches(glob.as_bytes(), tag.as_bytes()))
    }
}

/// Whether a text matches a pattern of `*` and `?`, in time of the product of their lengths.
fn matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => (g, t) = (g + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (g, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(filter: &str, tags: &[&str]) -> Vec<String> {
        let tags = tags.iter().map(|tag| tag.parse().unwrap());
        TagFilter::parse(filter).unwrap().choose(tags).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn patterns_ranges_and_the_newest_choose() {
        let tags = ["1.0", "1.1-rc1", "1.1", "1.10", "1.9", "2.0", "latest", "nightly"];
        let table: [(&str, &[&str]); 9] = [
            ("", &["1.0", "1.1", "1.1-rc1", "1.10", "1.9", "2.0", "latest", "nightly"]),
            ("1.*, latest", &["1.0", "1.1", "1.1-rc1", "1.10", "1.9", "latest"]),
            ("!*-rc*, !nightly", &["1.0", "1.1", "1.10", "1.9", "2.0", "latest"]),
            (">=1.1 <2", &["1.1", "1.10", "1.9"]),
            ("^1.9, latest", &["1.10", "1.9", "latest"]),
            ("newest 2", &["1.10", "2.0"]),
            ("1.*, !*-rc*, newest 2", &["1.10", "1.9"]),
            ("?.0", &["1.0", "2.0"]),
            ("nothing", &[]),
        ];
        for (filter, expected) in table {
            assert_eq!(chosen(filter, &tags), expected, "{filter}");
        }
        for bad in ["a b", "newest", "newest 0", "newest 1, newest 2", "!", ">=x", "a/b"] {
            assert!(TagFilter::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_quick() {
        let glob = "*a".repeat(60);
        assert!(!matches(glob.as_bytes(), "a".repeat(59).as_bytes()));
        assert!(matches(glob.as_bytes(), "ba".repeat(60).as_bytes()));
        assert!(!matches("*a*b*c".as_bytes(), "x".repeat(128).as_bytes()));
    }
}
