//! Locations: the URLs of layers outside the vendor's bucket.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A URL that the server redirects clients to: `http` or `https`, a host, and no character that a header, a log or a
/// terminal would misread. It holds no user name and no password, because every client sees it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Location(Arc<str>);

/// Why a text cannot be a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LocationError(&'static str);

/// The longest URL, in characters, that all servers and clients accept.
const MAX_LENGTH: usize = 2048;

impl Location {
    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of a path below this one.
    pub fn join(&self, path: &str) -> Self {
        Location(format!("{}/{path}", self.0.trim_end_matches('/')).into())
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let scheme = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = scheme.ok_or(LocationError("a location begins with http:// or https://"))?;
        // RFC 3986, section 2: a URL has all other characters percent-encoded.
        let plain = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
        if !text.bytes().all(plain) {
            return Err(LocationError(
                "a location has visible ASCII characters only, others percent-encoded",
            ));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return Err(LocationError("a location names a host"));
        }
        if authority.contains('@') {
            return Err(LocationError(
                "a location names no user or password: everybody who pulls gets to see it",
            ));
        }
        if text.len() > MAX_LENGTH {
            return Err(LocationError("a location has at most 2048 characters"));
        }
        Ok(Location(text.into()))
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> String {
        location.0.as_ref().to_owned()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_web_address() {
        for good in
            ["https://cdn.example.com/rhel7/x/layer", "http://127.0.0.1:5000/v2/a/blobs/sha256:00?x=%20"]
        {
            assert!(good.parse::<Location>().is_ok(), "{good}");
        }
        let long = format!("https://x/{}", "a".repeat(2048));
        for bad in [
            "",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://x/a b",
            "https://x/a\nX-Evil: 1",
            "https://x\u{e4}/y",
            "https://user:secret@x/y",
            "//x/y",
            &long,
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }
}
