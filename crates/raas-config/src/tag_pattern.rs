//! Patterns of tags: a tag in which `*` stands for any characters.

use std::fmt;
use std::str::FromStr;

use raas_types::Tag;

/// A pattern such as `v*` or `*.*.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPattern(String);

impl TagPattern {
    /// Whether the pattern matches the whole tag.
    pub fn matches(&self, tag: &Tag) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = tag.as_str().strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            // The earliest match leaves the longest rest for the other parts.
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl FromStr for TagPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = |c: char| c.is_ascii_alphanumeric() || "._-*".contains(c);
        if !text.is_empty() && text.len() <= 128 && text.chars().all(good) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
        Err(format!(
            "`{shown}` is no pattern of tags: expected the characters of a tag, and `*` for any characters"
        ))
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let table = [
            ("v*", "v1.0", true),
            ("v*", "v", true),
            ("v*", "rev1", false),
            ("*.*.*", "1.2.3", true),
            ("*.*.*", "1.2.3-rc.1", true),
            ("*.*.*", "1.2", false),
            ("*", "latest", true),
            ("1.0", "1.0", true),
            ("1.0", "1.0.1", false),
            ("*-lts", "2-lts", true),
            ("a*a", "a", false),
            ("a*ba", "aba", true),
            ("*.", "1.0", false),
        ];
        for (pattern, tag, expected) in table {
            let pattern: TagPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&tag.parse().unwrap()), expected, "{pattern} {tag}");
        }
        assert!("a/b".parse::<TagPattern>().is_err() && "".parse::<TagPattern>().is_err());
    }
}
