//! Ranges of versions in tags.

use raas_types::TagVersion;

/// A range of versions: `>=1.2 <2`, `^1.4`, `~1.2.3`. All parts must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range(Vec<(Comparison, Limit)>);

/// A version that a range names, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit(String);

impl Limit {
    fn parse(text: &str) -> Option<Self> {
        TagVersion::parse(text).map(|_| Self(text.to_owned()))
    }

    fn version(&self) -> TagVersion<'_> {
        TagVersion::parse(&self.0).expect("the text was parsed before")
    }

    /// The smallest version above all that begin with the first `count` numbers.
    fn after(&self, count: usize) -> Self {
        let mut numbers: Vec<u64> = self.version().numbers().take(count.max(1)).collect();
        if let Some(last) = numbers.last_mut() {
            *last += 1;
        }
        Self(numbers.iter().map(u64::to_string).collect::<Vec<_>>().join("."))
    }
}

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
    pub(super) fn is_meant_by(word: &str) -> bool {
        word.starts_with(['<', '>', '=', '^', '~'])
    }

    /// Reads the parts of a range, separated by spaces.
    ///
    /// # Errors
    /// A part is no comparison with a version. The message names it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for word in text.split_whitespace() {
            let operators = ["<=", ">=", "<", ">", "=", "^", "~"];
            let found = operators.iter().find_map(|operator| Some((*operator, word.strip_prefix(operator)?)));
            let read = found.and_then(|(operator, version)| Some((operator, Limit::parse(version)?)));
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
                    let numbers: Vec<u64> = version.version().numbers().collect();
                    let leading = numbers.iter().position(|n| *n != 0).map_or(numbers.len(), |n| n + 1);
                    let count = if operator == "^" { leading } else { numbers.len().min(2) };
                    let end = version.after(count);
                    parts.push((Comparison::GreaterOrEqual, version));
                    parts.push((Comparison::Less, end));
                }
            }
        }
        if parts.is_empty() { Err("a range of versions is empty".into()) } else { Ok(Self(parts)) }
    }

    /// Whether a version is in the range. A version before a release is in it only if a part of the range names one.
    pub(super) fn contains(&self, version: &TagVersion<'_>) -> bool {
        let names_pre = self.0.iter().any(|(_, limit)| !limit.version().is_release());
        (version.is_release() || names_pre)
            && self.0.iter().all(|(comparison, limit)| {
                let order = version.cmp(&limit.version());
                match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                    Comparison::Equal => order.is_eq(),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let contains = |tag: &&&str| range.contains(&TagVersion::parse(tag).unwrap());
            assert!(inside.iter().all(|tag| contains(&tag)), "{range:?}");
            assert!(!outside.iter().any(|tag| contains(&tag)), "{range:?}");
        }
        for bad in ["", ">=", "1.2", ">=x"] {
            assert!(Range::parse(bad).is_err(), "{bad}");
        }
    }
}
