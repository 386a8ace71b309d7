//! Image ids of Docker v1.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::parse_hex32;

/// The id of a Docker v1 image: 64 hex digits that name one layer and its json.
///
/// Unlike a [`Digest`](crate::Digest) the id is random, so it serves for lookup and cannot verify content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ImageId([u8; 32]);

/// A text that is not an image id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Docker v1 image id: expected 64 lower-case hex digits")]
pub struct ImageIdError(String);

impl ImageId {
    /// The first twelve digits, as `docker images` shows ids.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl FromStr for ImageId {
    type Err = ImageIdError;

    fn from_str(text: &str) -> Result<Self, ImageIdError> {
        parse_hex32(text).map(ImageId).ok_or_else(|| ImageIdError(text.chars().take(200).collect()))
    }
}

impl TryFrom<String> for ImageId {
    type Error = ImageIdError;

    fn try_from(text: String) -> Result<Self, ImageIdError> {
        text.parse()
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> String {
        id.to_string()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
