//! What the bucket holds of one repository, by one listing. A push asks for thousands of objects; the service gets one
//! request.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use md5::Md5;
use md5::digest::Digest as _;
use raas_types::{Digest, ObjectKey, Reference, RepositoryName};

use crate::damaged_objects::DamagedObjects;
use crate::scrub::Expectation;
use crate::storage::{ListedObject, PutOptions, Storage, StorageError};

/// The objects of one repository, as they were when the bucket was listed.
pub struct RepositoryListing<'a> {
    storage: &'a dyn Storage,
    repository: &'a RepositoryName,
    /// Whether the Docker v1 objects are listed too.
    v1: bool,
    objects: Mutex<BTreeMap<String, Object>>,
    damaged: DamagedObjects,
}

/// An object of the listing.
#[derive(Debug, Clone)]
struct Object {
    listed: ListedObject,
    /// Whether a push may rely on it: `raas gc` is not removing it.
    trusted: bool,
}

/// The age up to which a push relies on an object that no publication names: half of `raas gc`'s grace period. A push
/// stores an older object anew, since `raas gc` may be removing it at this moment, perhaps on another machine.
const TRUSTED: Duration = Duration::from_secs(12 * 3600);

impl<'a> RepositoryListing<'a> {
    /// Lists the repository's v2 objects, and with `v1` its Docker v1 objects. Listing the v1 objects also lists all
    /// repositories below this repository's name. `published` are the keys that its last publication names.
    pub fn read(
        storage: &'a dyn Storage,
        repository: &'a RepositoryName,
        v1: bool,
        published: &BTreeSet<String>,
    ) -> Result<Self, StorageError> {
        let prefix = if v1 { ObjectKey::v1_prefix(repository) } else { ObjectKey::v2_prefix(repository) };
        let mut all = Vec::new();
        storage.list(&prefix, &mut |listed| all.push(listed))?;
        // Few repositories have signatures, and in a folder this listing searches all repositories beside this one.
        let signatures = ObjectKey::signatures_prefix(repository);
        if published.iter().any(|key| key.starts_with(&signatures)) {
            storage.list(&signatures, &mut |listed| all.push(listed))?;
        }
        // After the listing, since an answer of the service shows its time.
        let now = storage.capabilities().now();
        let object = |listed: ListedObject| {
            let age = now.duration_since(listed.modified).unwrap_or_default();
            let trusted = age < TRUSTED || published.contains(&listed.key);
            (listed.key.clone(), Object { listed, trusted })
        };
        let objects = all.into_iter().map(object).collect();
        Ok(Self { storage, repository, v1, objects: Mutex::new(objects), damaged: DamagedObjects::default() })
    }

    /// The listing for a push that does not rely on damaged objects, but stores them anew.
    #[must_use]
    pub fn distrust(self, damaged: DamagedObjects) -> Self {
        for (key, object) in self.objects().iter_mut() {
            object.trusted &= !damaged.has(key, object.listed.modified);
        }
        Self { damaged, ..self }
    }

    /// The repository of the objects.
    pub fn repository(&self) -> &RepositoryName {
        self.repository
    }

    /// The length in bytes of an object that a push may rely on; `None` if there is none. If the object is not part of the
    /// listing, this asks the storage.
    pub fn size(&self, key: &ObjectKey) -> Result<Option<u64>, StorageError> {
        if self.is_listed(key) {
            return Ok(self.trusted(key).map(|listed| listed.size));
        }
        Ok(self.storage.stat(key)?.map(|found| found.size))
    }

    /// Whether there is an object of this length that a push may rely on.
    pub fn has(&self, key: &ObjectKey, size: u64) -> Result<bool, StorageError> {
        Ok(self.size(key)? == Some(size))
    }

    /// Whether there is an object of this length that a push may copy. A push may not copy an object of another repository
    /// that has another digest. A service may tell the digest; a file is read, which takes no longer than to copy it.
    pub fn has_to_copy(&self, key: &ObjectKey, size: u64, digest: &Digest) -> Result<bool, StorageError> {
        if self.is_listed(key) {
            return self.has(key, size);
        }
        let found = self.storage.stat(key)?.filter(|found| found.size == size);
        let found = found.filter(|found| !self.damaged.has(&key.to_string(), found.modified));
        let Some(found) = found else { return Ok(false) };
        match found.sha256 {
            Some(sha256) => Ok(sha256 == *digest),
            None if self.storage.capabilities().service.is_none() => {
                let object = Expectation::of(key.clone(), size, *digest);
                Ok(object.check(self.storage, &mut |_| {})?.is_none())
            }
            None => Ok(true),
        }
    }

    /// Whether there is an object of this length, even if a new push could not rely on it. If the object is not part of the
    /// listing, this asks the storage.
    pub fn exists(&self, key: &ObjectKey, size: u64) -> Result<bool, StorageError> {
        if self.is_listed(key) {
            return Ok(self.objects().get(&key.to_string()).is_some_and(|object| object.listed.size == size));
        }
        Ok(self.storage.stat(key)?.is_some_and(|found| found.size == size))
    }

    /// Stores an object, unless it is there with the same bytes. Returns whether it was written.
    pub fn put(&self, key: &ObjectKey, content: &[u8]) -> Result<bool, StorageError> {
        if self.has_content(key, content)? {
            return Ok(false);
        }
        let mut upload = self.storage.create(PutOptions::of(key, content.len() as u64))?;
        upload.write_all(content).map_err(|error| StorageError::writing(key, error))?;
        upload.commit(key)?;
        Ok(true)
    }

    fn trusted(&self, key: &ObjectKey) -> Option<ListedObject> {
        self.objects()
            .get(&key.to_string())
            .filter(|object| object.trusted)
            .map(|object| object.listed.clone())
    }

    /// The keys of all listed objects below a prefix.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.objects().keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// Whether the object has these bytes, and a push may rely on it.
    pub fn has_content(&self, key: &ObjectKey, content: &[u8]) -> Result<bool, StorageError> {
        let Some(listed) = self.trusted(key) else { return Ok(false) };
        let size = content.len() as u64;
        if listed.size != size {
            return Ok(false);
        }
        if let Some(md5) = listed.md5
            && (md5 == <[u8; 16]>::from(Md5::digest(content)) || is_named_by_digest(key))
        {
            return Ok(true);
        }
        // A folder knows no MD5, and a bucket with a vendor's encryption key has another number in its place.
        let Some(stream) = self.storage.read(key)? else { return Ok(false) };
        let mut found = Vec::with_capacity(content.len());
        let read = stream.take(size + 1).read_to_end(&mut found);
        read.map_err(|error| StorageError::reading(key, error))?;
        Ok(found == content)
    }

    fn is_listed(&self, key: &ObjectKey) -> bool {
        match key {
            ObjectKey::V1(repository, ..) => self.v1 && repository == self.repository,
            ObjectKey::Blob(repository, _)
            | ObjectKey::TagsList(repository)
            | ObjectKey::Signature { repository, .. }
            | ObjectKey::Manifest { repository, .. } => repository == self.repository,
            ObjectKey::Snapshot(_)
            | ObjectKey::Pointer
            | ObjectKey::History { .. }
            | ObjectKey::PublishLease(_)
            | ObjectKey::Probe(_)
            | ObjectKey::Static(_) => false,
        }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the key has the object's digest: then the service has checked the bytes when they were stored.
fn is_named_by_digest(key: &ObjectKey) -> bool {
    matches!(key, ObjectKey::Blob(..) | ObjectKey::Manifest { reference: Reference::Digest(_), .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Directory;

    #[test]
    fn an_object_is_written_only_if_its_bytes_differ() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let name: RepositoryName = "app".parse().unwrap();
        let key = ObjectKey::TagsList(name.clone());
        let put = |content: &[u8]| {
            RepositoryListing::read(&storage, &name, false, &BTreeSet::new())
                .unwrap()
                .put(&key, content)
                .unwrap()
        };
        assert!(put(b"one"));
        assert!(!put(b"one"));
        assert!(put(b"two"));
        let listing = RepositoryListing::read(&storage, &name, false, &BTreeSet::new()).unwrap();
        assert_eq!((listing.size(&key).unwrap(), listing.has(&key, 3).unwrap()), (Some(3), true));
        assert_eq!(listing.keys("app/_v2/tags/"), ["app/_v2/tags/list"]);
        let other = ObjectKey::TagsList("other".parse().unwrap());
        assert_eq!(listing.size(&other).unwrap(), None);
    }

    #[test]
    fn a_damaged_object_is_stored_anew() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let name: RepositoryName = "app".parse().unwrap();
        let key = ObjectKey::TagsList(name.clone());
        let read = || RepositoryListing::read(&storage, &name, false, &BTreeSet::new()).unwrap();
        read().put(&key, b"x").unwrap();
        let mut damaged = DamagedObjects::default();
        damaged.add(key.to_string(), storage.stat(&key).unwrap().unwrap().modified);
        assert!(read().has(&key, 1).unwrap());
        assert!(!read().distrust(damaged.clone()).has(&key, 1).unwrap());
        // From another repository's view, the object is not listed.
        let other: RepositoryName = "other".parse().unwrap();
        let listing = RepositoryListing::read(&storage, &other, false, &BTreeSet::new()).unwrap();
        let digest = Digest::of(b"x");
        assert!(listing.has_to_copy(&key, 1, &digest).unwrap());
        assert!(!listing.distrust(damaged).has_to_copy(&key, 1, &digest).unwrap());
    }

    #[test]
    fn an_object_that_gc_may_be_removing_is_stored_anew() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let name: RepositoryName = "app".parse().unwrap();
        let key = ObjectKey::TagsList(name.clone());
        let published = BTreeSet::from([key.to_string()]);
        RepositoryListing::read(&storage, &name, false, &published).unwrap().put(&key, b"x").unwrap();
        let old = std::time::SystemTime::now() - 2 * TRUSTED;
        let file = std::fs::File::options().append(true).open(folder.path().join(key.to_string())).unwrap();
        file.set_modified(old).unwrap();
        assert!(RepositoryListing::read(&storage, &name, false, &published).unwrap().has(&key, 1).unwrap());
        let unnamed = RepositoryListing::read(&storage, &name, false, &BTreeSet::new()).unwrap();
        assert!(!unnamed.has(&key, 1).unwrap());
        assert_eq!(unnamed.keys("app/"), [key.to_string()], "all keys are listed, also untrusted ones");
    }
}
