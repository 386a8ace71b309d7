//! The patterns of repositories that are born protected.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AccessFileError, FORMAT, text};
use crate::{RepositoryName, RepositoryPattern};

/// The patterns of repositories that are protected from their first publication. The document of a published repository
/// says whether it is protected now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedPatterns {
    format: u32,
    /// The patterns, in the order in which they were added.
    #[serde(with = "text::patterns")]
    pub patterns: Vec<RepositoryPattern>,
    /// Keys of the JSON object that only a newer raas knows.
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Default for ProtectedPatterns {
    fn default() -> Self {
        Self { format: FORMAT, patterns: Vec::new(), other: Map::new() }
    }
}

impl ProtectedPatterns {
    /// Reads a file.
    ///
    /// # Errors
    /// The bytes are not a file of patterns, or a newer raas wrote them.
    pub fn parse(bytes: &[u8]) -> Result<Self, AccessFileError> {
        super::parse(bytes)
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        super::to_bytes(self)
    }

    /// The first pattern that matches a repository.
    pub fn matching(&self, repository: &RepositoryName) -> Option<&RepositoryPattern> {
        self.patterns.iter().find(|pattern| pattern.matches(repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_newer_raas_stay() {
        let text = r#"{"format": 1, "patterns": ["appliance/*"], "later": {"a": 1}}"#;
        let mut file = ProtectedPatterns::parse(text.as_bytes()).unwrap();
        file.patterns.push("tools".parse().unwrap());
        let again: Value = serde_json::from_slice(&file.to_bytes()).unwrap();
        assert_eq!(again["patterns"], serde_json::json!(["appliance/*", "tools"]));
        assert_eq!(again["later"]["a"], 1);
        let newer = ProtectedPatterns::parse(br#"{"format": 2, "patterns": 5}"#).unwrap_err();
        assert!(newer.to_string().contains("format 2"), "{newer}");
        assert!(ProtectedPatterns::parse(br#"{"format": 1, "patterns": ["a*"]}"#).is_err());
    }
}
