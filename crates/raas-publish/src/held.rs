//! What the bucket holds of the repository, as one listing tells it: a push asks for each object, and a service is
//! asked once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use md5::{Digest as _, Md5};
use raas_types::{ObjectKey, Reference, RepositoryName};

use crate::storage::{Draft, Listed, Storage, StorageError};

/// The repository's part of a bucket, as it was when it was listed, and with what this push has stored since.
pub struct Held<'a> {
    storage: &'a dyn Storage,
    repository: &'a RepositoryName,
    /// Whether the objects of Docker v1 are listed too.
    v1: bool,
    objects: Mutex<BTreeMap<String, Object>>,
}

/// An object of the listing.
#[derive(Debug, Clone)]
struct Object {
    listed: Listed,
    /// Whether it is relied on to stay.
    trusted: bool,
}

/// For how long an object that no publication names is taken for there: half of the grace period that `raas gc` gives
/// it. An older one is stored anew, so that no push comes to rely on what is being removed at that moment, perhaps on
/// another machine.
const TRUSTED: Duration = Duration::from_secs(12 * 3600);

impl<'a> Held<'a> {
    /// Lists the repository's v2 objects; with `v1` those of Docker v1 too, which needs a listing of all repositories
    /// whose names go on after this one's. `published` are the keys that the repository's last publication names.
    pub fn read(
        storage: &'a dyn Storage,
        repository: &'a RepositoryName,
        v1: bool,
        published: &BTreeSet<String>,
    ) -> Result<Self, StorageError> {
        let prefix = if v1 { ObjectKey::v1_prefix(repository) } else { ObjectKey::v2_prefix(repository) };
        let mut all = Vec::new();
        storage.list(&prefix, &mut |listed| all.push(listed))?;
        // After the listing: by then a service has told its time.
        let now = storage.now();
        let judged = |listed: Listed| {
            let age = now.duration_since(listed.modified).unwrap_or_default();
            let trusted = age < TRUSTED || published.contains(&listed.key);
            (listed.key.clone(), Object { listed, trusted })
        };
        let objects = all.into_iter().map(judged).collect();
        Ok(Self { storage, repository, v1, objects: Mutex::new(objects) })
    }

    /// Whose objects they are.
    pub fn repository(&self) -> &RepositoryName {
        self.repository
    }

    /// The length of an object in bytes; `None` if there is none. For one of another repository the storage is asked.
    pub fn size(&self, key: &ObjectKey) -> Result<Option<u64>, StorageError> {
        if self.is_listed(key) {
            return Ok(self.trusted(key).map(|listed| listed.size));
        }
        Ok(self.storage.stat(key)?.map(|found| found.size))
    }

    /// Whether there is an object of just this length.
    pub fn has(&self, key: &ObjectKey, size: u64) -> Result<bool, StorageError> {
        Ok(self.size(key)? == Some(size))
    }

    /// Whether there is an object of just this length now, relied on or not. For one of another repository, or of Docker v1
    /// where those are not listed, the storage is asked.
    pub fn is_there(&self, key: &ObjectKey, size: u64) -> Result<bool, StorageError> {
        if self.is_listed(key) {
            return Ok(self.objects().get(&key.to_string()).is_some_and(|object| object.listed.size == size));
        }
        Ok(self.storage.stat(key)?.is_some_and(|found| found.size == size))
    }

    /// Stores bytes at hand, unless the object is there with just these; whether it had to.
    pub fn put(&self, key: &ObjectKey, content: &[u8]) -> Result<bool, StorageError> {
        if self.holds(key, content)? {
            return Ok(false);
        }
        let mut upload = self.storage.create(Draft::of(key, content.len() as u64))?;
        upload.write_all(content).map_err(|error| StorageError::writing(key, error))?;
        upload.commit(key)?;
        Ok(true)
    }

    fn trusted(&self, key: &ObjectKey) -> Option<Listed> {
        self.objects()
            .get(&key.to_string())
            .filter(|object| object.trusted)
            .map(|object| object.listed.clone())
    }

    /// The keys below a prefix of this repository, of all that is there.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.objects().keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// Whether the object has just these bytes.
    pub fn holds(&self, key: &ObjectKey, content: &[u8]) -> Result<bool, StorageError> {
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
        // A folder has no MD5 to tell, and a bucket that is encrypted with a key of the vendor's tells another number.
        let Some(stream) = self.storage.read(key)? else { return Ok(false) };
        let mut found = Vec::with_capacity(content.len());
        let read = stream.take(size + 1).read_to_end(&mut found);
        read.map_err(|error| StorageError::new(format!("cannot read {key}"), error))?;
        Ok(found == content)
    }

    fn is_listed(&self, key: &ObjectKey) -> bool {
        match key {
            ObjectKey::V1(repository, ..) => self.v1 && repository == self.repository,
            ObjectKey::Blob(repository, _)
            | ObjectKey::TagsList(repository)
            | ObjectKey::Manifest { repository, .. } => repository == self.repository,
            ObjectKey::Snapshot(_)
            | ObjectKey::Pointer
            | ObjectKey::History { .. }
            | ObjectKey::Turn(_)
            | ObjectKey::Probe(_) => false,
        }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the service has checked the object against its name when it was stored.
fn is_named_by_digest(key: &ObjectKey) -> bool {
    matches!(key, ObjectKey::Blob(..) | ObjectKey::Manifest { reference: Reference::Digest(_), .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Directory;

    #[test]
    fn only_what_differs_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let name: RepositoryName = "app".parse().unwrap();
        let key = ObjectKey::TagsList(name.clone());
        let put = |content: &[u8]| {
            Held::read(&storage, &name, false, &BTreeSet::new()).unwrap().put(&key, content).unwrap()
        };
        assert!(put(b"one"));
        assert!(!put(b"one"));
        assert!(put(b"two"));
        let held = Held::read(&storage, &name, false, &BTreeSet::new()).unwrap();
        assert_eq!((held.size(&key).unwrap(), held.has(&key, 3).unwrap()), (Some(3), true));
        assert_eq!(held.keys("app/_v2/tags/"), ["app/_v2/tags/list"]);
        let other = ObjectKey::TagsList("other".parse().unwrap());
        assert_eq!(held.size(&other).unwrap(), None);
    }

    #[test]
    fn what_gc_may_be_removing_is_stored_anew() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let name: RepositoryName = "app".parse().unwrap();
        let key = ObjectKey::TagsList(name.clone());
        let published = BTreeSet::from([key.to_string()]);
        Held::read(&storage, &name, false, &published).unwrap().put(&key, b"x").unwrap();
        let old = std::time::SystemTime::now() - 2 * TRUSTED;
        let file = std::fs::File::options().append(true).open(folder.path().join(key.to_string())).unwrap();
        file.set_modified(old).unwrap();
        assert!(Held::read(&storage, &name, false, &published).unwrap().has(&key, 1).unwrap());
        let unnamed = Held::read(&storage, &name, false, &BTreeSet::new()).unwrap();
        assert!(!unnamed.has(&key, 1).unwrap());
        assert_eq!(unnamed.keys("app/"), [key.to_string()], "it is there to be removed all the same");
    }
}
