//! Deprecated tags.

use serde::{Deserialize, Serialize};

use crate::{RepositoryName, Tag, Utc};

/// What a document says of a deprecated tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deprecation {
    /// When the tag was deprecated.
    pub since: Utc,
    /// The tag of the same repository to use in its place.
    pub r#use: Tag,
    /// The day until which the tag is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Utc>,
}

impl Deprecation {
    /// A sentence for people and for the header `Warning`, in visible ASCII and spaces, without quotes and backslashes.
    /// `use` is left out if that tag is no longer published.
    pub fn sentence(&self, repository: &RepositoryName, tag: &Tag, is_replacement_there: bool) -> String {
        let mut text = format!("{repository}:{tag} is deprecated");
        if is_replacement_there {
            text.push_str(&format!(": use {repository}:{}", self.r#use));
        }
        if let Some(until) = self.until {
            text.push_str(&format!(" (supported until {})", until.day_text()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_can_be_a_header() {
        let text =
            r#"{"since": "2026-01-01T00:00:00Z", "use": "2.4", "until": "2026-12-31T00:00:00Z", "later": 1}"#;
        let deprecation: Deprecation = serde_json::from_str(text).unwrap();
        let (name, tag) = ("tools/app".parse().unwrap(), "2.3".parse().unwrap());
        let sentence = deprecation.sentence(&name, &tag, true);
        assert_eq!(sentence, "tools/app:2.3 is deprecated: use tools/app:2.4 (supported until 2026-12-31)");
        let forever = Deprecation { until: None, ..deprecation };
        assert_eq!(forever.sentence(&name, &tag, false), "tools/app:2.3 is deprecated");
    }
}
