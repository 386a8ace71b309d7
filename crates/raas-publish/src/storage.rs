//! A vendor's bucket: objects under keys, written whole or not at all.

mod directory;
mod probe;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

use raas_base::failure::{Failure, Kind};
use raas_types::ObjectKey;

pub use directory::Directory;
pub use probe::probe;

/// Where a vendor's objects are kept. What every implementation promises stands in `suite.rs`, as tests.
pub trait Storage: Send + Sync {
    /// Begins an object. It is visible under no key before [`Upload::commit`], and leaves nothing behind when it
    /// is dropped before.
    fn create(&self, draft: Draft) -> Result<Box<dyn Upload>, StorageError>;

    /// What is known of an object without reading it; `None` if there is none.
    fn stat(&self, key: &ObjectKey) -> Result<Option<Found>, StorageError>;

    /// An object's bytes; `None` if there is none.
    fn read(&self, key: &ObjectKey) -> Result<Option<Box<dyn Read + Send>>, StorageError>;

    /// Makes an object of another one of this length, without moving its bytes through raas.
    fn copy(&self, from: &ObjectKey, to: &ObjectKey, size: u64) -> Result<(), StorageError>;

    /// Removes an object; one that is not there is removed already.
    fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.delete_key(&key.to_string())
    }

    /// As [`delete`](Self::delete), by a key that [`list`](Self::list) gave.
    fn delete_key(&self, key: &str) -> Result<(), StorageError>;

    /// Names each object whose key begins with the prefix, in no order.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed)) -> Result<(), StorageError>;

    /// Asks whether it is there at all, and does not wait long for the answer. Whether it does what it should shows when it
    /// is asked for that.
    fn reach(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Removes what runs that were killed have left of unfinished uploads, and says how much of it there was. A run
    /// that still lives keeps its own.
    fn sweep(&self) -> Result<usize, StorageError>;

    /// Sees to it that the storage is there and as the configuration says, and tells what was done and found, a line
    /// each. With `create` a bucket that is missing is made and set up. One that everybody may write to is refused.
    fn prepare(&self, create: bool) -> Result<Vec<String>, StorageError> {
        let _ = create;
        Ok(Vec::new())
    }

    /// What a person should know of the storage, as far as it has shown: a line each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// What time it is by the clock that [`Found::modified`] is of, as far as the storage has shown.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// From now on, an interruption of this run puts another object in the place of this one before the program ends.
    fn guard(&self, key: &ObjectKey, instead: &ObjectKey, content: &[u8]) {
        let _ = (key, instead, content);
    }

    /// The object has gone, or may stay.
    fn unguard(&self, key: &ObjectKey) {
        let _ = key;
    }

    /// The URL before the keys, as it stands in documents, without a slash at the end.
    fn base_url(&self) -> String;

    /// What people call it: a folder's path, or the bucket's name.
    fn place(&self) -> String;

    /// How many layers at once it takes with profit, each of so many uploads side by side: one or two. With more of two,
    /// all might wait for one another.
    fn in_flight(&self, uploads_each: usize) -> usize;

    /// The requests that were made to a service so far, repeated ones each time; `None` where there is no service.
    fn requests(&self) -> Option<u64> {
        None
    }
}

/// What is known of an object before its first byte. The more that is, the less is sent.
#[derive(Default)]
pub struct Draft {
    /// The key that it will be committed under.
    pub key: Option<ObjectKey>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Is told of bytes that are stored for good, as far as the storage knows: on a disk those that are written, in a
    /// service those that it has acknowledged.
    pub on_stored: Option<OnStored>,
}

/// Takes a number of bytes, from any thread.
pub type OnStored = Arc<dyn Fn(u64) + Send + Sync>;

impl Draft {
    /// An object of a known key and length.
    pub fn of(key: &ObjectKey, size: u64) -> Self {
        Self { key: Some(key.clone()), size: Some(size), on_stored: None }
    }
}

/// An object in the making.
pub trait Upload: Write + Send {
    /// Makes the object visible under its key, whole; what was there before is replaced. Where the draft named a key,
    /// it is that one.
    fn commit(self: Box<Self>, key: &ObjectKey) -> Result<(), StorageError>;
}

/// What is known of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its length in bytes.
    pub size: u64,
    /// When it was stored, by the storage's clock.
    pub modified: SystemTime,
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The key as text.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was stored, by the storage's clock.
    pub modified: SystemTime,
    /// What the storage says to be the MD5 of its bytes, where it says one. It may be wrong (an encrypted object has
    /// something else there), so that a difference proves nothing.
    pub md5: Option<[u8; 16]>,
}

/// A storage that does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    message: String,
    source: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
    unanswered: bool,
}

impl StorageError {
    /// An error with what failed, on what, and why.
    pub fn new(message: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { message: message.into(), source: source.into(), hint: None, unanswered: false }
    }

    /// Adds what the user can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what the user can do, where nothing better is known.
    pub fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Says that the service has not answered at all.
    pub fn unanswered(self) -> Self {
        Self { unanswered: true, ..self }
    }

    /// Whether the service has not answered at all: asking for something else takes as long, and comes to the same.
    pub fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    /// For errors of an [`Upload`]'s `write`.
    pub fn writing(key: &ObjectKey, source: io::Error) -> Self {
        // A storage that says more than the system does is left to say it.
        match source.downcast::<StorageError>() {
            Ok(error) => error,
            Err(source) => Self::new(format!("cannot store {key}"), source),
        }
    }

    /// The message, the cause, and what to do.
    pub fn into_parts(self) -> (String, Box<dyn Error + Send + Sync>, Option<String>) {
        (self.message, self.source, self.hint)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let (message, source, hint) = error.into_parts();
        Failure::new(Kind::Environment, message).caused_by(source).hint_if(hint)
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        io::Error::other(error)
    }
}

/// A path as it stands in a URL, its slashes kept. Source: RFC 3986, section 2.3.
pub fn escaped(path: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/-._~".contains(b);
    path.iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}
