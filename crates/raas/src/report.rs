//! What the JSON of several commands has in common. docs/json/README.md has the meaning of each name.

use std::collections::BTreeMap;

use raas_base::failure::Failure;
use raas_publish::difference::{DeprecationChange, RepositoryChange, TagChange};
use raas_types::{Digest, Tag, Utc};
use serde::{Serialize, Serializer};

use crate::traces;

/// A publication that the command has made, or that was made already.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Published {
    pub(crate) commit: String,
    /// Whether the command made the commit.
    pub(crate) changed: bool,
    /// Whether the registry serves the commit, or a server of this home if no address of the registry is known.
    pub(crate) served: bool,
    /// Whether the configuration repository has the backup.
    pub(crate) backed_up: bool,
}

impl Published {
    /// Says it in the trace, too.
    pub(crate) fn traced(self) -> Self {
        traces::set("raas.commit", self.commit.as_str());
        traces::set("raas.changed", self.changed);
        traces::set("raas.served", self.served);
        traces::set("raas.backed_up", self.backed_up);
        self
    }

    /// The line for people.
    pub(crate) fn line(&self) -> String {
        let published = if self.changed { "Published" } else { "Nothing changed: it is published already," };
        format!("{published} as commit {}", &self.commit[..12])
    }
}

/// A tag and its manifest.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TagReport<D> {
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) tag: Tag,
    pub(crate) digest: D,
}

/// An object in the storage, or a layer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LayerReport {
    #[cfg_attr(test, schemars(with = "String"))]
    digest: Digest,
    size: u64,
}

/// The failure of a command, or of a part of its work.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureReport {
    /// What failed, and on what.
    message: String,
    /// Why, the nearest cause first.
    causes: Vec<String>,
    /// What to do, the first thing to try first. Each begins with a verb.
    hints: Vec<String>,
    exit_code: u8,
}

impl From<&Failure> for FailureReport {
    fn from(failure: &Failure) -> Self {
        Self {
            message: failure.message().to_owned(),
            causes: failure.causes(),
            hints: failure.hints().to_vec(),
            exit_code: failure.kind().exit_code(),
        }
    }
}

impl FailureReport {
    /// A wrong command line, as clap describes it: what is wrong first, then the usage, which is a hint.
    pub(crate) fn usage(text: &str, hint: Option<String>, exit_code: u8) -> Self {
        let text = text.trim().trim_start_matches("error: ");
        let (message, usage) = text.split_once("\n\n").unwrap_or((text, ""));
        let usage = usage.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).map(as_hint);
        Self {
            message: message.to_owned(),
            causes: Vec::new(),
            hints: hint.into_iter().chain(usage).collect(),
            exit_code,
        }
    }
}

/// A paragraph below clap's message, as a hint that begins with a verb.
fn as_hint(text: &str) -> String {
    match text.split_once(": ") {
        Some(("tip", tip)) => format!("note that {tip}"),
        Some(("Usage", usage)) => format!("run {usage}"),
        _ if text.starts_with("For more information") => "run the command with --help".to_owned(),
        _ => text.to_owned(),
    }
}

/// The differences in a repository.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChangeReport {
    tag_changes: Vec<TagChangeReport>,
    /// Whether only users and customers may see the repository now. `null` if that has not changed.
    protected: Option<bool>,
    deprecation_changes: Vec<DeprecationChangeReport>,
    /// Layers that a tag leads to now and no tag led to before.
    added_layers: Vec<LayerReport>,
    /// Layers that a tag led to before and no tag leads to now.
    removed_layers: Vec<LayerReport>,
}

/// How a tag changed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct TagChangeReport {
    #[cfg_attr(test, schemars(with = "String"))]
    tag: Tag,
    /// `added`, `moved` or `removed`.
    change: &'static str,
    /// The digest before. `null` for a new tag.
    from: Option<String>,
    /// The digest now. `null` for a removed tag.
    to: Option<String>,
}

/// How the deprecation of a tag changed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DeprecationChangeReport {
    #[cfg_attr(test, schemars(with = "String"))]
    tag: Tag,
    /// `deprecated`, also if clients are told something else now, or `undeprecated`.
    change: &'static str,
    /// The tag to use instead.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    r#use: Option<Tag>,
    /// The time until which the deprecated tag is supported. `null` if there is none.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    until: Option<Utc>,
}

impl From<&RepositoryChange> for ChangeReport {
    fn from(change: &RepositoryChange) -> Self {
        Self {
            tag_changes: change.tags.iter().map(TagChangeReport::from).collect(),
            protected: change.protected,
            deprecation_changes: change.deprecated.iter().map(DeprecationChangeReport::from).collect(),
            added_layers: layers(&change.layers_added),
            removed_layers: layers(&change.layers_removed),
        }
    }
}

impl From<(&Tag, &TagChange)> for TagChangeReport {
    fn from((tag, change): (&Tag, &TagChange)) -> Self {
        let (change, from, to) = match change {
            TagChange::Added { to } => ("added", None, Some(to)),
            TagChange::Moved { from, to } => ("moved", Some(from), Some(to)),
            TagChange::Removed { from } => ("removed", Some(from), None),
        };
        Self { tag: tag.clone(), change, from: from.cloned(), to: to.cloned() }
    }
}

impl From<(&Tag, &DeprecationChange)> for DeprecationChangeReport {
    fn from((tag, change): (&Tag, &DeprecationChange)) -> Self {
        let tag = tag.clone();
        match change {
            DeprecationChange::Deprecated { r#use, until } => {
                Self { tag, change: "deprecated", r#use: Some(r#use.clone()), until: *until }
            }
            DeprecationChange::Undeprecated => Self { tag, change: "undeprecated", r#use: None, until: None },
        }
    }
}

fn layers(layers: &BTreeMap<Digest, u64>) -> Vec<LayerReport> {
    layers.iter().map(|(digest, size)| LayerReport { digest: *digest, size: *size }).collect()
}

/// Tags as a list, with their manifests.
pub(crate) fn tags<S: Serializer, D: Serialize>(tags: &BTreeMap<Tag, D>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(tags.iter().map(|(tag, digest)| TagReport { tag: tag.clone(), digest }))
}

/// The changes of a repository, which the commands also print for people.
pub(crate) fn changes<S: Serializer>(change: &RepositoryChange, to: S) -> Result<S::Ok, S::Error> {
    ChangeReport::from(change).serialize(to)
}
