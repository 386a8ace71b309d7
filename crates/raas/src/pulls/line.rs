//! A line of the access log, as `raas serve --log json` writes it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use raas_types::pulls::{Fetch, Kind};
use raas_types::{Digest, Utc};
use serde::{Deserialize, Deserializer, de};

/// The fields of a line that are needed.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    status: u16,
    #[serde(borrow)]
    user_agent: Cow<'a, str>,
    #[serde(deserialize_with = "address")]
    remote: IpAddr,
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
    #[serde(borrow, default)]
    pub(super) customer: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) customer_key: Option<Cow<'a, str>>,
}

/// Why a line is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    /// A JSON line of the server's log about something else.
    OtherJson,
    /// A line of an access log in text format.
    TextLog,
    /// Anything else.
    Unreadable,
}

impl<'a> Line<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Skipped> {
        #[derive(Deserialize)]
        struct Target<'a> {
            #[serde(borrow)]
            target: Cow<'a, str>,
        }
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        match serde_json::from_slice::<Target<'_>>(bytes) {
            Ok(found) if found.target == "access" => {
                serde_json::from_slice(bytes).map_err(|_| Skipped::Unreadable)
            }
            Ok(_) => Err(Skipped::OtherJson),
            Err(_) if !bytes.starts_with(b"{") && has(b" access: ") && has(b"method=") => {
                Err(Skipped::TextLog)
            }
            Err(_) => Err(Skipped::Unreadable),
        }
    }

    /// The time of the request, if the line has one.
    pub(super) fn time(&self) -> Option<Utc> {
        self.timestamp.parse().ok()
    }

    /// The request, if it succeeded and names a repository.
    pub(super) fn fetch(&self) -> Option<Fetch<'_>> {
        if !(200..400).contains(&self.status) {
            return None;
        }
        Some(Fetch {
            time: self.time()?,
            client: self.remote,
            user_agent: match &*self.user_agent {
                // The log has `-` for a client without a User-Agent.
                "-" => "",
                agent => agent,
            },
            customer: self.customer.as_deref().unwrap_or_default(),
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

/// Parses an address. It has a port if the client made the connection itself, and none behind a proxy.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<IpAddr, D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    let direct = text.parse::<SocketAddr>().map(|address| address.ip());
    direct.or_else(|_| text.parse()).map_err(|_| de::Error::custom("expected an address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_address_may_have_a_port() {
        let read = |remote: &str| {
            let text = format!(
                r#"{{"timestamp":"2026-11-24T00:00:00Z","target":"access","method":"GET","status":200,"user_agent":"-",
                "remote":"{remote}","vendor":"a","repository":"b","kind":"tags"}}"#
            );
            Line::read(text.as_bytes()).map(|line| line.fetch().unwrap().client.to_string())
        };
        for (remote, client) in
            [("192.0.2.1:5", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("[::1]:5", "::1"), ("::1", "::1")]
        {
            assert_eq!(read(remote).unwrap(), client);
        }
        assert_eq!(read("nobody"), Err(Skipped::Unreadable));
    }
}
