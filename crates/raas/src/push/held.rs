//! Small objects: bytes at hand that are stored unless they are there.

use std::io::{Read, Write};

use raas_types::ObjectKey;

use crate::storage::{Storage, StorageError};

/// Stores bytes, unless the object is there with just these; whether it had to.
pub(super) fn put(storage: &dyn Storage, key: &ObjectKey, content: &[u8]) -> Result<bool, StorageError> {
    if holds(storage, key, content)? {
        return Ok(false);
    }
    let mut upload = storage.create()?;
    upload.write_all(content).map_err(|error| StorageError::writing(key, error))?;
    upload.commit(key)?;
    Ok(true)
}

/// Whether the object has just these bytes.
fn holds(storage: &dyn Storage, key: &ObjectKey, content: &[u8]) -> Result<bool, StorageError> {
    let size = content.len() as u64;
    if storage.stat(key)?.is_none_or(|found| found.size != size) {
        return Ok(false);
    }
    let Some(stream) = storage.read(key)? else { return Ok(false) };
    let mut found = Vec::with_capacity(content.len());
    let read = stream.take(size + 1).read_to_end(&mut found);
    read.map_err(|error| StorageError::new(format!("cannot read {key}"), error))?;
    Ok(found == content)
}
