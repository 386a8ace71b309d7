//! The report of a push, for people and for scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use raas_types::pulls::Kind;
use raas_types::{Digest, Tag, VendorName, preferred_tag};
use serde::{Serialize, Serializer};

use super::Options;
use super::moved::{MovedTag, MovedTags};
use crate::report;
use crate::traces;

/// What a push did, or with `--dry-run` would do.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) vendor: VendorName,
    /// The repository's name, as people pull it.
    pub(crate) repository: String,
    #[serde(flatten)]
    pub(crate) source: Source,
    /// The address of the registry. `null` if the configuration has none.
    pub(crate) registry: Option<String>,
    /// The argument for `docker pull`.
    pub(crate) reference: String,
    /// The tags of this push, with the digests of their manifests. A dry run knows no digests of manifests that raas
    /// would make.
    #[serde(serialize_with = "report::tags")]
    #[cfg_attr(test, schemars(with = "Vec<report::TagReport<Option<String>>>"))]
    pub(crate) tags: BTreeMap<Tag, Option<Digest>>,
    /// The image to pull if no tag names it.
    #[serde(skip)]
    pub(super) untagged: Option<Digest>,
    /// The published tags that the push gave, or would give, to another manifest.
    #[serde(serialize_with = "moved_tags")]
    #[cfg_attr(test, schemars(with = "Vec<MovedTagReport<'static>>"))]
    pub(crate) moved_tags: MovedTags,
    /// The tags that `--prune` removed, or would remove.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) removed_tags: Vec<Tag>,
    /// Whether only users may see the repository.
    pub(crate) protected: bool,
    /// The manifests with a signature that `require_signature` trusts: in the source, published already, or of this push.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) verified_manifests: BTreeSet<Digest>,
    /// The manifests that `--sign` or `--sign-by` signed now. A signature that is published already is not made again, and
    /// a dry run signs nothing.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) signed_manifests: Vec<Digest>,
    /// Objects written to the bucket. A dry run counts layers and configs only.
    pub(crate) stored: Counted,
    /// Objects that the bucket had already.
    pub(crate) present: Counted,
    /// Layers that are served from elsewhere and not stored.
    #[serde(rename = "masked_layers")]
    pub(crate) masked: Vec<Masked>,
    /// Requests to the storage service. `null` for a folder.
    pub(crate) requests: Option<u64>,
    /// The commit that holds the publication. `null` for a dry run.
    pub(crate) commit: Option<String>,
    /// Whether this push made that commit.
    pub(crate) changed: bool,
    /// Whether a server serves the commit.
    pub(crate) served: bool,
    /// Whether the configuration repository has the backup.
    pub(crate) backed_up: bool,
    /// Whether this is the report of `--dry-run`.
    pub(crate) dry_run: bool,
    /// The duration of the push, in seconds.
    pub(crate) seconds: f64,
}

/// The source of the image.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Source {
    /// The path or address.
    #[serde(rename = "source")]
    pub(crate) name: String,
    /// The format, in one word.
    #[serde(rename = "source_kind")]
    pub(crate) kind: &'static str,
    /// The name of the repository in the source. `null` if it has none.
    #[serde(rename = "source_repository")]
    pub(crate) repository: Option<String>,
}

/// A number of objects, with their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Counted {
    /// The number of objects.
    pub(crate) objects: u64,
    /// The sum of their sizes, in bytes.
    #[serde(rename = "size")]
    pub(crate) bytes: u64,
}

impl Report {
    /// Says in the trace what the push did.
    pub(super) fn trace(&self) {
        traces::set("raas.tags", self.tags.keys().map(ToString::to_string).collect::<Vec<_>>());
        let digests = self.tags.values().flatten().chain(&self.untagged);
        traces::set("raas.digests", digests.map(ToString::to_string).collect::<Vec<_>>());
        for (name, number) in [
            ("raas.stored_objects", self.stored.objects),
            ("raas.stored_bytes", self.stored.bytes),
            ("raas.present_objects", self.present.objects),
            ("raas.present_bytes", self.present.bytes),
            ("raas.masked_layers", self.masked.len() as u64),
        ] {
            traces::set(name, number);
        }
        if let Some(commit) = &self.commit {
            traces::set("raas.commit", commit.as_str());
            traces::set("raas.changed", self.changed);
            traces::set("raas.served", self.served);
            traces::set("raas.backed_up", self.backed_up);
        }
    }
}

impl Counted {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// A masked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Masked {
    /// Its digest, or the id of its Docker v1 image.
    #[serde(rename = "digest")]
    pub(crate) layer: String,
    /// The URL that it is served from.
    pub(crate) location: String,
    /// Whether the layer is there.
    pub(crate) presence: Presence,
    /// Why it is missing. `null` if it is not.
    pub(crate) why: Option<String>,
}

/// Whether a masked layer is at its location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Presence {
    /// The location has the layer.
    There,
    /// The location does not answer, or does not have the layer.
    Missing,
    /// The location was not asked: with `--offline`, or because others took too long.
    NotAsked,
}

/// A published tag that gets another manifest.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct MovedTagReport<'a> {
    #[cfg_attr(test, schemars(with = "String"))]
    tag: &'a Tag,
    #[serde(flatten)]
    moved: &'a MovedTag,
}

fn moved_tags<S: Serializer>(tags: &MovedTags, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(tags.iter().map(|(tag, moved)| MovedTagReport { tag, moved }))
}

impl Masked {
    pub(super) fn new(layer: impl Display, location: &str) -> Self {
        let (layer, location) = (layer.to_string(), location.to_owned());
        Self { layer, location, presence: Presence::NotAsked, why: None }
    }
}

impl Report {
    pub(super) fn new(source: Source, masked: &[Masked], options: &Options) -> Self {
        Self {
            vendor: options.vendor.clone(),
            source,
            repository: options.image.name.to_string(),
            registry: None,
            reference: String::new(),
            tags: BTreeMap::new(),
            untagged: None,
            moved_tags: MovedTags::new(),
            removed_tags: Vec::new(),
            protected: false,
            verified_manifests: BTreeSet::new(),
            signed_manifests: Vec::new(),
            stored: Counted::default(),
            present: Counted::default(),
            masked: masked.to_vec(),
            requests: None,
            commit: None,
            changed: false,
            served: false,
            backed_up: false,
            dry_run: options.dry_run,
            seconds: 0.0,
        }
    }

    /// The manifest of the last tag, for the pull command of a push that has only attachments.
    pub(super) fn last_manifest(&self) -> Option<Digest> {
        self.tags.values().next_back().copied().flatten()
    }

    /// The tag for the pull command: the requested tag, else the one that [`preferred_tag`] takes, as pages do.
    pub(super) fn main_tag(&self, requested: Option<&Tag>) -> Option<Tag> {
        if let Some(requested) = requested.filter(|tag| Kind::of_tag(tag.as_str()).is_none()) {
            return Some(requested.clone());
        }
        // All tags of a push are published at one time.
        let preferred = preferred_tag(self.tags.keys().map(|tag| (tag.as_str(), None)))?;
        self.tags.get_key_value(preferred).map(|(tag, _)| tag.clone())
    }
}
