//! The differences between two publications.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::tree;
use raas_types::{Digest, RepositoryName, Tag, Utc};

use crate::access;
use crate::published::{self, Repository};
use crate::record::Record;
use raas_base::failure::Failure;
use raas_git::{CommitId, Reader};

/// The differences between two publications.
#[derive(Debug)]
pub struct Difference {
    /// The earlier commit; `None` compares with an empty registry.
    pub from: Option<String>,
    /// The later commit.
    pub to: String,
    /// The repositories that differ.
    pub repositories: BTreeMap<RepositoryName, RepositoryChange>,
    /// The customers that differ.
    pub customers: BTreeMap<String, SettingChange>,
    /// How the patterns of new repositories that are protected from the start differ.
    pub protected_patterns: BTreeMap<String, SettingChange>,
}

/// How a setting changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingChange {
    /// It is new.
    Added,
    /// It has another content.
    Changed,
    /// It is gone.
    Removed,
}

/// The differences in a repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RepositoryChange {
    /// The tags that differ.
    pub tags: BTreeMap<Tag, TagChange>,
    /// Whether only users and customers may see the repository now, if that has changed.
    pub protected: Option<bool>,
    /// The tags whose deprecation differs.
    pub deprecated: BTreeMap<Tag, DeprecationChange>,
    /// Layers that a tag leads to now and no tag led to before, with the size of each in bytes.
    pub layers_added: BTreeMap<Digest, u64>,
    /// Layers that a tag led to before and no tag leads to now, with the size of each in bytes.
    pub layers_removed: BTreeMap<Digest, u64>,
}

/// How a tag changed.
#[derive(Debug, PartialEq, Eq)]
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

/// How the deprecation of a tag changed.
#[derive(Debug, PartialEq, Eq)]
pub enum DeprecationChange {
    /// The tag is deprecated, or its clients are told something else.
    Deprecated {
        /// The tag to use.
        r#use: Tag,
        /// The day until which the deprecated tag is supported.
        until: Option<Utc>,
    },
    /// The tag is no longer deprecated, or it is gone.
    Undeprecated,
}

/// Compares two publications. Without `from`, compares with an empty registry. With `only`, compares that repository alone.
pub fn between(
    record: &Record,
    from: Option<&CommitId>,
    to: &CommitId,
    only: Option<&RepositoryName>,
) -> Result<Difference, Failure> {
    let reader = |commit: &CommitId| record.reader(commit);
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
            deprecated: deprecation_changes(old, new),
            layers_added: without(&has, &had),
            layers_removed: without(&had, &has),
        };
        if change != RepositoryChange::default() {
            repositories.insert(name.clone(), change);
        }
    }
    let mut difference = Difference {
        from: from.map(ToString::to_string),
        to: to.to_string(),
        repositories,
        customers: BTreeMap::new(),
        protected_patterns: BTreeMap::new(),
    };
    if only.is_none() {
        difference.customers = setting_changes(&customers(earlier.as_ref())?, &customers(Some(&later))?);
        let (old, new) = (protected_patterns(record, from)?, protected_patterns(record, Some(to))?);
        difference.protected_patterns = setting_changes(&old, &new);
    }
    Ok(difference)
}

/// The files of the customers by name.
fn customers(reader: Option<&Reader<'_>>) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let Some(reader) = reader else { return Ok(BTreeMap::new()) };
    let mut customers = BTreeMap::new();
    for path in reader.paths(tree::CUSTOMERS)? {
        let name = path.strip_prefix(tree::CUSTOMERS).unwrap_or(&path).to_owned();
        customers.insert(name, reader.read(&path)?.unwrap_or_default());
    }
    Ok(customers)
}

/// The patterns of new repositories that are protected from their first publication on.
///
/// # Errors
/// The file of the patterns cannot be read. A comparison must not call the patterns removed then.
fn protected_patterns(
    record: &Record,
    commit: Option<&CommitId>,
) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let file = access::patterns(record, commit)?;
    Ok(file.patterns.iter().map(|pattern| (pattern.to_string(), Vec::new())).collect())
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

fn deprecation_changes(
    old: Option<&Repository>,
    new: Option<&Repository>,
) -> BTreeMap<Tag, DeprecationChange> {
    let of = |repository: Option<&Repository>| -> BTreeMap<Tag, (Tag, Option<Utc>)> {
        let v2 = repository.and_then(|repository| repository.v2.as_ref());
        let deprecated = v2.into_iter().flat_map(|v2| &v2.deprecated);
        deprecated.map(|(tag, entry)| (tag.clone(), (entry.r#use.clone(), entry.until))).collect()
    };
    let (old, new) = (of(old), of(new));
    let all: BTreeSet<&Tag> = old.keys().chain(new.keys()).collect();
    let change = |tag: &Tag| match (old.get(tag), new.get(tag)) {
        (old, new) if old == new => None,
        (_, Some((to, until))) => Some(DeprecationChange::Deprecated { r#use: to.clone(), until: *until }),
        (_, None) => Some(DeprecationChange::Undeprecated),
    };
    all.into_iter().filter_map(|tag| Some((tag.clone(), change(tag)?))).collect()
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
