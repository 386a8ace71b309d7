//! Whose turn it is to publish, where several homes publish to one bucket.
//!
//! Who wants to publish puts an object of its own beside those of others, and *then* lists them. It has its turn if it
//! sees no other one; else it takes its object away and tries again after a while. Of two who come at once at least
//! the later one to write sees the other, since a listing shows what was written before: both may step back, and never
//! do both go on. That needs nothing of the service but that.
//!
//! A turn is a lease. Who holds one writes its object anew from time to time, and one that was not for [`LEASE`], by
//! the service's own clock, is taken away by others; who was away for that long, by its own clock, publishes nothing
//! more. So a machine that dies keeps others waiting for minutes, and not for ever; one of the same home is known to
//! be dead at once, since a home has a lock.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use raas_types::{ObjectKey, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind};
use crate::output;
use crate::storage::{Draft, Storage, StorageError};

/// For how long a turn is its holder's without a word.
const LEASE: Duration = Duration::from_secs(5 * 60);

/// The longest object of a turn that is read, in bytes.
const MAX_SIZE: u64 = 4096;

/// A home that publishes to a bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Publisher {
    /// Tells homes apart.
    pub(crate) home: String,
    /// The machine, for people.
    pub(crate) host: String,
    /// The process there, for people.
    pub(crate) process: u32,
    /// Since when it waits or publishes, by its own clock, for people.
    pub(crate) since: String,
}

impl Publisher {
    /// This process, of a home with this id.
    pub(crate) fn new(home: &str) -> Self {
        Self {
            home: home.to_owned(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            since: Utc::of(SystemTime::now()).to_string(),
        }
    }
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// See [`LEASE`].
    lease: Duration,
    /// Until it is told who is waited for.
    quiet: Duration,
    /// The longest pause between two tries.
    pause: Duration,
    /// Until it is given up.
    most: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lease: LEASE,
            quiet: Duration::from_secs(2),
            pause: Duration::from_secs(1),
            most: LEASE + LEASE / 4,
        }
    }
}

/// The turn of this home, until it is dropped.
pub(crate) struct Turn<'a> {
    storage: &'a dyn Storage,
    key: ObjectKey,
    content: Vec<u8>,
    lease: Duration,
    /// When its object was last begun to be written.
    since: Instant,
}

impl<'a> Turn<'a> {
    /// Waits until nobody else publishes. The caller holds the vendor's lock in its home.
    ///
    /// # Errors
    /// Others have published for longer than any of them may without a word.
    pub(crate) fn take(
        storage: &'a dyn Storage,
        publisher: &Publisher,
        patience: &Patience,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            let turn = Self::put(storage, publisher, patience.lease)?;
            let Some(other) = turn.other(&publisher.home)? else { return Ok(turn) };
            drop(turn);
            let waited = begun.elapsed();
            if waited > patience.most {
                let who = describe(storage, &other);
                let message =
                    format!("{} is taken: {who} has been publishing there all the time", storage.place());
                return Err(Failure::new(Kind::Environment, message)
                    .caused_by(format!("waited for {} s", waited.as_secs()))
                    .hint("nothing was published; see what that one does, or push again"));
            }
            if waited > patience.quiet && !told {
                told = true;
                output::error(&format!("Waiting: {} publishes at the moment", describe(storage, &other)));
            }
            // By chance, so that two who have met do not meet again.
            thread::sleep(patience.pause.mul_f64(0.1 + 0.9 * fastrand::f64()));
        }
    }

    /// Says that this home is still at it, where that is due. To be called before every step that others must not
    /// see undone.
    ///
    /// # Errors
    /// It was away for so long that somebody else may publish.
    pub(crate) fn keep(&mut self) -> Result<(), Failure> {
        if self.since.elapsed() < self.lease / 4 {
            return Ok(());
        }
        let now = Instant::now();
        write(self.storage, &self.key, &self.content)?;
        if self.since.elapsed() >= self.lease {
            let message =
                format!("publishing to {} took too long, and others may publish", self.storage.place());
            return Err(Failure::new(Kind::Environment, message)
                .hint("is the machine or its network very slow, or was it asleep? push again"));
        }
        self.since = now;
        Ok(())
    }

    fn put(storage: &'a dyn Storage, publisher: &Publisher, lease: Duration) -> Result<Self, Failure> {
        let key = ObjectKey::Turn(format!("{}-{:016x}", publisher.home, fastrand::u64(..)));
        let content = serde_json::to_vec(publisher).expect("a publisher has text keys only");
        let since = Instant::now();
        // Made first, so that the object goes even if its writing fails with it there.
        let turn = Self { storage, key, content, lease, since };
        write(storage, &turn.key, &turn.content)?;
        Ok(turn)
    }

    /// The key of another one's object, if there is one. Those of the dead are removed.
    fn other(&self, home: &str) -> Result<Option<String>, Failure> {
        let own_key = self.key.to_string();
        let (mut own, mut others) = (None, Vec::new());
        self.storage.list(ObjectKey::TURNS, &mut |listed| {
            if listed.key == own_key {
                own = Some(listed.modified);
            } else {
                others.push(listed);
            }
        })?;
        let Some(now) = own else {
            let message = format!("{} does not list an object that was just stored", self.storage.place());
            return Err(Failure::new(Kind::Environment, message)
                .hint("several homes can publish only where a listing shows what was stored before"));
        };
        let same_home = format!("{}{home}-", ObjectKey::TURNS);
        let mut living = None;
        for other in others {
            let silent = now.duration_since(other.modified).unwrap_or_default();
            if other.key.starts_with(&same_home) || silent > self.lease {
                self.storage.delete_key(&other.key)?;
            } else {
                living = Some(other.key);
            }
        }
        Ok(living)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // One that stays ends by itself.
        drop(self.storage.delete(&self.key));
    }
}

fn write(storage: &dyn Storage, key: &ObjectKey, content: &[u8]) -> Result<(), StorageError> {
    let mut upload = storage.create(Draft::of(key, content.len() as u64))?;
    upload.write_all(content).map_err(|error| StorageError::writing(key, error))?;
    upload.commit(key)
}

/// Who holds a turn, for people's eyes.
fn describe(storage: &dyn Storage, key: &str) -> String {
    let name = key.strip_prefix(ObjectKey::TURNS).unwrap_or(key);
    let read = || {
        let mut bytes = Vec::new();
        let content = storage.read(&ObjectKey::Turn(name.to_owned())).ok()??;
        content.take(MAX_SIZE).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice::<Publisher>(&bytes).ok()
    };
    match read() {
        Some(who) => format!("process {} of {}, since {}", who.process, who.host, who.since),
        None => "somebody else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::storage::Directory;

    const HASTY: Patience = Patience {
        lease: Duration::from_secs(60),
        quiet: Duration::from_secs(60),
        pause: Duration::from_millis(10),
        most: Duration::from_secs(60),
    };

    fn left(storage: &Directory) -> usize {
        let mut left = 0;
        storage.list("", &mut |_| left += 1).unwrap();
        left
    }

    #[test]
    fn one_at_a_time_has_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let (inside, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for home in 0..4 {
                let (storage, inside, turns) = (&storage, &inside, &turns);
                scope.spawn(move || {
                    let publisher = Publisher::new(&format!("home{home}"));
                    for _ in 0..5 {
                        let mut turn = Turn::take(storage, &publisher, &HASTY).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two publish at once");
                        thread::sleep(Duration::from_millis(1));
                        turn.keep().unwrap();
                        turns.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((turns.into_inner(), left(&storage)), (20, 0));
    }

    #[test]
    fn the_dead_are_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let (one, other) = (Publisher::new("one"), Publisher::new("other"));
        // Of the same home: it was killed, whenever that was.
        std::mem::forget(Turn::take(&storage, &one, &HASTY).unwrap());
        drop(Turn::take(&storage, &one, &HASTY).unwrap());
        // Of another home, and silent for longer than it may be.
        let brief = Patience { lease: Duration::from_millis(200), ..HASTY };
        std::mem::forget(Turn::take(&storage, &other, &brief).unwrap());
        drop(Turn::take(&storage, &one, &brief).unwrap());
        assert_eq!(left(&storage), 0);
    }

    #[test]
    fn whoever_is_not_heard_of_for_long_publishes_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let mut turn = Turn::take(&storage, &Publisher::new("one"), &HASTY).unwrap();
        let first = storage.stat(&turn.key).unwrap().unwrap().modified;
        turn.keep().unwrap();
        assert_eq!(storage.stat(&turn.key).unwrap().unwrap().modified, first, "it was just written");
        turn.since = Instant::now() - HASTY.lease / 2;
        turn.keep().unwrap();
        assert!(storage.stat(&turn.key).unwrap().unwrap().modified > first);
        turn.since = Instant::now() - HASTY.lease;
        assert!(turn.keep().unwrap_err().to_string().contains("took too long"));
    }

    #[test]
    fn who_is_waited_for_in_vain_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let _turn = Turn::take(&storage, &Publisher::new("one"), &HASTY).unwrap();
        let impatient = Patience { most: Duration::from_millis(30), ..HASTY };
        let failed =
            Turn::take(&storage, &Publisher::new("two"), &impatient).map(drop).unwrap_err().to_string();
        assert!(failed.contains(&format!("process {}", std::process::id())), "{failed}");
        assert_eq!(left(&storage), 1);
    }
}
