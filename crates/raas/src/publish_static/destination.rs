//! The destination of a static registry: what it holds, and what is stored there. Run again, nothing is stored twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use md5::Md5;
use md5::digest::Digest as _;
use raas_base::failure::{Failure, Kind};
use raas_base::parallel;
use raas_git::Reader;
use raas_publish::storage::{ListedObject, PutOptions, Storage, StorageError};
use raas_types::{Digest, ObjectKey, RepositoryName, Sha256, StaticKey};

use super::static_registry::StaticRegistry;
use crate::progress::Progress;
use crate::published_blob::PublishedBlob;
use crate::push::Counted;

/// How many blobs are stored at once.
const WORKERS: usize = 4;

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// The destination of a static registry.
pub(super) struct Destination<'a> {
    storage: &'a dyn Storage,
    /// The objects that were there before.
    listed: BTreeMap<String, ListedObject>,
    counts: Mutex<(Counted, Counted)>,
    progress: &'a Progress,
    dry_run: bool,
}

impl<'a> Destination<'a> {
    /// Lists the objects of the destination.
    ///
    /// # Errors
    /// The storage fails.
    pub(super) fn list(
        storage: &'a dyn Storage,
        progress: &'a Progress,
        dry_run: bool,
    ) -> Result<Self, Failure> {
        if !dry_run {
            storage.abort_stale_uploads()?;
        }
        let mut listed = BTreeMap::new();
        storage.list(StaticKey::PREFIX, &mut |object| {
            listed.insert(object.key.clone(), object);
        })?;
        Ok(Self { storage, listed, counts: Mutex::default(), progress, dry_run })
    }

    /// What was stored, or would be.
    pub(super) fn stored(&self) -> Counted {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// What was there already.
    pub(super) fn present(&self) -> Counted {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn count(&self, is_stored: bool, size: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (stored, present) = &mut *counts;
        if is_stored { stored.add(size) } else { present.add(size) }
    }

    /// Stores the blobs, each in all repositories that have it.
    ///
    /// # Errors
    /// A blob cannot be read, has other bytes than its digest says, or cannot be stored.
    pub(super) fn store_blobs(&self, registry: &StaticRegistry, source: &dyn Storage) -> Result<(), Failure> {
        let blobs: Vec<_> = registry.blobs.values().collect();
        parallel::each(WORKERS, blobs, |(blob, repositories)| self.store_blob(blob, repositories, source))?;
        Ok(())
    }

    fn store_blob(
        &self,
        blob: &PublishedBlob,
        repositories: &BTreeSet<RepositoryName>,
        source: &dyn Storage,
    ) -> Result<(), Failure> {
        let key = |name: &RepositoryName| ObjectKey::Static(StaticKey::Blob(name.clone(), blob.digest));
        let is_there = |key: &ObjectKey| {
            self.listed.get(&key.to_string()).is_some_and(|object| object.size == blob.size)
        };
        let (there, missing): (Vec<ObjectKey>, Vec<ObjectKey>) =
            repositories.iter().map(key).partition(is_there);
        there.iter().for_each(|_| self.count(false, blob.size));
        let mut first = there.into_iter().next();
        for key in missing {
            if !self.dry_run {
                match &first {
                    Some(first) => self.storage.copy(first, &key, blob.size)?,
                    None => self.copy_blob(blob, &key, source)?,
                }
                self.progress.stored(&key, blob.size);
            }
            self.count(true, blob.size);
            first.get_or_insert(key);
        }
        Ok(())
    }

    /// Streams a blob into the destination. It appears there only if its bytes have the right digest.
    fn copy_blob(&self, blob: &PublishedBlob, key: &ObjectKey, source: &dyn Storage) -> Result<(), Failure> {
        let mut stream = blob.open(source)?;
        let mut upload = self.storage.create(PutOptions::of(key, blob.size))?;
        let bar = self.progress.layer(&blob.digest.short(), blob.size);
        let (mut hash, mut buffer, mut size) = (Sha256::default(), vec![0; CHUNK], 0);
        loop {
            let got = stream.read(&mut buffer).map_err(|error| blob.failure(error))?;
            if got == 0 {
                break;
            }
            size += got as u64;
            if size > blob.size {
                break;
            }
            hash.update(&buffer[..got]);
            upload.write_all(&buffer[..got]).map_err(|error| StorageError::writing(key, error))?;
            bar.advance(got as u64);
        }
        if size != blob.size {
            let than = if size > blob.size { "longer" } else { "shorter" };
            return Err(blob.failure(format!("it is {than} than the {} bytes of its manifest", blob.size)));
        }
        let found = hash.finish();
        if found != blob.digest {
            return Err(blob.failure(format!("its content has the digest {found}")));
        }
        upload.commit(key)?;
        bar.done();
        Ok(())
    }

    /// Stores all other objects in their order. A folder has no object for the base of the API: the web server answers
    /// there.
    ///
    /// # Errors
    /// A manifest cannot be read, or an object cannot be stored.
    pub(super) fn store_objects(
        &mut self,
        registry: &StaticRegistry,
        reader: &Reader<'_>,
        is_folder: bool,
    ) -> Result<(), Failure> {
        for object in &registry.objects {
            if is_folder && object.key == StaticKey::Base {
                continue;
            }
            let key = ObjectKey::Static(object.key.clone());
            let bytes = object.content.bytes(reader)?;
            let size = bytes.len() as u64;
            let is_there = self.has(&object.key, &key, &bytes)?;
            if !is_there && !self.dry_run {
                let mut upload = self.storage.create(PutOptions::of(&key, size))?;
                upload.write_all(&bytes).map_err(|error| StorageError::writing(&key, error))?;
                upload.commit(&key)?;
                self.progress.stored(&key, size);
            }
            self.count(!is_there, size);
        }
        Ok(())
    }

    /// Whether the destination has these bytes under this key.
    fn has(&self, static_key: &StaticKey, key: &ObjectKey, bytes: &[u8]) -> Result<bool, Failure> {
        let size = bytes.len() as u64;
        let Some(listed) = self.listed.get(&key.to_string()).filter(|listed| listed.size == size) else {
            return Ok(false);
        };
        // An object with a digest in its key was compared when it was stored.
        if static_key.is_immutable() || listed.md5 == Some(Md5::digest(bytes).into()) {
            return Ok(true);
        }
        let Some(stream) = self.storage.read(key)? else { return Ok(false) };
        let mut found = Vec::with_capacity(bytes.len());
        let read = stream.take(size + 1).read_to_end(&mut found);
        read.map_err(|error: io::Error| StorageError::reading(key, error))?;
        Ok(found == bytes)
    }

    /// The keys of objects that were stored for an earlier publication, what names others first.
    pub(super) fn withdrawn(&self, registry: &StaticRegistry, is_folder: bool) -> Vec<String> {
        let wanted = keys(registry, is_folder);
        let is_withdrawn = |key: &&String| StaticKey::is_one(key) && !wanted.contains(*key);
        let mut withdrawn: Vec<String> = self.listed.keys().filter(is_withdrawn).cloned().collect();
        withdrawn.sort_by_key(|key| (removal_rank(key), key.clone()));
        withdrawn
    }

    /// Removes objects in this order. Returns how many it removed; none in a dry run.
    ///
    /// # Errors
    /// The storage fails.
    pub(super) fn remove(&self, keys: &[String]) -> Result<usize, Failure> {
        if self.dry_run {
            return Ok(0);
        }
        for key in keys {
            self.storage.delete_key(key)?;
            self.progress.say(&format!("Removed {key}"));
        }
        Ok(keys.len())
    }
}

/// All keys of a registry.
fn keys(registry: &StaticRegistry, is_folder: bool) -> BTreeSet<String> {
    let blobs = registry.blobs.iter().flat_map(|(digest, (_, repositories))| {
        repositories.iter().map(|name| StaticKey::Blob(name.clone(), *digest))
    });
    let objects = registry.objects.iter().map(|object| object.key.clone());
    let all = blobs.chain(objects).filter(|key| !is_folder || *key != StaticKey::Base);
    all.map(|key| key.to_string()).collect()
}

/// The rank of a key in the order of removal: what names other objects comes first.
fn removal_rank(key: &str) -> u8 {
    let mut parts = key.rsplit('/');
    let (last, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match kind {
        "tags" => 0,
        "manifests" if last.parse::<Digest>().is_err() => 1,
        "referrers" => 2,
        "manifests" => 3,
        _ => 4,
    }
}

/// Checks that no path of the registry is a folder of another path: a bucket has such keys, a folder has not.
///
/// # Errors
/// Two paths exclude each other.
pub(super) fn check_paths(registry: &StaticRegistry) -> Result<(), Failure> {
    let keys = keys(registry, true);
    for key in &keys {
        let mut above = key.as_str();
        while let Some((folder, _)) = above.rsplit_once('/') {
            if keys.contains(folder) {
                let message =
                    format!("{folder} would be a file, and a folder of {key}: a folder cannot have both");
                return Err(Failure::new(Kind::Refused, message)
                    .hint("store the registry in a bucket: s3://BUCKET, or rename the repository"));
            }
            above = folder;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish_static::static_registry::{SmallContent, SmallObject, rank};

    fn object(key: StaticKey) -> SmallObject {
        SmallObject { key, content: SmallContent::Bytes(Vec::new()) }
    }

    fn manifest(repository: &str, reference: &str) -> StaticKey {
        StaticKey::Manifest {
            repository: repository.parse().unwrap(),
            reference: reference.parse().unwrap(),
            media_type: "x/y".into(),
        }
    }

    #[test]
    fn a_path_that_is_a_file_and_a_folder_is_refused() {
        let registry = |objects: Vec<StaticKey>| StaticRegistry {
            objects: objects.into_iter().map(object).collect(),
            ..StaticRegistry::default()
        };
        let (one, other) = (manifest("app", "manifests"), manifest("app/manifests", "1.0"));
        assert!(check_paths(&registry(vec![one.clone()])).is_ok());
        let failure = check_paths(&registry(vec![one, other])).unwrap_err().to_string();
        assert!(failure.contains("v2/app/manifests/manifests would be a file"), "{failure}");
    }

    #[test]
    fn removal_goes_from_what_names_to_what_is_named() {
        let digest = Digest::of(b"x");
        let mut keys = [
            format!("v2/app/blobs/{digest}"),
            format!("v2/app/manifests/{digest}"),
            format!("v2/app/referrers/{digest}"),
            "v2/app/manifests/1.0".to_owned(),
            "v2/app/tags/list".to_owned(),
        ];
        keys.sort_by_key(|key| removal_rank(key));
        let kinds: Vec<&str> = keys.iter().map(|key| key.split('/').nth(2).unwrap()).collect();
        assert_eq!(kinds, ["tags", "manifests", "referrers", "manifests", "blobs"]);
        let ranks: Vec<u8> = [manifest("app", &digest.to_string()), manifest("app", "1.0"), StaticKey::Base]
            .iter()
            .map(rank)
            .collect();
        assert!(ranks.is_sorted());
    }
}
