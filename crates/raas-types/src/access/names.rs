//! Names of customers and of their keys.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The longest name.
const MAX: usize = 63;

/// A text that is no name of a customer or of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name: expected lower-case letters and digits, and between them `.`, `_` or `-`, at most {MAX} characters, \
     without `.json` at the end"
)]
pub struct AccessNameError(String);

/// A name has a letter or digit at both ends, so it is one segment of a path, and never `.` or `..`. It has no `:`,
/// which separates user name and password in a login. It does not end in `.json`, so a customer's file is never taken
/// for a document.
fn is_name(text: &str) -> bool {
    let outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(b);
    text.len() <= MAX
        && !text.ends_with(".json")
        && outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(inner)
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(SmolStr);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = AccessNameError;

            fn from_str(text: &str) -> Result<Self, AccessNameError> {
                match is_name(text) {
                    true => Ok(Self(text.into())),
                    false => Err(AccessNameError(text.chars().take(100).collect())),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = AccessNameError;

            fn try_from(text: String) -> Result<Self, AccessNameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
name! {
    /// The id of a customer, which is also the user name of the customer's logins: `bigbank`.
    CustomerName
}
name! {
    /// The name of one of a customer's keys: `ci`.
    KeyName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_a_path_and_a_user_name() {
        for good in ["a", "bigbank", "big-bank.eu_2", "0"] {
            assert!(good.parse::<CustomerName>().is_ok(), "{good}");
        }
        let long = "a".repeat(MAX + 1);
        for bad in ["", ".", "..", "_a", "a.", "A", "a/b", "a:b", "a b", "ä", "a+b", "a.json", &long] {
            assert!(bad.parse::<KeyName>().is_err(), "{bad}");
        }
    }
}
