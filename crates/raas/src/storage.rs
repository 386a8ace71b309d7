//! A vendor's bucket: objects under keys, written whole or not at all.

mod directory;
mod probe;
#[cfg(test)]
mod suite;

use std::io::{self, Read, Write};
use std::time::SystemTime;

use raas_types::ObjectKey;

pub(crate) use directory::Directory;
pub(crate) use probe::probe;

/// Where a vendor's objects are kept. What every implementation promises stands in `suite.rs`, as tests.
pub(crate) trait Storage: Send + Sync {
    /// Begins an object. It is visible under no key before [`Upload::commit`], and leaves nothing behind when it
    /// is dropped before.
    fn create(&self) -> Result<Box<dyn Upload>, StorageError>;

    /// What is known of an object without reading it; `None` if there is none.
    fn stat(&self, key: &ObjectKey) -> Result<Option<Found>, StorageError>;

    /// An object's bytes; `None` if there is none.
    fn read(&self, key: &ObjectKey) -> Result<Option<Box<dyn Read + Send>>, StorageError>;

    /// Makes an object of another one, without moving its bytes through raas.
    fn copy(&self, from: &ObjectKey, to: &ObjectKey) -> Result<(), StorageError>;

    /// Removes an object; one that is not there is removed already.
    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.delete_key(&key.to_string())
    }

    /// As [`delete`](Self::delete), by a key that [`list`](Self::list) gave.
    fn delete_key(&self, key: &str) -> Result<(), StorageError>;

    /// Names each object whose key begins with the prefix, in no order.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed)) -> Result<(), StorageError>;

    /// Removes what runs that were killed have left of unfinished uploads, and says how many runs that were. A run
    /// that still lives keeps its own.
    fn sweep(&self) -> Result<usize, StorageError>;
}

/// An object in the making.
pub(crate) trait Upload: Write + Send {
    /// Makes the object visible under its key, whole; what was there before is replaced.
    fn commit(self: Box<Self>, key: &ObjectKey) -> Result<(), StorageError>;
}

/// What is known of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its length in bytes.
    pub(crate) size: u64,
    /// When it was stored, by the storage's clock.
    pub(crate) modified: SystemTime,
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    /// The key as text.
    pub(crate) key: String,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// When it was stored, by the storage's clock.
    pub(crate) modified: SystemTime,
}

/// A storage that does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct StorageError {
    message: String,
    source: io::Error,
}

impl StorageError {
    pub(crate) fn new(message: impl Into<String>, source: io::Error) -> Self {
        Self { message: message.into(), source }
    }

    /// For errors of an [`Upload`]'s `write`.
    pub(crate) fn writing(key: &ObjectKey, source: io::Error) -> Self {
        Self::new(format!("cannot store {key}"), source)
    }

    /// The message and the cause.
    pub(crate) fn into_parts(self) -> (String, io::Error) {
        (self.message, self.source)
    }
}
