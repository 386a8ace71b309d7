//! The objects of a bucket that are named by tag: each tag's manifest and the list of tags, for a legacy Crane and
//! whoever reads the bucket by itself.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::tree;
use raas_types::{ObjectKey, Reference, RepositoryName, Tag};
use serde::Serialize;

use super::{Current, Tell};
use crate::failure::Failure;
use crate::held::Held;
use crate::record::{CommitId, Record};
use crate::storage::Storage;

/// `tags/list` as a registry answers it.
#[derive(Serialize)]
struct TagsList<'a> {
    name: &'a RepositoryName,
    tags: Vec<&'a Tag>,
}

/// Makes them what the commit says, and removes those of tags that are gone.
pub(super) fn update(
    storage: &dyn Storage,
    held: &Held<'_>,
    record: &Record,
    commit: &CommitId,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    let name = held.repository();
    let v2 = Current::read(record, commit, name)?.v2;
    let list_key = ObjectKey::TagsList(name.clone());
    let mut expected = BTreeSet::new();
    if let Some(v2) = &v2 {
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
            for key in by_path.get(&file.path).into_iter().flatten() {
                let written = held.put(key, &bytes)?;
                tell(key, bytes.len() as u64, written);
            }
            Ok(())
        })?;
        let list = TagsList { name, tags: v2.tags.keys().collect() };
        let list = serde_json::to_vec(&list).expect("names are text");
        let written = held.put(&list_key, &list)?;
        tell(&list_key, list.len() as u64, written);
    } else {
        storage.delete(&list_key)?;
    }
    for index in [false, true] {
        let folder = ObjectKey::manifests_prefix(name, index);
        for key in held.keys(&folder).iter().filter(|key| !expected.contains(*key)) {
            if key.strip_prefix(&folder).is_some_and(|name| name.parse::<Tag>().is_ok()) {
                storage.delete_key(key)?;
            }
        }
    }
    Ok(())
}
