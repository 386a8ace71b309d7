//! A vendor's bucket: objects under keys. An object appears whole or not at all.

mod capabilities;
mod conditional;
mod directory;
mod error;
#[cfg(test)]
mod pass_on;
mod probe;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

use raas_types::{Digest, ObjectKey};

pub use capabilities::{Capabilities, InterruptGuard, Provision, ServiceStatus, UploadLimits};
pub use conditional::{ConditionalWrites, Version, probe as probe_conditional_writes, put_if};
pub use directory::Directory;
pub use error::StorageError;
#[cfg(test)]
pub(crate) use pass_on::pass_on;
pub use probe::probe;

/// Where a vendor's objects are kept: what every storage can do.
///
/// The module `suite` holds the promises of the trait, as tests. [`Capabilities`] holds what only some storages can do.
pub trait Storage: Send + Sync {
    /// Begins an object. It is visible under no key before [`Upload::commit`]. An upload that is dropped before that
    /// leaves nothing behind.
    fn create(&self, options: PutOptions) -> Result<Box<dyn Upload>, StorageError>;

    /// What the storage knows of an object; `None` if there is no such object.
    fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError>;

    /// An object's bytes from the start; `None` if there is no such object.
    fn read(&self, key: &ObjectKey) -> Result<Option<Box<dyn Read + Send>>, StorageError>;

    /// Copies an object of this length. The bytes do not pass through raas.
    fn copy(&self, from: &ObjectKey, to: &ObjectKey, size: u64) -> Result<(), StorageError>;

    /// Removes an object. It is no error if there is no such object.
    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.delete_key(&key.to_string())
    }

    /// As [`delete`](Self::delete), by a key that [`list`](Self::list) gave.
    fn delete_key(&self, key: &str) -> Result<(), StorageError>;

    /// Calls `each` for every object whose key begins with the prefix, in no order. The listing shows every object that
    /// was stored before it began: the publish lease rests on this.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(ListedObject)) -> Result<(), StorageError>;

    /// Checks that the storage answers, and does not wait long for the answer.
    ///
    /// # Errors
    /// The storage does not answer. A storage that answers with a refusal is there.
    fn ping(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Removes the unfinished uploads of runs that were killed, and returns how many it removed. It leaves the uploads
    /// of a run that is alive.
    fn abort_stale_uploads(&self) -> Result<usize, StorageError>;

    /// The URL before the keys, as documents have it, without a slash at the end.
    fn base_url(&self) -> String;

    /// The name that people use for the storage: a folder's path, or a bucket's URL.
    fn display_name(&self) -> String;

    /// What this storage can do beyond the trait. The default is a storage without a service behind it.
    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities::default()
    }
}

/// What the caller knows of an object before its first byte. A storage sends less if it knows more.
#[derive(Default)]
pub struct PutOptions {
    /// The key that the object will be committed under.
    pub key: Option<ObjectKey>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Is called when bytes are stored: by a folder when they are written, by a service when it has acknowledged them.
    pub on_stored: Option<OnStored>,
}

/// Takes a number of bytes, from any thread.
pub type OnStored = Arc<dyn Fn(u64) + Send + Sync>;

impl PutOptions {
    /// For an object of a known key and length.
    pub fn of(key: &ObjectKey, size: u64) -> Self {
        Self { key: Some(key.clone()), size: Some(size), on_stored: None }
    }
}

/// An object that is being written.
pub trait Upload: Write + Send {
    /// Makes the object visible under its key, and replaces what was there before. If [`PutOptions::key`] was given, the
    /// key must be the same.
    fn commit(self: Box<Self>, key: &ObjectKey) -> Result<(), StorageError>;
}

/// What a storage knows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its length in bytes.
    pub size: u64,
    /// When it was stored, by the storage's clock.
    pub modified: SystemTime,
    /// The SHA-256 of its bytes, if the storage says it without reading them.
    pub sha256: Option<Digest>,
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedObject {
    /// The key as text.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was stored, by the storage's clock.
    pub modified: SystemTime,
    /// The MD5 of its bytes, if the storage says one. A different MD5 proves nothing: a service may put another number
    /// there, as for encrypted objects.
    pub md5: Option<[u8; 16]>,
}

/// A path as a URL has it, with its slashes. Source: RFC 3986, section 2.3.
pub fn escaped(path: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/-._~".contains(b);
    path.iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}
