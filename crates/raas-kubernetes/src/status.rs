//! What an API server says when it refuses.

use serde::Deserialize;

/// The `Status` object of an answer that is no success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// The status code. A few servers leave it out of the body.
    pub(crate) code: u16,
    /// `Forbidden`, `Conflict`; empty for errors that the server did not classify.
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: Details,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    pub(crate) group: String,
    /// The resource, such as `services`.
    pub(crate) kind: String,
    pub(crate) causes: Vec<Cause>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Cause {
    pub(crate) message: String,
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
