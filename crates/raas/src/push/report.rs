//! What a push did, for people and for scripts.

use std::collections::BTreeMap;
use std::fmt::Display;

use raas_image::Archive;
use raas_types::{Digest, Tag};
use serde::Serialize;

use super::Options;

/// What a push did, or with `--dry-run` would do.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// What the image came from.
    pub(crate) source: Source,
    /// The repository's name, as people pull it.
    pub(crate) repository: String,
    /// What to give to `docker pull`.
    pub(crate) reference: String,
    /// The tags of this push and their manifests; a dry run does not know the manifests that would be made.
    pub(crate) tags: BTreeMap<Tag, Option<Digest>>,
    /// The tags that `--prune` removed, or would remove.
    pub(crate) removed_tags: Vec<Tag>,
    /// Objects written to the bucket. A dry run counts layers and configs; what is made of them comes on top.
    pub(crate) stored: Counted,
    /// Objects that were there already.
    pub(crate) present: Counted,
    /// Layers that stay where they are served from.
    pub(crate) masked: Vec<Masked>,
    /// Requests to the service that keeps the bucket, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<u64>,
    /// The commit that holds the publication.
    pub(crate) commit: Option<String>,
    /// Whether this push made that commit.
    pub(crate) changed: bool,
    /// Whether a server was seen to serve it.
    pub(crate) served: bool,
    /// Whether the configuration repository keeps it too.
    pub(crate) backed_up: bool,
    /// Whether nothing was done on purpose.
    pub(crate) dry_run: bool,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
}

/// The source, as it was recognised.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Source {
    /// The path or address.
    pub(crate) name: String,
    /// The format in one word.
    pub(crate) kind: &'static str,
    /// The repository's name in it.
    pub(crate) repository: Option<String>,
}

/// A number of objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    /// How many.
    pub(crate) objects: u64,
    /// How long, together.
    pub(crate) bytes: u64,
}

impl Counted {
    pub(super) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// A layer that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Masked {
    /// Its image id or digest.
    pub(crate) layer: String,
    /// Where it is served from.
    pub(crate) location: String,
}

impl Masked {
    pub(super) fn new(layer: impl Display, location: &str) -> Self {
        Self { layer: layer.to_string(), location: location.to_owned() }
    }
}

impl Report {
    pub(super) fn new(archive: &Archive, repository: Option<String>, options: &Options) -> Self {
        Self {
            source: Source { name: archive.what().to_owned(), kind: archive.kind().word(), repository },
            repository: options.image.name.to_string(),
            reference: String::new(),
            tags: BTreeMap::new(),
            removed_tags: Vec::new(),
            stored: Counted::default(),
            present: Counted::default(),
            masked: Vec::new(),
            requests: None,
            commit: None,
            changed: false,
            served: false,
            backed_up: false,
            dry_run: options.dry_run,
            seconds: 0.0,
        }
    }

    /// The tag that the pull command names: the one asked for, `latest`, or the last in order.
    pub(super) fn main_tag(&self, asked: Option<&Tag>) -> Option<Tag> {
        let latest = self.tags.keys().find(|tag| tag.as_str() == "latest");
        asked.or(latest).or_else(|| self.tags.keys().next_back()).cloned()
    }
}
