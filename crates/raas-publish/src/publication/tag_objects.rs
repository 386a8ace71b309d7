//! The objects of a bucket that are named by tag: each tag's manifest and the list of tags, for a legacy Crane and
//! whoever reads the bucket by itself.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::tree;
use raas_types::{ObjectKey, Reference, RepositoryName, Tag};
use serde::Serialize;

use super::{Current, Tell};
use crate::held::Held;
use crate::record::Record;
use crate::storage::Storage;
use raas_base::failure::Failure;
use raas_git::CommitId;

/// `tags/list` as a registry answers it.
#[derive(Serialize)]
struct TagsList<'a> {
    name: &'a RepositoryName,
    tags: Vec<&'a Tag>,
}

/// Makes them what the commit says, and removes those of tags that are gone. There may be thousands: `keep` is asked
/// before each.
pub(super) fn update(
    storage: &dyn Storage,
    held: &Held<'_>,
    record: &Record,
    commit: &CommitId,
    tell: Tell<'_>,
    keep: &mut dyn FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let name = held.repository();
    let expected = expected(record, commit, name, &mut |key, bytes| {
        keep()?;
        let written = held.put(key, bytes)?;
        tell(key, bytes.len() as u64, written);
        Ok(())
    })?;
    surplus(held, &expected).iter().try_for_each(|key| storage.delete_key(key))?;
    Ok(())
}

/// Whether they are what the commit says.
pub(super) fn are_whole(held: &Held<'_>, record: &Record, commit: &CommitId) -> Result<bool, Failure> {
    let mut whole = true;
    let expected = expected(record, commit, held.repository(), &mut |key, bytes| {
        whole = whole && held.holds(key, bytes)?;
        Ok(())
    })?;
    Ok(whole && surplus(held, &expected).is_empty())
}

/// Takes an object's key and its content.
type Each<'a> = &'a mut dyn FnMut(&ObjectKey, &[u8]) -> Result<(), Failure>;

/// Names each object that should be there, with its content; gives their keys.
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
    let list = TagsList { name, tags: v2.tags.keys().collect() };
    let list = serde_json::to_vec(&list).expect("names are text");
    let list_key = ObjectKey::TagsList(name.clone());
    expected.insert(list_key.to_string());
    each(&list_key, &list)?;
    Ok(expected)
}

/// The keys of those that should not be there.
fn surplus(held: &Held<'_>, expected: &BTreeSet<String>) -> Vec<String> {
    let name = held.repository();
    let list = ObjectKey::TagsList(name.clone()).to_string();
    let mut surplus = held.keys(&list);
    for folder in [false, true].map(|index| ObjectKey::manifests_prefix(name, index)) {
        let named_by_tag =
            |key: &String| key.strip_prefix(&folder).is_some_and(|name| name.parse::<Tag>().is_ok());
        surplus.extend(held.keys(&folder).into_iter().filter(named_by_tag));
    }
    surplus.retain(|key| !expected.contains(key));
    surplus
}
