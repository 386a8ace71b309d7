//! What an API server says when it refuses.

use raas_types::null_as_default;
use serde::Deserialize;

/// The `Status` object of an answer that is no success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// The status code. A few servers leave it out of the body.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) code: u16,
    /// `Forbidden`, `Conflict`; empty for errors that the server did not classify.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) reason: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) message: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) details: Details,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) group: String,
    /// The resource, such as `services`.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) causes: Vec<Cause>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Cause {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) message: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) field: String,
}

/// The longest text of an answer that is shown, in characters.
const SHOWN: usize = 300;

impl Status {
    /// The status of an answer. A proxy on the way answers in its own words.
    pub(crate) fn read(code: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Self>(body) {
            Ok(status) if !status.message.is_empty() => Self { code, ..status },
            _ => {
                let text = String::from_utf8_lossy(body);
                let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
                Self { code, message: text.chars().take(SHOWN).collect(), ..Self::default() }
            }
        }
    }

    /// The user whom the server knows, out of a message such as `User "U" cannot patch …`.
    pub(crate) fn user(&self) -> Option<&str> {
        self.message.split_once("User \"")?.1.split_once('"').map(|(user, _)| user)
    }

    /// The verb that the server forbids, out of the same message: an apply of a new object needs `create` too.
    pub(crate) fn verb(&self) -> Option<&str> {
        self.message.split_once(" cannot ")?.1.split_once(" resource ").map(|(verb, _)| verb)
    }

    /// The resource that the server forbids, with a part of it: `routes/custom-host`.
    pub(crate) fn resource(&self) -> Option<&str> {
        self.message.split_once(" resource \"")?.1.split_once('"').map(|(resource, _)| resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_writes_as_null_is_empty() {
        let body = r#"{"code":null,"reason":null,"message":"no","details":{"group":null,"kind":"services",
            "causes":[{"message":null,"field":"spec"}]}}"#;
        let status = Status::read(403, body.as_bytes());
        assert_eq!(
            (status.code, status.message.as_str(), status.details.kind.as_str()),
            (403, "no", "services")
        );
        for causes in [r#"{"causes":null}"#, "null"] {
            let body = format!(r#"{{"message":"no","details":{causes}}}"#);
            assert_eq!(Status::read(403, body.as_bytes()).details, Details::default(), "{causes}");
        }
    }
}
