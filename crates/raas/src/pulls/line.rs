//! A line of the access log, as `raas serve --log json` writes it.

use std::borrow::Cow;
use std::net::IpAddr;

use raas_types::pulls::{Fetch, Kind};
use raas_types::{Digest, Utc};
use serde::Deserialize;

/// What is read of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    status: u16,
    #[serde(borrow)]
    user_agent: Cow<'a, str>,
    client: IpAddr,
    #[serde(borrow, default)]
    pub(super) vendor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) repository: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tag: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tags: Option<Cow<'a, str>>,
    #[serde(default)]
    digest: Option<Digest>,
}

/// What a line is that is none of an access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// JSON that is about something else.
    Other,
    /// A line of an access log in text.
    Text,
    /// Anything else.
    Nothing,
}

impl<'a> Line<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Unread> {
        #[derive(Deserialize)]
        struct Target<'a> {
            #[serde(borrow)]
            target: Cow<'a, str>,
        }
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        match serde_json::from_slice::<Target<'_>>(bytes) {
            Ok(found) if found.target == "access" => {
                serde_json::from_slice(bytes).map_err(|_| Unread::Nothing)
            }
            Ok(_) => Err(Unread::Other),
            Err(_) if !bytes.starts_with(b"{") && has(b" access: ") && has(b"method=") => Err(Unread::Text),
            Err(_) => Err(Unread::Nothing),
        }
    }

    /// The request, if it was answered well and is of a repository.
    pub(super) fn fetch(&self) -> Option<Fetch<'_>> {
        if !(200..400).contains(&self.status) {
            return None;
        }
        Some(Fetch {
            time: self.timestamp.parse::<Utc>().ok()?,
            client: self.client,
            user_agent: match &*self.user_agent {
                // As the log has it for a client that does not say.
                "-" => "",
                said => said,
            },
            vendor: self.vendor.as_deref()?,
            repository: self.repository.as_deref()?,
            kind: Kind::from_name(self.kind.as_deref()?)?,
            got: self.method == "GET" && self.status != 304,
            tag: self.tag.as_deref(),
            tags: self.tags.as_deref().unwrap_or_default(),
            digest: self.digest,
        })
    }
}
