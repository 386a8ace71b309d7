//! Repairing the content in the bucket: objects that are damaged or missing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};

use raas_types::crane::{Content, Document, tree};
use raas_types::{Digest, ObjectKey, RepositoryName, V1File};

use super::Report;
use crate::damaged_objects::DamagedObjects;
use crate::home::Vendor;
use crate::integrity;
use crate::inventory;
use crate::lease::PublishLease;
use crate::publication::acquire_lease;
use crate::reading::Reading;
use crate::record::Record;
use crate::registry::Registry;
use crate::scrub::{self, Expectation, Expectations};
use crate::snapshot;
use crate::storage::{PutOptions, Storage, StorageError};
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::parallel;
use raas_git::CommitId;

/// The most objects that are read at once.
const AT_ONCE: usize = 4;

/// Up to this number of contradictions, the answers of a storage count as right.
const MANY: usize = 8;

/// Reads all published content, and mends what is damaged or missing. An object that cannot be mended is noted, so that the
/// next push of its image stores it anew. `passed` is called with the numbers of bytes that were read.
///
/// A service or a proxy may give wrong answers for good objects. So nothing is removed from a bucket that a publication
/// needs. In a folder, the bytes on the disk are the truth: damaged files are moved aside.
///
/// # Errors
/// The record cannot be read, the storage fails, or its answers contradict each other for most objects.
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
        DamagedObjects::default().save(vendor)?;
        return Ok(report);
    }
    let _lock = vendor.lock(registry.say)?;
    let mut lease = if shared { Some(acquire_lease(registry, None)?) } else { None };
    let Some(head) = record.head()? else { return Ok(report) };
    let published = Published::read(&record, &head)?;
    let expectations = published.expectations();
    if shared {
        check_answers(storage, &wrong, &expectations)?;
    }
    let mut noted = DamagedObjects::default();
    for key in wrong {
        PublishLease::renew_if_any(lease.as_mut())?;
        let Some(expected) = expectations.get(&key) else { continue };
        // Read it again: a push may have mended the object, and one bad answer does not prove damage.
        let Some(why) = expected.check(storage, &mut |_| {})? else { continue };
        if published.mend(&record, &head, storage, expected, &expectations)? {
            report.mended.push(format!("{key}: {why}; stored again"));
            continue;
        }
        let found = storage.stat(&expected.key)?;
        match found {
            Some(found) if shared => noted.add(key.clone(), found.modified),
            Some(_) => set_aside(vendor, &expected.key)?,
            None => {}
        }
        let repository = repository(&expected.key).map_or_else(String::new, |name| format!(" {name}"));
        report
            .lost
            .push(format!("{key}: {why}; push{repository} again from its source, which stores it anew"));
    }
    noted.save(vendor)?;
    report.mended.extend(remove_stray(registry, stray, &mut || PublishLease::renew_if_any(lease.as_mut()))?);
    Ok(report)
}

/// Checks that a service does not contradict itself: it gives other bytes than the record says, and says that it has an
/// object of the record's length and checksum. A few such objects are damaged. For most objects, the answers are wrong.
///
/// # Errors
/// The answers are wrong.
fn check_answers(storage: &dyn Storage, wrong: &[String], expected: &Expectations) -> Result<(), Failure> {
    let wrong = wrong.iter().filter_map(|key| expected.get(key)).collect();
    let contradicted = parallel::each(AT_ONCE, wrong, |object: &Expectation| {
        let says_good = storage.stat(&object.key)?.is_some_and(|found| {
            let has_size = object.size == 0 || found.size == object.size;
            has_size
                && found.sha256.is_none_or(|sha256| object.digest().is_none_or(|digest| digest == sha256))
        });
        Ok::<_, Failure>(says_good)
    })?;
    let count = contradicted.into_iter().filter(|says_good| *says_good).count();
    let all = expected.len();
    if count <= MANY || count * 2 <= all {
        return Ok(());
    }
    let name = storage.display_name();
    let message = format!(
        "{name} gives damaged content for {count} of {all} objects, and says that it has them as published"
    );
    Err(Failure::new(Kind::Environment, message)
        .hint("look for a proxy that answers in place of the service, and run the command again; no content was changed")
        .hint("if the objects are really damaged, remove them from the bucket and push the images again"))
}

/// Moves a damaged file of a folder to where a repair keeps what was damaged.
fn set_aside(vendor: &Vendor, key: &ObjectKey) -> Result<(), Failure> {
    let key = key.to_string();
    let (from, to) = (vendor.bucket().join(&key), super::aside(vendor).join("bucket").join(&key));
    let cannot = || format!("cannot move {} to {}", from.display(), to.display());
    fs::create_dir_all(to.parent().expect("a key is below a folder")).context(cannot)?;
    match fs::rename(&from, &to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved.context(cannot),
    }
}

/// Removes damaged parts and history that the pointer does not name. Returns what was removed, a sentence each. Nothing is
/// removed if the pointer or something that it names cannot be read well: then the service's answers may be wrong.
fn remove_stray(
    registry: &Registry<'_>,
    stray: Vec<ObjectKey>,
    renew: &mut dyn FnMut() -> Result<(), Failure>,
) -> Result<Vec<String>, Failure> {
    let storage = registry.storage;
    if stray.is_empty() {
        return Ok(Vec::new());
    }
    let Reading::There(pointer) = snapshot::read_pointer(storage)? else { return Ok(Vec::new()) };
    let named = snapshot::keys(&pointer);
    let still: Vec<ObjectKey> =
        integrity::damaged_objects(storage)?.into_iter().filter(|key| stray.contains(key)).collect();
    if still.iter().any(|key| named.contains(&key.to_string())) {
        return Ok(Vec::new());
    }
    let mut removed = Vec::new();
    for key in still {
        renew()?;
        storage.delete(&key)?;
        removed.push(format!("{key}: damaged and not needed; removed"));
    }
    Ok(removed)
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
