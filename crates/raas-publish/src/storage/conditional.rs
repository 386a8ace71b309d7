//! Writes that happen only if the object is as expected. Not every service has them: [`probe`] finds out.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use raas_types::ObjectKey;

use super::{Storage, StorageError};

/// A version of an object, as a service names it: the entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

/// Conditional writes. A service that does not know the condition may ignore it: [`probe`] finds out.
pub trait ConditionalWrites: Send + Sync {
    /// Stores a small object if its key has the version `expected`, or no object if that is `None`. Returns the new version,
    /// or `None` if the object is another one; then nothing is written.
    ///
    /// After a lost answer, a repeated attempt meets its own write: see [`put_if`].
    fn try_put_if(
        &self,
        key: &ObjectKey,
        content: &[u8],
        expected: Option<&Version>,
    ) -> Result<Option<Version>, StorageError>;

    /// The bytes of a small object and their version; `None` if there is no such object.
    ///
    /// # Errors
    /// The service fails, or the object has more than `longest` bytes.
    fn read_version(&self, key: &ObjectKey, longest: u64)
    -> Result<Option<(Vec<u8>, Version)>, StorageError>;

    /// The same storage, for another thread.
    fn handle(&self) -> Arc<dyn ConditionalWrites>;
}

/// As [`ConditionalWrites::try_put_if`], and also succeeds if the object has this content already: an attempt of this write
/// may have done it and lost its answer.
pub fn put_if(
    writes: &dyn ConditionalWrites,
    key: &ObjectKey,
    content: &[u8],
    expected: Option<&Version>,
) -> Result<Option<Version>, StorageError> {
    if let Some(version) = writes.try_put_if(key, content, expected)? {
        return Ok(Some(version));
    }
    let found = writes.read_version(key, content.len() as u64 + 1)?;
    Ok(found.filter(|(bytes, _)| bytes == content).map(|(_, version)| version))
}

/// How many writers race for one key in the probe.
const RACERS: usize = 6;

/// Whether the service keeps the promises of [`ConditionalWrites`]: it refuses each write whose condition does not hold, and
/// of several writers at once one succeeds. Leaves nothing behind.
///
/// # Errors
/// The service does not answer. A refusal means that it has no conditional writes.
pub fn probe(storage: &dyn Storage) -> Result<bool, StorageError> {
    let Some(writes) = storage.capabilities().conditional_writes else { return Ok(false) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let key = |name: &str| ObjectKey::Probe(format!("{}-{now}-{name}", std::process::id()));
    let keys = [key("conditional"), key("race")];
    let kept = keeps_conditions(storage, writes, &keys[0])
        .and_then(|kept| Ok(kept && lets_one_win(writes, &keys[1])?));
    let deleted = keys.iter().try_for_each(|key| storage.delete(key));
    match kept {
        Err(error) if error.is_unanswered() => Err(error),
        Err(_) => deleted.map(|()| false),
        Ok(kept) => deleted.map(|()| kept),
    }
}

fn keeps_conditions(
    storage: &dyn Storage,
    writes: &dyn ConditionalWrites,
    key: &ObjectKey,
) -> Result<bool, StorageError> {
    let Some(first) = writes.try_put_if(key, b"one", None)? else { return Ok(false) };
    let other = Version("\"00000000000000000000000000000000\"".into());
    if writes.try_put_if(key, b"two", None)?.is_some()
        || writes.try_put_if(key, b"two", Some(&other))?.is_some()
        || writes.read_version(key, 16)? != Some((b"one".to_vec(), first.clone()))
    {
        return Ok(false);
    }
    let Some(second) = writes.try_put_if(key, b"three", Some(&first))? else { return Ok(false) };
    if writes.try_put_if(key, b"four", Some(&first))?.is_some()
        || writes.read_version(key, 16)? != Some((b"three".to_vec(), second.clone()))
    {
        return Ok(false);
    }
    storage.delete(key)?;
    Ok(writes.try_put_if(key, b"five", Some(&second))?.is_none() && storage.stat(key)?.is_none())
}

/// Whether exactly one of several writers at once makes an object.
fn lets_one_win(writes: &dyn ConditionalWrites, key: &ObjectKey) -> Result<bool, StorageError> {
    let results: Vec<_> = thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| scope.spawn(move || writes.try_put_if(key, racer.to_string().as_bytes(), None)))
            .collect();
        let join = |racer: thread::ScopedJoinHandle<'_, _>| {
            racer.join().unwrap_or_else(|_| {
                Err(StorageError::new("cannot probe the storage", io::Error::other("a thread panicked")))
            })
        };
        racers.into_iter().map(join).collect()
    });
    let mut winners = 0;
    for result in results {
        winners += usize::from(result?.is_some());
    }
    Ok(winners == 1)
}
