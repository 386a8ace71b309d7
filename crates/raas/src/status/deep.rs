//! Reading what is stored through, and comparing it with the digests that are published.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use raas_types::crane::Document;
use raas_types::{Digest, ObjectKey, Sha256};

use crate::inventory;
use crate::push::Progress;
use crate::storage::{Storage, StorageError};

/// Objects that are read at once.
const AT_ONCE: usize = 4;

/// What was read, and what of it is wrong.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) objects: usize,
    pub(super) bytes: u64,
    /// Objects whose content is not what is published, each with what was found.
    pub(super) wrong: Vec<String>,
}

/// Reads every object of the documents whose digest is known.
pub(super) fn read_all(
    documents: &[Document],
    storage: &dyn Storage,
    progress: &Progress,
) -> Result<Reading, StorageError> {
    let mut objects = BTreeMap::new();
    for document in documents {
        inventory::objects(document, &mut |key, told| {
            if let (Some(digest), Some(size)) = (told.digest, told.size) {
                objects.insert(key, (digest, size));
            }
        });
    }
    let total = objects.values().map(|(_, size)| size).sum();
    let bar = progress.layer("reading", total);
    let bytes = AtomicU64::new(0);
    let wrong = Mutex::new(Vec::new());
    let failure = Mutex::new(None);
    let queue = Mutex::new(objects.iter());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((key, (expected, _))) = next() {
                    let read = hash(storage, key, &mut |count| {
                        bytes.fetch_add(count, Ordering::Relaxed);
                        bar.advance(count);
                    });
                    match read {
                        Ok(found) if found == Some(*expected) => {}
                        Ok(found) => {
                            let found = found.map_or("missing".into(), |found| {
                                format!("its content has the digest {found}")
                            });
                            wrong.lock().expect("no holder panics").push(format!("{key}: {found}"));
                        }
                        Err(error) => {
                            failure.lock().expect("no holder panics").get_or_insert(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().expect("no holder panics") {
        return Err(error);
    }
    let mut wrong = wrong.into_inner().expect("no holder panics");
    wrong.sort();
    Ok(Reading { objects: objects.len(), bytes: bytes.into_inner(), wrong })
}

/// The digest of an object's content; `None` if there is no such object.
fn hash(
    storage: &dyn Storage,
    key: &ObjectKey,
    passed: &mut dyn FnMut(u64),
) -> Result<Option<Digest>, StorageError> {
    let Some(mut stream) = storage.read(key)? else { return Ok(None) };
    let mut hash = Sha256::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = stream.read(&mut buffer);
        match read.map_err(|error| StorageError::new(format!("cannot read {key}"), error))? {
            0 => return Ok(Some(hash.finish())),
            got => {
                hash.update(&buffer[..got]);
                passed(got as u64);
            }
        }
    }
}
