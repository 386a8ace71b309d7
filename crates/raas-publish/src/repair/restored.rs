//! The files of a publication whose commit is lost: from its tree, from the parts in the bucket, from the checkout, or from the
//! backup of the documents.

use std::collections::BTreeMap;
use std::fs;

use raas_types::crane::{Content, Document, tree};
use raas_types::{Digest, ObjectKey, Reference};

use super::Files;
use super::salvage::{Salvage, read_small};
use crate::reading::Reading;
use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;
use raas_git::{Change, CommitId};

/// The message of the commit with the files.
pub(super) const MESSAGE: &str =
    "Restore the last publication\n\nIts commit was damaged. The files are as servers had them.\n";

/// The files of the publication `commit`, by the first source that has all of them.
pub(super) fn files(
    registry: &Registry<'_>,
    salvage: &Salvage,
    commit: Option<&CommitId>,
    backup: &dyn Fn() -> Result<Files, Failure>,
) -> Result<Option<Files>, Failure> {
    if let Some(commit) = commit
        && let Some(files) = of_tree(salvage.record(), commit)
    {
        return Ok(Some(files));
    }
    // The pointer has the digest of each part. A checkout has no list of its documents, so one may be missing there.
    if let Some(files) = of_parts(registry, commit)? {
        return Ok(Some(files));
    }
    if let Some(files) = of_checkout(registry, commit)? {
        return Ok(Some(files));
    }
    from_backup(registry, backup()?)
}

/// The files of a commit, if none of them is lost.
fn of_tree(record: &Record, commit: &CommitId) -> Option<Files> {
    let listing = record.files(commit, "").ok()?;
    let mut files = Files::new();
    let read = record.read_each(&listing, |file, bytes| {
        files.insert(file.path.clone(), bytes);
        Ok(())
    });
    read.ok().map(|()| files)
}

/// The files of the checkout, if it has the commit, and all manifests that its documents name.
fn of_checkout(registry: &Registry<'_>, commit: Option<&CommitId>) -> Result<Option<Files>, Failure> {
    let checkout = registry.vendor.checkout();
    match checkout.revision() {
        Reading::There(revision)
            if commit.is_none_or(|commit| *commit == revision) && checkout.is_finished() => {}
        Reading::There(_) | Reading::Absent | Reading::Unreadable(_) => return Ok(None),
    }
    let root = checkout.folder().to_owned();
    let cannot = || format!("cannot read {}", root.display());
    let mut paths = Vec::new();
    files::walk(&root, tree::DATA, &mut |path, _| paths.push(path.to_owned())).context(cannot)?;
    let mut found = Files::new();
    for path in paths {
        let bytes = fs::read(root.join(&path)).context(cannot)?;
        found.insert(path, bytes);
    }
    // A checkout without files has lost them.
    Ok((!found.is_empty() && is_whole(&found)).then_some(found))
}

/// The files of the parts in the bucket, if its pointer names the commit.
fn of_parts(registry: &Registry<'_>, commit: Option<&CommitId>) -> Result<Option<Files>, Failure> {
    let Some(storage) = registry.shared_storage() else { return Ok(None) };
    let Reading::There(pointer) = snapshot::read_pointer(storage)? else { return Ok(None) };
    if commit.is_some_and(|commit| commit.as_str() != pointer.revision) {
        return Ok(None);
    }
    Ok(snapshot::read_parts(storage, &pointer)?.filter(is_whole))
}

/// Whether the manifests that the documents name are among the files.
fn is_whole(files: &Files) -> bool {
    manifests(files).is_some_and(|manifests| {
        manifests
            .iter()
            .all(|(path, (digest, _))| files.get(path).is_some_and(|bytes| Digest::of(bytes) == *digest))
    })
}

/// The documents of a backup, with their manifests from the bucket. `None` if the backup has no documents.
///
/// # Errors
/// The bucket lacks a manifest, or a document does not parse.
pub(super) fn from_backup(registry: &Registry<'_>, backup: Files) -> Result<Option<Files>, Failure> {
    if backup.is_empty() {
        return Ok(None);
    }
    let storage = registry.storage;
    let failed = |what: String| {
        Failure::new(
            Kind::Environment,
            format!("the backup in the configuration repository is no help: {what}"),
        )
        .hint("push the image again after the repair, or restore the home from a backup; nothing was changed")
    };
    let manifests = manifests(&backup).ok_or_else(|| failed("a document does not parse".to_owned()))?;
    let mut files = backup;
    for (path, (digest, keys)) in manifests {
        let mut bytes = None;
        for key in keys {
            bytes = bytes.or(read_small(storage, &key)?.filter(|bytes| Digest::of(bytes) == digest));
        }
        let bytes =
            bytes.ok_or_else(|| failed(format!("{} lacks manifest {digest}", storage.display_name())))?;
        files.insert(path, bytes);
    }
    Ok(Some(files))
}

/// The manifests that documents name, by path, each with its digest and its key in the bucket. `None` if a document does not
/// parse.
fn manifests(files: &Files) -> Option<BTreeMap<String, (Digest, Vec<ObjectKey>)>> {
    let mut manifests = BTreeMap::new();
    for (_, bytes) in files.iter().filter(|(path, _)| path.ends_with(".json")) {
        let document = Document::parse(bytes).ok()?;
        let Content::V2(v2) = &document.content else { continue };
        for (digest, entry) in v2.raas.iter().flat_map(|raas| &raas.manifests) {
            let key = ObjectKey::manifest(&document.name, Reference::Digest(*digest), &entry.media_type);
            manifests.insert(tree::manifest(&document.name, digest), (*digest, vec![key]));
        }
    }
    Some(manifests)
}

/// The changes that make a commit have exactly these files.
pub(super) fn changes(
    record: &Record,
    base: Option<&CommitId>,
    files: Files,
) -> Result<Vec<Change>, Failure> {
    let mut before = Files::new();
    if let Some(base) = base {
        record.read_each(&record.files(base, "")?, |file, bytes| {
            before.insert(file.path.clone(), bytes);
            Ok(())
        })?;
    }
    let gone = before.keys().filter(|path| !files.contains_key(*path)).map(|path| (path.clone(), None));
    let mut changes: Vec<Change> = gone.collect();
    let new = files.into_iter().filter(|(path, bytes)| before.get(path) != Some(bytes));
    changes.extend(new.map(|(path, bytes)| (path, Some(bytes))));
    Ok(changes)
}
