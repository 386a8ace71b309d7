//! Patterns of repository names.

use std::fmt;
use std::str::FromStr;

use crate::RepositoryName;

/// A pattern of repository names, as configuration lists them: `app`, `tools/*` or `*`.
///
/// | pattern | matches |
/// |---|---|
/// | `app` | the repository `app` alone |
/// | `tools/*` | every repository below `tools/` at any depth: `tools/backup`, `tools/a/b`; not `tools` itself |
/// | `*` | every repository |
///
/// A `*` stands at the end, alone or behind a slash: `a*` and `a/*/b` are errors.
///
/// ```
/// use raas_types::RepositoryPattern;
///
/// let patterns: Vec<RepositoryPattern> =
///     "appliance/*,tools".split(',').map(str::parse).collect::<Result<_, _>>()?;
/// let matches = |name: &str| patterns.iter().any(|pattern| pattern.matches(&name.parse().unwrap()));
/// assert!(matches("appliance/ui") && matches("tools"));
/// assert!(!matches("tools/backup"));
/// # Ok::<(), raas_types::RepositoryPatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryPattern {
    /// `*`: every repository.
    All,
    /// `<name>/*`: every repository below that name.
    Below(RepositoryName),
    /// `<name>`: that repository.
    One(RepositoryName),
}

/// A text that is not a pattern of repository names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither the name of a repository nor `NAME/*` nor `*`")]
pub struct RepositoryPatternError(String);

impl RepositoryPattern {
    /// Whether the pattern matches this repository.
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        match self {
            RepositoryPattern::All => true,
            RepositoryPattern::Below(name) => {
                let rest = repository.as_str().strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.starts_with('/'))
            }
            RepositoryPattern::One(name) => name == repository,
        }
    }
}

impl FromStr for RepositoryPattern {
    type Err = RepositoryPatternError;

    fn from_str(text: &str) -> Result<Self, RepositoryPatternError> {
        if text == "*" {
            return Ok(RepositoryPattern::All);
        }
        let parse =
            |name: &str| name.parse().map_err(|_| RepositoryPatternError(text.chars().take(300).collect()));
        match text.strip_suffix("/*") {
            Some(name) => parse(name).map(RepositoryPattern::Below),
            None => parse(text).map(RepositoryPattern::One),
        }
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RepositoryPattern::All => f.write_str("*"),
            RepositoryPattern::Below(name) => write!(f, "{name}/*"),
            RepositoryPattern::One(name) => write!(f, "{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_parts_of_a_name() {
        let table = [
            ("app", "app", true),
            ("app", "app2", false),
            ("app", "app/x", false),
            ("tools/*", "tools/app", true),
            ("tools/*", "tools/a/b", true),
            ("tools/*", "tools", false),
            ("tools/*", "tools2/app", false),
            ("*", "anything/at-all", true),
        ];
        for (text, name, expected) in table {
            let pattern: RepositoryPattern = text.parse().unwrap();
            assert_eq!(pattern.matches(&name.parse().unwrap()), expected, "{pattern:?} {name}");
            assert_eq!(pattern.to_string(), text);
        }
        for text in ["", "/*", "a*", "*/a", "a/*/b", "App"] {
            assert!(text.parse::<RepositoryPattern>().is_err(), "{text}");
        }
    }
}
