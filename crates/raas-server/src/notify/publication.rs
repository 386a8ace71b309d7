//! Events of publications: tags that are new, moved, removed or deprecated since the metadata that was served before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use raas_types::{Digest, Tag, Utc};
use serde::Serialize;

use super::{Notification, Notifier};
use crate::catalog::{Catalog, Manifest, Repository};
use crate::site::Snapshot;
use crate::uuid::uuid_of;

/// A change of a tag. The source, which all events share, is added when they are sent.
#[derive(Debug, Serialize)]
pub(crate) struct PublicationEvent {
    /// Every server of a vendor gives the same change the same id, so that a receiver recognises a repeated event.
    id: String,
    timestamp: String,
    /// `push` and `delete` as in distribution, `deprecate` and `undeprecate`.
    action: &'static str,
    target: Target,
    /// The vendor of the registry.
    vendor: String,
    /// The commit of the publication.
    commit: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    media_type: String,
    size: usize,
    digest: Digest,
    /// A copy of `size`. Receivers written for distribution before 2.1 read it.
    length: usize,
    repository: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    tag: String,
    /// What clients of a deprecated tag are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

impl Notification for PublicationEvent {
    const NAME: &'static str = "publications";
    const COUNTERS: [(&'static str, &'static str); 3] = [
        ("raas_publication_notifications_sent_total", "Changes of tags that the endpoint was notified of."),
        ("raas_publication_notifications_dropped_total", "Changes of tags whose notification was dropped."),
        (
            "raas_publication_notifications_failed_total",
            "Failed attempts to send notifications of publications.",
        ),
    ];
}

/// Queues the events between two snapshots. A site that was not loaded before has no events: its tags are not new.
///
/// `is_secure` says whether clients use TLS, for the URLs of events.
pub(crate) fn announce(
    before: &Snapshot,
    after: &Snapshot,
    is_secure: bool,
    notifier: &Notifier<PublicationEvent>,
) {
    let mut hosts: HashMap<usize, String> = HashMap::new();
    for (host, site) in &after.hosts {
        let host = host.to_string();
        let first = hosts.entry(*site).or_insert_with(|| host.clone());
        // If a site has several hosts, every server takes the first by name.
        if host < *first {
            *first = host;
        }
    }
    for (at, site) in after.sites.iter().enumerate() {
        let old =
            before.sites.iter().find(|old| old.vendor == site.vendor).and_then(|old| old.catalog.as_ref());
        let (Some(old), Some(new)) = (old, &site.catalog) else { continue };
        if Arc::ptr_eq(old, new) {
            continue;
        }
        let base = hosts.get(&at).map(|host| format!("http{}://{host}", if is_secure { "s" } else { "" }));
        Announcement { vendor: site.vendor.as_str(), base, time: SystemTime::now(), notifier }
            .between(old.whole(), new.whole());
    }
}

struct Announcement<'a> {
    vendor: &'a str,
    /// The URL of the registry, if it has a host of its own.
    base: Option<String>,
    time: SystemTime,
    notifier: &'a Notifier<PublicationEvent>,
}

impl Announcement<'_> {
    fn between(&self, old: &Catalog, new: &Catalog) {
        let commit = String::from_utf8_lossy(&new.revision);
        for (name, repository) in &new.repositories {
            match old.repositories.get(name) {
                Some(before) if Arc::ptr_eq(before, repository) => {}
                before => self.compare(before.map(AsRef::as_ref), Some(repository), &commit),
            }
        }
        let removed = old.repositories.iter().filter(|(name, _)| !new.repositories.contains_key(*name));
        removed.for_each(|(_, repository)| self.compare(Some(repository), None, &commit));
    }

    fn compare(&self, old: Option<&Repository>, new: Option<&Repository>, commit: &str) {
        let warning = |repository: &Repository, tag: &Tag| {
            let deprecated = repository.notes.deprecated(repository.number_of(tag.as_str())?)?;
            Some(deprecated.sentence().to_owned())
        };
        for tag in new.into_iter().flat_map(|new| new.tags_after(None)) {
            let Some((repository, manifest)) = new.and_then(|new| Some((new, new.tag(tag.as_str())?))) else {
                continue;
            };
            let before = old.and_then(|old| old.tag(tag.as_str()));
            if before.is_none_or(|before| before.digest != manifest.digest) {
                self.send("push", repository, tag, manifest, None, commit);
            }
            let (was, is) = (old.and_then(|old| warning(old, tag)), warning(repository, tag));
            match is {
                _ if was == is => {}
                Some(_) => self.send("deprecate", repository, tag, manifest, is, commit),
                None => self.send("undeprecate", repository, tag, manifest, None, commit),
            }
        }
        for tag in old.into_iter().flat_map(|old| old.tags_after(None)) {
            if new.is_none_or(|new| new.tag(tag.as_str()).is_none())
                && let Some((old, manifest)) = old.and_then(|old| Some((old, old.tag(tag.as_str())?)))
            {
                self.send("delete", old, tag, manifest, None, commit);
            }
        }
    }

    fn send(
        &self,
        action: &'static str,
        repository: &Repository,
        tag: &Tag,
        manifest: &Manifest,
        warning: Option<String>,
        commit: &str,
    ) {
        let (name, digest) = (repository.name.as_str(), manifest.digest);
        let published = repository.number_of(tag.as_str()).and_then(|tag| repository.notes.published(tag));
        // A server may see two publications as one change, so the commit does not tell when the tag was published.
        let published = published.filter(|_| action == "push");
        let moment = published.map_or_else(|| commit.to_owned(), |time| time.to_string());
        let id = [action, self.vendor, name, tag.as_str(), &digest.to_string(), &moment];
        self.notifier.send(PublicationEvent {
            id: uuid_of(&id),
            timestamp: published.unwrap_or(Utc::of(self.time)).to_string(),
            action,
            target: Target {
                media_type: manifest.media_type().to_owned(),
                size: manifest.len(),
                digest,
                length: manifest.len(),
                repository: name.to_owned(),
                url: self.base.as_ref().map(|base| format!("{base}/v2/{name}/manifests/{digest}")),
                tag: tag.to_string(),
                warning,
            },
            vendor: self.vendor.to_owned(),
            commit: commit.to_owned(),
        });
    }
}
