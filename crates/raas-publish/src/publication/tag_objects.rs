//! The objects whose content changes under one name: the manifest of each tag, the list of tags, and the signatures of
//! manifests. raas's own servers do not read them. They are for a legacy Crane, for programs that read Pulp's layout from the
//! bucket, and for clients that take the bucket for a lookaside storage.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::tree;
use raas_types::{ObjectKey, Reference, RepositoryName, Tag};

use super::{Current, OnObject};
use crate::inventory;
use crate::record::Record;
use crate::repository_listing::RepositoryListing;
use crate::storage::Storage;
use raas_base::failure::Failure;
use raas_git::CommitId;

/// The objects named by tag of one repository, as a commit has them.
pub(super) struct TagObjects<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) listing: &'a RepositoryListing<'a>,
    pub(super) record: &'a Record,
    pub(super) commit: &'a CommitId,
}

impl TagObjects<'_> {
    /// Stores the objects as the commit has them, and removes the objects of tags that are gone. A repository may have
    /// thousands of tags, so `renew` is called before each object.
    pub(super) fn update(
        &self,
        on_object: OnObject<'_>,
        renew: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { storage, listing, record, commit } = *self;
        let expected = expected(record, commit, listing.repository(), &mut |key, bytes| {
            renew()?;
            let written = listing.put(key, bytes)?;
            on_object(key, bytes.len() as u64, written);
            Ok(())
        })?;
        surplus(listing, &expected).iter().try_for_each(|key| storage.delete_key(key))?;
        Ok(())
    }

    /// Whether the objects are as the commit has them.
    pub(super) fn are_whole(&self) -> Result<bool, Failure> {
        let Self { listing, record, commit, .. } = *self;
        let mut whole = true;
        let expected = expected(record, commit, listing.repository(), &mut |key, bytes| {
            whole = whole && listing.has_content(key, bytes)?;
            Ok(())
        })?;
        Ok(whole && surplus(listing, &expected).is_empty())
    }
}

/// Takes an object's key and its content.
type Each<'a> = &'a mut dyn FnMut(&ObjectKey, &[u8]) -> Result<(), Failure>;

/// Calls `each` for every object that should be there; returns the keys of all.
fn expected(
    record: &Record,
    commit: &CommitId,
    name: &RepositoryName,
    each: Each<'_>,
) -> Result<BTreeSet<String>, Failure> {
    let mut expected = BTreeSet::new();
    let Some(v2) = Current::read(record, commit, name)?.v2 else { return Ok(expected) };
    let mut by_path: BTreeMap<String, Vec<ObjectKey>> = BTreeMap::new();
    for (tag, digest) in &v2.tags {
        let Some(entry) = v2.manifests.get(digest) else { continue };
        let key = ObjectKey::manifest(name, Reference::Tag(tag.clone()), &entry.media_type);
        expected.insert(key.to_string());
        by_path.entry(tree::manifest(name, digest)).or_default().push(key);
    }
    let mut files = record.files(commit, &tree::manifests(name))?;
    files.retain(|file| by_path.contains_key(&file.path));
    record.read_each(&files, |file, bytes| {
        by_path.get(&file.path).into_iter().flatten().try_for_each(|key| each(key, &bytes))
    })?;
    for (key, bytes) in inventory::signatures(name, &v2) {
        expected.insert(key.to_string());
        each(&key, &bytes)?;
    }
    let list = inventory::tags_list(name, v2.tags.keys());
    let list_key = ObjectKey::TagsList(name.clone());
    expected.insert(list_key.to_string());
    each(&list_key, &list)?;
    Ok(expected)
}

/// The keys of objects that should not be there.
fn surplus(listing: &RepositoryListing<'_>, expected: &BTreeSet<String>) -> Vec<String> {
    let name = listing.repository();
    let list = ObjectKey::TagsList(name.clone()).to_string();
    let mut surplus = listing.keys(&list);
    for folder in [false, true].map(|index| ObjectKey::manifests_prefix(name, index)) {
        let named_by_tag =
            |key: &String| key.strip_prefix(&folder).is_some_and(|name| name.parse::<Tag>().is_ok());
        surplus.extend(listing.keys(&folder).into_iter().filter(named_by_tag));
    }
    surplus.extend(listing.keys(&ObjectKey::signatures_prefix(name)));
    surplus.retain(|key| !expected.contains(key));
    surplus
}
