//! Events as CNCF distribution writes them.

use std::time::SystemTime;

use bytes::Bytes;
use raas_types::{Digest, Utc};
use serde::Serialize;

use super::Notification;
use crate::catalog::Manifest;
use crate::fetched::{Countable, CountableRequest, one_tag};

/// The media type of a request with events.
pub(super) const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";

/// A pull. The source, which all events share, is added when they are sent.
#[derive(Debug, Serialize)]
pub(crate) struct PullEvent {
    id: String,
    timestamp: String,
    action: &'static str,
    target: Target,
    request: Request,
    actor: Actor,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    /// A copy of `size`. Receivers written for distribution before 2.1 read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<usize>,
    repository: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

#[derive(Debug, Serialize)]
struct Request {
    id: String,
    addr: String,
    host: String,
    method: &'static str,
    useragent: String,
}

/// The customer that has pulled, by id. Empty for other visitors, as in distribution without authentication.
#[derive(Debug, Serialize)]
struct Actor {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// The server that sends the event.
#[derive(Debug, Serialize)]
pub(super) struct Source {
    addr: String,
    #[serde(rename = "instanceID")]
    instance: String,
}

impl Source {
    pub(super) fn new(addr: String) -> Self {
        Self { addr, instance: id() }
    }
}

impl Notification for PullEvent {
    const NAME: &'static str = "pulls";
    const COUNTERS: [(&'static str, &'static str); 3] = [
        ("raas_notifications_sent_total", "Pulls that the endpoint was notified of."),
        ("raas_notifications_dropped_total", "Pulls whose notification was dropped."),
        ("raas_notifications_failed_total", "Failed attempts to send notifications."),
    ];
}

impl PullEvent {
    pub(crate) fn new(time: SystemTime, request: &CountableRequest, label: &str) -> Self {
        let Countable { fetched, host, user_agent, .. } = &*request.what;
        let manifest = fetched.manifest();
        let repository = fetched.repository.as_str().to_owned();
        let digest = manifest.map(|manifest| manifest.digest);
        let tag = one_tag(label).map(str::to_owned);
        let reference = digest.map(|digest| digest.to_string()).or_else(|| tag.clone());
        let url = host.as_ref().zip(reference).map(|((host, secure), reference)| {
            let scheme = if *secure { "https" } else { "http" };
            format!("{scheme}://{host}/v2/{repository}/manifests/{reference}")
        });
        let size = manifest.map(Manifest::len);
        Self {
            id: id(),
            timestamp: Utc::of(time).to_string(),
            action: "pull",
            target: Target {
                media_type: manifest.map(|manifest| manifest.media_type().to_owned()),
                size,
                digest,
                length: size,
                repository,
                url,
                tag,
            },
            request: Request {
                id: id(),
                addr: request.client.to_string(),
                host: host.as_ref().map(|(host, _)| host.to_string()).unwrap_or_default(),
                method: "GET",
                useragent: user_agent.as_deref().unwrap_or_default().to_owned(),
            },
            actor: Actor { name: fetched.key.as_ref().map(|key| key.customer.to_string()) },
        }
    }
}

/// The body of a request: the events, each with its source.
pub(super) fn envelope<E: Notification>(events: &[E], source: &Source) -> Bytes {
    #[derive(Serialize)]
    struct Sourced<'a, E> {
        #[serde(flatten)]
        event: &'a E,
        source: &'a Source,
    }
    #[derive(Serialize)]
    struct Envelope<'a, E> {
        events: Vec<Sourced<'a, E>>,
    }
    let events = events.iter().map(|event| Sourced { event, source }).collect();
    serde_json::to_vec(&Envelope { events }).expect("events have text keys only").into()
}

/// A random UUID (version 4).
fn id() -> String {
    let random = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{random:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids() {
        let id = id();
        assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'));
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
}
