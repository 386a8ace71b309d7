//! Repairing the content in the bucket: objects that are damaged or missing.

use std::collections::BTreeMap;
use std::io::Write as _;

use raas_types::crane::{Content, Document, tree};
use raas_types::{Digest, ObjectKey, RepositoryName, V1File};

use super::Report;
use crate::integrity;
use crate::inventory;
use crate::lease::PublishLease;
use crate::publication::acquire_lease;
use crate::record::Record;
use crate::registry::Registry;
use crate::scrub::{self, Expectation, Expectations};
use crate::snapshot;
use crate::storage::{PutOptions, Storage, StorageError};
use raas_base::failure::Failure;
use raas_base::parallel;
use raas_git::CommitId;

/// The most objects that are read at once.
const AT_ONCE: usize = 4;

/// Reads all published content, and mends what is damaged or missing. An object that cannot be mended is removed, so that the
/// next push of its image stores it anew. `passed` is called with the numbers of bytes that were read.
///
/// # Errors
/// The record cannot be read, or the storage fails.
pub fn content(registry: &Registry<'_>, passed: &(dyn Fn(u64) + Sync)) -> Result<Report, Failure> {
    let Registry { vendor, storage, shared, .. } = *registry;
    let record = vendor.record();
    let mut report = Report::default();
    let Some(head) = record.head()? else { return Ok(report) };
    // Reading takes long, so it is done without the lease.
    let published = Published::read(&record, &head)?;
    let expectations: Vec<(String, Expectation)> = published.expectations().into_iter().collect();
    let wrong = parallel::each(AT_ONCE, expectations, |(key, expected)| {
        Ok(expected.check(storage, &mut |bytes| passed(bytes))?.map(|_| key))
    })?;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    let stray = integrity::damaged_objects(storage)?;
    if wrong.is_empty() && stray.is_empty() {
        return Ok(report);
    }
    let _lock = vendor.lock()?;
    let mut lease = if shared { Some(acquire_lease(registry, None)?) } else { None };
    let Some(head) = record.head()? else { return Ok(report) };
    let published = Published::read(&record, &head)?;
    let expectations = published.expectations();
    for key in wrong {
        PublishLease::renew_if_any(lease.as_mut())?;
        let Some(expected) = expectations.get(&key) else { continue };
        // A push may have mended it, and one bad answer is no damage.
        let Some(why) = expected.check(storage, &mut |_| {})? else { continue };
        if published.mend(&record, &head, storage, expected, &expectations)? {
            report.mended.push(format!("{key}: {why}; stored again"));
            continue;
        }
        storage.delete(&expected.key)?;
        let repository = repository(&expected.key).map_or_else(String::new, |name| format!(" {name}"));
        report
            .lost
            .push(format!("{key}: {why}; push{repository} again from its source, which stores it anew"));
    }
    let pointer = snapshot::read_pointer(storage)?.to_replace();
    let named: Vec<String> = pointer.iter().flat_map(snapshot::keys).collect();
    // What the pointer names is stored again with the snapshot.
    for key in stray.into_iter().filter(|key| !named.contains(&key.to_string())) {
        PublishLease::renew_if_any(lease.as_mut())?;
        storage.delete(&key)?;
        report.mended.push(format!("{key}: damaged and not needed; removed"));
    }
    Ok(report)
}

/// The vendor's own documents of a commit.
struct Published {
    documents: BTreeMap<String, Document>,
}

impl Published {
    fn read(record: &Record, head: &CommitId) -> Result<Self, Failure> {
        let mut files = record.files(head, tree::DATA)?;
        files.retain(|file| file.path.ends_with(".json") && !tree::is_operators(&file.path));
        let mut documents = BTreeMap::new();
        record.read_each(&files, |file, bytes| {
            // `raas status` reports a document that does not parse.
            documents.extend(Document::parse(&bytes).ok().map(|document| (file.path.clone(), document)));
            Ok(())
        })?;
        Ok(Self { documents })
    }

    fn expectations(&self) -> Expectations {
        scrub::expectations(self.documents.values())
    }

    /// Stores an object again from a good copy. Returns whether there is one.
    fn mend(
        &self,
        record: &Record,
        head: &CommitId,
        storage: &dyn Storage,
        expected: &Expectation,
        all: &Expectations,
    ) -> Result<bool, Failure> {
        if let Some(bytes) = self.recorded(record, head, expected)? {
            put(storage, &expected.key, &bytes)?;
            return Ok(true);
        }
        for other in all.values().filter(|other| is_copy(other, expected)) {
            if other.check(storage, &mut |_| {})?.is_none() {
                let size = storage.stat(&other.key)?.map_or(other.size, |found| found.size);
                storage.copy(&other.key, &expected.key, size)?;
                return Ok(expected.check(storage, &mut |_| {})?.is_none());
            }
        }
        Ok(false)
    }

    /// The content of an object, if the record knows it.
    fn recorded(
        &self,
        record: &Record,
        head: &CommitId,
        expected: &Expectation,
    ) -> Result<Option<Vec<u8>>, Failure> {
        match (&expected.key, expected.digest()) {
            (ObjectKey::Manifest { repository, .. }, Some(digest)) => {
                let bytes = record.read(head, &tree::manifest(repository, &digest))?;
                Ok(bytes.filter(|bytes| Digest::of(bytes) == digest))
            }
            (ObjectKey::TagsList(repository), _) => {
                let document = self.documents.get(&tree::document(repository));
                let tags = document.and_then(Document::tags);
                Ok(tags.map(|tags| inventory::tags_list(repository, tags.keys())))
            }
            (key @ ObjectKey::Signature { repository, .. }, _) => {
                let document = self.documents.get(&tree::document(repository));
                let raas = document.and_then(|document| match &document.content {
                    Content::V2(v2) => v2.raas.as_ref(),
                    Content::V1(_) => None,
                });
                let found =
                    raas.and_then(|raas| inventory::signatures(repository, raas).find(|(own, _)| own == key));
                Ok(found.map(|(_, bytes)| bytes))
            }
            _ => Ok(None),
        }
    }
}

/// Whether two objects of different keys have the same content.
fn is_copy(one: &Expectation, other: &Expectation) -> bool {
    if one.key == other.key {
        return false;
    }
    match (&one.key, &other.key) {
        // The files of a Docker v1 image are the same in each repository.
        (ObjectKey::V1(_, one_id, one_file), ObjectKey::V1(_, other_id, other_file))
            if *one_file != V1File::Layer =>
        {
            one_id == other_id && one_file == other_file && one.digest() == other.digest()
        }
        _ => one.digest().is_some() && one.digest() == other.digest(),
    }
}

fn repository(key: &ObjectKey) -> Option<&RepositoryName> {
    match key {
        ObjectKey::V1(repository, ..)
        | ObjectKey::Blob(repository, _)
        | ObjectKey::TagsList(repository)
        | ObjectKey::Signature { repository, .. }
        | ObjectKey::Manifest { repository, .. } => Some(repository),
        _ => None,
    }
}

fn put(storage: &dyn Storage, key: &ObjectKey, bytes: &[u8]) -> Result<(), Failure> {
    let mut upload = storage.create(PutOptions::of(key, bytes.len() as u64))?;
    upload.write_all(bytes).map_err(|error| StorageError::writing(key, error))?;
    Ok(upload.commit(key)?)
}
