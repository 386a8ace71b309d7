//! A test of a real storage: whether it does all that raas needs.

use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raas_types::ObjectKey;

use super::{ListedObject, PutOptions, Storage, StorageError};

/// An older object was left by a probe that was killed.
const LEFT_AFTER: Duration = Duration::from_secs(60 * 60);

/// Writes, reads, lists and deletes an object, and leaves nothing behind. Also removes what killed probes have left.
pub fn probe(storage: &dyn Storage) -> Result<(), StorageError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let key = ObjectKey::Probe(format!("{}-{now}", std::process::id()));
    let outcome = exchange(storage, &key, format!("raas {now}").as_bytes());
    let deleted = storage.delete(&key);
    outcome?;
    deleted?;
    if storage.stat(&key)?.is_some() {
        return Err(wrong("a deleted object is still there"));
    }
    Ok(())
}

fn exchange(storage: &dyn Storage, key: &ObjectKey, content: &[u8]) -> Result<(), StorageError> {
    let mut upload = storage.create(PutOptions::of(key, content.len() as u64))?;
    upload.write_all(content).map_err(|error| StorageError::writing(key, error))?;
    upload.commit(key)?;
    let mut found = Vec::new();
    if let Some(stream) = storage.read(key)? {
        let read = stream.take(4096).read_to_end(&mut found);
        read.map_err(|error| StorageError::reading(&key, error))?;
    }
    if found != content {
        return Err(wrong("a stored object reads back with other bytes"));
    }
    let (mut own, mut others) = (None, Vec::new());
    storage.list("_probe/", &mut |object| {
        if object.key == key.to_string() {
            own = Some(object.modified);
        } else {
            others.push(object);
        }
    })?;
    let Some(now) = own else { return Err(wrong("a stored object is not listed")) };
    // A probe takes seconds: older objects are of runs that were killed.
    let is_left = |other: &ListedObject| now.duration_since(other.modified).is_ok_and(|age| age > LEFT_AFTER);
    others.iter().filter(|other| is_left(other)).try_for_each(|other| storage.delete_key(&other.key))
}

fn wrong(message: &str) -> StorageError {
    StorageError::new("the storage does not keep its promises", io::Error::other(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Directory;

    #[test]
    fn a_good_storage_passes_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        probe(&storage).unwrap();
        let mut left = 0;
        storage.list("", &mut |_| left += 1).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn objects_of_killed_probes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        for (name, age) in [("killed", 2 * LEFT_AFTER), ("alive", Duration::from_secs(60))] {
            storage.create(PutOptions::default()).unwrap().commit(&ObjectKey::Probe(name.into())).unwrap();
            let file =
                std::fs::File::options().append(true).open(folder.path().join("_probe").join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        probe(&storage).unwrap();
        let mut left = Vec::new();
        storage.list("", &mut |object| left.push(object.key)).unwrap();
        assert_eq!(left, ["_probe/alive"]);
    }

    #[test]
    fn a_storage_that_cannot_be_written_fails_with_its_path() {
        let storage = Directory::new("/proc/nonexistent".into());
        let error = probe(&storage).unwrap_err().to_string();
        assert!(error.contains("/proc/nonexistent"), "{error}");
    }
}
