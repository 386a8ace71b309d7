//! The differences between two publications.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::access::ProtectedPatterns;
use raas_types::crane::tree;
use raas_types::{Digest, RepositoryName, Tag};
use serde::Serialize;

use crate::published::{self, Repository};
use crate::record::Record;
use raas_base::failure::Failure;
use raas_git::{CommitId, Reader};

/// The differences between two publications.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// The earlier commit; `None` compares with an empty registry.
    pub from: Option<String>,
    /// The later commit.
    pub to: String,
    /// The repositories that differ.
    pub repositories: BTreeMap<RepositoryName, RepositoryChange>,
    /// The customers that differ.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub customers: BTreeMap<String, SettingChange>,
    /// How the patterns of repositories that are born protected differ.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub protected_patterns: BTreeMap<String, SettingChange>,
}

/// How a setting changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SettingChange {
    /// It is new.
    Added,
    /// It has another content.
    Changed,
    /// It is gone.
    Removed,
}

/// The differences in a repository.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepositoryChange {
    /// The tags that differ.
    pub tags: BTreeMap<Tag, TagChange>,
    /// Whether only users and customers may see the repository now, if that has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected: Option<bool>,
    /// Layers that a tag leads to now and no tag led to before, with the size of each in bytes.
    pub layers_added: BTreeMap<Digest, u64>,
    /// Layers that a tag led to before and no tag leads to now, with the size of each in bytes.
    pub layers_removed: BTreeMap<Digest, u64>,
}

/// How a tag changed.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "change")]
pub enum TagChange {
    /// The tag is new.
    Added {
        /// What it leads to.
        to: String,
    },
    /// The tag leads to something else.
    Moved {
        /// What it led to.
        from: String,
        /// What it leads to.
        to: String,
    },
    /// The tag is gone.
    Removed {
        /// What it led to.
        from: String,
    },
}

/// Compares two publications. Without `from`, compares with an empty registry. With `only`, compares that repository alone.
pub fn between(
    record: &Record,
    from: Option<&CommitId>,
    to: &CommitId,
    only: Option<&RepositoryName>,
) -> Result<Difference, Failure> {
    let reader = |commit: &CommitId| record.reader(commit, tree::DATA);
    let (earlier, later) = (from.map(reader).transpose()?, reader(to)?);
    let before = earlier.as_ref().map(published::repositories).transpose()?.unwrap_or_default();
    let after = published::repositories(&later)?;
    let names: BTreeSet<&RepositoryName> = before.keys().chain(after.keys()).collect();
    let mut repositories = BTreeMap::new();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if only.is_some_and(|only| only != name) || old == new {
            continue;
        }
        let layers = |reader: Option<&Reader<'_>>, repository: Option<&Repository>| {
            let (Some(reader), Some(v2)) = (reader, repository.and_then(|found| found.v2.as_ref())) else {
                return Ok(BTreeMap::new());
            };
            let manifests = published::manifests(reader, name, v2)?;
            Ok::<_, Failure>(published::layers(&manifests, v2.tags.iter()))
        };
        let (had, has) = (layers(earlier.as_ref(), old)?, layers(Some(&later), new)?);
        let change = RepositoryChange {
            tags: tag_changes(&tags(old), &tags(new)),
            protected: new
                .map(|new| new.protected)
                .filter(|now| old.is_some_and(|old| old.protected) != *now),
            layers_added: without(&has, &had),
            layers_removed: without(&had, &has),
        };
        if change != RepositoryChange::default() {
            repositories.insert(name.clone(), change);
        }
    }
    let (from, to) = (from.map(ToString::to_string), to.to_string());
    let mut difference = Difference {
        from,
        to,
        repositories,
        customers: BTreeMap::new(),
        protected_patterns: BTreeMap::new(),
    };
    if only.is_none() {
        difference.customers = setting_changes(&customers(earlier.as_ref())?, &customers(Some(&later))?);
        let (old, new) = (protected_patterns(earlier.as_ref())?, protected_patterns(Some(&later))?);
        difference.protected_patterns = setting_changes(&old, &new);
    }
    Ok(difference)
}

/// The files of the customers by name.
fn customers(reader: Option<&Reader<'_>>) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let Some(reader) = reader else { return Ok(BTreeMap::new()) };
    let mut customers = BTreeMap::new();
    for path in reader.paths(tree::CUSTOMERS) {
        let name = path.strip_prefix(tree::CUSTOMERS).unwrap_or(path).to_owned();
        customers.insert(name, reader.read(path)?.unwrap_or_default());
    }
    Ok(customers)
}

/// The patterns of repositories that are born protected. A file that cannot be read has none; `raas status` reports it.
fn protected_patterns(reader: Option<&Reader<'_>>) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let Some(reader) = reader else { return Ok(BTreeMap::new()) };
    let Some(bytes) = reader.read(tree::PROTECTED)? else { return Ok(BTreeMap::new()) };
    let patterns = ProtectedPatterns::parse(&bytes).map(|file| file.patterns).unwrap_or_default();
    Ok(patterns.iter().map(|pattern| (pattern.to_string(), Vec::new())).collect())
}

fn setting_changes(
    old: &BTreeMap<String, Vec<u8>>,
    new: &BTreeMap<String, Vec<u8>>,
) -> BTreeMap<String, SettingChange> {
    let all: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| match (old.get(name), new.get(name)) {
        (None, Some(_)) => Some(SettingChange::Added),
        (Some(_), None) => Some(SettingChange::Removed),
        (old, new) => (old != new).then_some(SettingChange::Changed),
    };
    all.into_iter().filter_map(|name| Some((name.clone(), change(name)?))).collect()
}

fn without(these: &BTreeMap<Digest, u64>, those: &BTreeMap<Digest, u64>) -> BTreeMap<Digest, u64> {
    these.iter().filter(|(digest, _)| !those.contains_key(digest)).map(|(k, v)| (*k, *v)).collect()
}

/// The digest of each tag's manifest. A repository with only Docker v1 content has the ids of its images.
fn tags(repository: Option<&Repository>) -> BTreeMap<Tag, String> {
    let Some(repository) = repository else { return BTreeMap::new() };
    match (&repository.v2, &repository.v1) {
        (Some(v2), _) => v2.tags.iter().map(|(tag, digest)| (tag.clone(), digest.to_string())).collect(),
        (None, Some(v1)) => v1.tags.iter().map(|(tag, id)| (tag.clone(), id.to_string())).collect(),
        (None, None) => BTreeMap::new(),
    }
}

fn tag_changes(old: &BTreeMap<Tag, String>, new: &BTreeMap<Tag, String>) -> BTreeMap<Tag, TagChange> {
    let all: BTreeSet<&Tag> = old.keys().chain(new.keys()).collect();
    let change = |tag: &Tag| match (old.get(tag).cloned(), new.get(tag).cloned()) {
        (None, Some(to)) => Some(TagChange::Added { to }),
        (Some(from), None) => Some(TagChange::Removed { from }),
        (Some(from), Some(to)) if from != to => Some(TagChange::Moved { from, to }),
        _ => None,
    };
    all.into_iter().filter_map(|tag| Some((tag.clone(), change(tag)?))).collect()
}
