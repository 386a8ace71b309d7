//! Reads every stored object, and compares its content with the published digest.

use std::collections::BTreeMap;
use std::io::Read;

use raas_types::crane::Document;
use raas_types::{Digest, ObjectKey, Sha256};

use crate::progress::Progress;
use raas_base::failure::Failure;
use raas_base::parallel;
use raas_publish::inventory;
use raas_publish::storage::{Storage, StorageError};

/// The most objects that are read at once.
const AT_ONCE: usize = 4;

/// The result of reading.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) objects: usize,
    pub(super) bytes: u64,
    /// Objects with the wrong content, each with its problem.
    pub(super) wrong: Vec<String>,
}

/// Reads all objects of the documents whose digest is published.
pub(super) fn read_all(
    documents: &[Document],
    storage: &dyn Storage,
    progress: &Progress,
) -> Result<Reading, Failure> {
    let mut objects = BTreeMap::new();
    for document in documents {
        inventory::objects(document, &mut |key, expected| {
            if let (Some(digest), Some(size)) = (expected.digest, expected.size) {
                objects.insert(key, (digest, size));
            }
        });
    }
    let total = objects.values().map(|(_, size)| size).sum();
    let bar = progress.layer("reading", total);
    let count = objects.len();
    let read = parallel::each(AT_ONCE, objects.into_iter().collect(), |(key, (expected, _))| {
        let mut bytes = 0;
        let found = hash(storage, &key, &mut |count| {
            bytes += count;
            bar.advance(count);
        })?;
        let wrong = match found {
            Some(found) if found == expected => None,
            Some(found) => Some(format!("{key}: its content has the digest {found}")),
            None => Some(format!("{key}: missing")),
        };
        Ok((bytes, wrong))
    })?;
    let bytes = read.iter().map(|(bytes, _)| bytes).sum();
    let mut wrong: Vec<String> = read.into_iter().filter_map(|(_, wrong)| wrong).collect();
    wrong.sort();
    Ok(Reading { objects: count, bytes, wrong })
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
