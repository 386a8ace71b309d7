//! Deep checks of the metadata: every byte of the record, and of the pointer, the parts and the history in the bucket.

use std::fs;
use std::io;

use raas_base::failure::Failure;
use raas_base::parallel;
use raas_git::CommitId;
use raas_types::{Digest, ObjectKey, Pointer, Sha256, Utc};

use crate::home::Vendor;
use crate::reading::Reading;
use crate::registry::Registry;
use crate::snapshot;
use crate::storage::{Storage, StorageError};

/// What is wrong with the record in this home, a line each. Reads all of it.
///
/// # Errors
/// git cannot be run.
pub fn record(vendor: &Vendor) -> Result<Vec<String>, Failure> {
    let record = vendor.record();
    let mut found = Vec::new();
    if let Err(failure) = vendor.check_evidence() {
        found.push(described(&failure));
    }
    let folder = record.git().folder();
    match fs::read(folder.join("HEAD")) {
        Ok(bytes) if bytes == b"ref: refs/heads/main\n" => {}
        Ok(_) => found.push("HEAD: damaged".to_owned()),
        Err(error) => found.push(format!("HEAD: {error}")),
    }
    found.extend(vendor.format_damage());
    found.extend(record.damaged_files()?);
    found.extend(record.git().fsck()?);
    Ok(found)
}

/// What is wrong with the metadata in the bucket, a line each. Reads all parts and all history.
///
/// # Errors
/// The storage fails.
pub fn bucket_metadata(registry: &Registry<'_>) -> Result<Vec<String>, Failure> {
    let Registry { vendor, storage, .. } = *registry;
    let record = vendor.record();
    let mut found = Vec::new();
    let head = match record.branch() {
        Reading::There(head) => Some(head),
        // The check of the record reports it.
        Reading::Absent | Reading::Unreadable(_) => None,
    };
    match snapshot::read_pointer(storage)? {
        Reading::There(pointer) => found.extend(pointer_findings(registry, &pointer, head.as_ref())?),
        Reading::Unreadable(failure) => found.push(described(&failure)),
        Reading::Absent if head.is_some() => found.push(format!("{}: missing", ObjectKey::Pointer)),
        Reading::Absent => {}
    }
    found.extend(damaged_objects(storage)?.into_iter().map(|key| format!("{key}: damaged")));
    Ok(found)
}

fn pointer_findings(
    registry: &Registry<'_>,
    pointer: &Pointer,
    head: Option<&CommitId>,
) -> Result<Vec<String>, Failure> {
    let Registry { vendor, storage, .. } = *registry;
    let record = vendor.record();
    let mut found = Vec::new();
    let mut wrong = |what: String| found.push(format!("{}: {what}", ObjectKey::Pointer));
    if let Some(other) = pointer.vendor.as_ref().filter(|other| *other != vendor.name()) {
        wrong(format!("it names the vendor {other}"));
    }
    if Utc::parse(&pointer.published).is_none() {
        wrong(format!("`{}` is no time", pointer.published));
    }
    match CommitId::parse(&pointer.revision) {
        Err(failure) => wrong(failure.message().to_owned()),
        Ok(commit) if !record.has(&commit)? => {
            wrong(format!("it names commit {commit}, which the record does not have"));
        }
        Ok(commit) => {
            let depth = record.depth(&commit)?;
            if depth != pointer.sequence {
                wrong(format!(
                    "it names publication {}, and commit {commit} is number {depth}",
                    pointer.sequence
                ));
            }
            if let Some(head) = head.filter(|head| **head != commit) {
                wrong(format!("it names commit {commit}, and the last publication is {head}"));
            }
        }
    }
    if !snapshot::has_parts(storage, pointer)? {
        wrong("a part that it names is missing, or has another length".to_owned());
    }
    if !snapshot::has_history(storage, pointer)? {
        wrong("history that it names is missing, or has another length".to_owned());
    }
    Ok(found)
}

/// The keys of parts and of history in the bucket whose content is not what their names say.
///
/// # Errors
/// The storage fails.
pub fn damaged_objects(storage: &dyn Storage) -> Result<Vec<ObjectKey>, Failure> {
    let mut named = Vec::new();
    for prefix in [ObjectKey::SNAPSHOTS, ObjectKey::RECORD] {
        storage.list(prefix, &mut |listed| named.extend(named_by_digest(&listed.key)))?;
    }
    let checked = parallel::each(storage.capabilities().upload_limits.single, named, |(key, digest)| {
        let Some(mut content) = storage.read(&key)? else { return Ok(None) };
        let mut hash = Sha256::default();
        io::copy(&mut content, &mut hash).map_err(|error| StorageError::reading(&key, error))?;
        Ok((hash.finish() != digest).then_some(key))
    })?;
    Ok(checked.into_iter().flatten().collect())
}

/// The object of a key with a digest in it.
fn named_by_digest(key: &str) -> Option<(ObjectKey, Digest)> {
    if let Some((tip, digest)) = ObjectKey::history(key) {
        return Some((ObjectKey::History { tip: tip.to_owned(), digest }, digest));
    }
    let hex = key.strip_prefix(ObjectKey::SNAPSHOTS)?.strip_suffix(".tar.gz")?;
    let digest = Digest::from_hex(hex).ok()?;
    Some((ObjectKey::Snapshot(digest), digest))
}

/// A failure in one line.
fn described(failure: &Failure) -> String {
    let causes = failure.causes().into_iter().map(|cause| format!(": {cause}"));
    format!("{}{}", failure.message(), causes.collect::<String>())
}
