//! Names of customers and of their keys.

use std::str::FromStr;

use crate::text_type::text_type;

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

text_type! {
    /// The id of a customer, which is also the user name of the customer's logins: `bigbank`.
    CustomerName, AccessNameError
}
text_type! {
    /// The name of one of a customer's keys: `ci`.
    KeyName, AccessNameError
}

impl FromStr for CustomerName {
    type Err = AccessNameError;

    fn from_str(text: &str) -> Result<Self, AccessNameError> {
        checked(text).map(|text| Self(text.into()))
    }
}

impl FromStr for KeyName {
    type Err = AccessNameError;

    fn from_str(text: &str) -> Result<Self, AccessNameError> {
        checked(text).map(|text| Self(text.into()))
    }
}

fn checked(text: &str) -> Result<&str, AccessNameError> {
    if is_name(text) { Ok(text) } else { Err(AccessNameError(text.chars().take(100).collect())) }
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
