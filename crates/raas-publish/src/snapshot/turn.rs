//! Whose turn it is to publish, where several homes publish to one bucket.
//!
//! Who wants to publish puts an object of its own beside those of others, and *then* lists them. It has its turn if it
//! sees no other one; else it takes its object away and tries again after a while. Of two who come at once at least
//! the later one to write sees the other, since a listing shows what was written before: both may step back, and never
//! do both go on. That needs nothing of the service but that.
//!
//! A turn is a lease. Who holds one puts a new object in the place of its old one from time to time ([`Turn::keep`]), and
//! one that is older than [`LEASE`], by the service's own clock, is taken away by others; whoever takes one away lists
//! once more before it goes on. So a machine that dies keeps others waiting for minutes, and not for ever. Who finds its
//! object gone has lost its turn, and publishes nothing more; it looks right before it writes the pointer
//! ([`Turn::confirm`]).
//!
//! A home notes the object that it has put there, so that it knows it for its own and dead after a kill. One that gives up
//! in its turn says that it is dead. The object names the repositories whose objects may be half changed: whoever takes it
//! away puts its name to them first, and puts them right.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use raas_types::{ObjectKey, RepositoryName, Utc};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::storage::{Draft, Listed, Storage, StorageError};
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::{Say, files};

/// For how long a turn is its holder's without a word.
const LEASE: Duration = Duration::from_secs(5 * 60);

/// The longest object of a turn that is read, in bytes.
const MAX_SIZE: u64 = 4096;

/// Who publishes to a bucket, and what: the content of a turn's object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// The machine, for people.
    pub host: String,
    /// The process there, for people.
    pub process: u32,
    /// Since when it waits or publishes, by its own clock, for people.
    pub since: String,
    /// The repositories whose objects it may leave half changed.
    #[serde(default)]
    pub repositories: BTreeSet<RepositoryName>,
}

impl Holder {
    /// This process.
    pub fn new(repository: Option<&RepositoryName>) -> Self {
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            since: Utc::of(SystemTime::now()).to_string(),
            repositories: repository.into_iter().cloned().collect(),
        }
    }
}

impl Holder {
    fn content(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a holder has text keys only")
    }
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
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
pub struct Turn<'a> {
    storage: &'a dyn Storage,
    key: ObjectKey,
    holder: Holder,
    /// Where the home notes the key.
    note: PathBuf,
    lease: Duration,
    /// When its object was begun to be written.
    since: Duration,
    /// The repositories that others, who died in their turn, may have left half changed.
    abandoned: BTreeSet<RepositoryName>,
    /// Whether this home leaves something half changed itself.
    dies: bool,
    say: Say,
}

impl<'a> Turn<'a> {
    /// Waits until nobody else publishes. The caller holds the vendor's lock in its home, which notes its turns in a
    /// file.
    ///
    /// # Errors
    /// Others have published for longer than any of them may without a word.
    pub fn take(
        storage: &'a dyn Storage,
        publisher: &Holder,
        note: &Path,
        patience: &Patience,
        say: &Say,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let mut told = false;
        // Of a run of this home that was killed.
        let dead = fs::read_to_string(note).ok().filter(|key| key.starts_with(ObjectKey::TURNS));
        loop {
            let mut turn = Self::put(storage, publisher, note, patience.lease, say)?;
            let Some(other) = turn.other(dead.as_deref())? else { return Ok(turn) };
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
                say.line(&format!("Waiting: {} publishes at the moment", describe(storage, &other)));
            }
            // By chance, so that two who have met do not meet again.
            thread::sleep(patience.pause.mul_f64(0.1 + 0.9 * fastrand::f64()));
        }
    }

    /// As [`keep`](Self::keep), where there may be no turn, since nobody else publishes there.
    pub fn keep_any(turn: Option<&mut Self>) -> Result<(), Failure> {
        turn.map_or(Ok(()), Self::keep)
    }

    /// Says that this home is still at it, where that is due. To be called now and then.
    ///
    /// # Errors
    /// It was silent for so long that somebody else may publish.
    pub fn keep(&mut self) -> Result<(), Failure> {
        if awake().saturating_sub(self.since) < self.lease / 4 {
            return Ok(());
        }
        // A new one, and not the old one again: it may have been taken away.
        let next = ObjectKey::Turn(name());
        let since = awake();
        note_down(&self.note, &next)?;
        self.guard(&next);
        if let Err(error) = write(self.storage, &next, &self.holder.content()) {
            self.storage.unguard(&next);
            return Err(error.into());
        }
        let confirmed = self.confirm();
        let old = std::mem::replace(&mut self.key, next);
        self.since = since;
        let removed = self.storage.delete(&old);
        self.storage.unguard(&old);
        confirmed?;
        Ok(removed?)
    }

    /// The repositories that others may have left half changed.
    pub fn abandoned(&self) -> Vec<RepositoryName> {
        self.abandoned.iter().cloned().collect()
    }

    /// They are as they should be again.
    pub fn put_right(&mut self) {
        self.abandoned.clear();
    }

    /// To be called right before what others must not see undone.
    ///
    /// # Errors
    /// Somebody has taken its object away, or soon may.
    pub fn confirm(&self) -> Result<(), Failure> {
        // What follows must arrive before the lease is over.
        if self.is_held()? && awake().saturating_sub(self.since) < self.lease / 2 {
            return Ok(());
        }
        Err(self.lost())
    }

    /// Whether nobody has taken its object away.
    pub fn is_held(&self) -> Result<bool, Failure> {
        let own = self.key.to_string();
        let mut there = false;
        self.storage.list(ObjectKey::TURNS, &mut |listed| there |= listed.key == own)?;
        Ok(there)
    }

    /// What is to be said when it is over.
    pub fn lost(&self) -> Failure {
        let message = format!("publishing to {} took too long, and others may publish", self.storage.place());
        Failure::new(Kind::Environment, message)
            .hint("is the machine or its network very slow, or was it asleep? push again")
    }

    /// Ends the turn as if this home had died in it: whoever has the next one puts right what is half changed.
    pub fn die(&mut self) {
        self.dies = true;
    }

    fn guard(&self, key: &ObjectKey) {
        self.storage.guard(key, &dead(key), &self.holder.content());
    }

    fn put(
        storage: &'a dyn Storage,
        publisher: &Holder,
        note: &Path,
        lease: Duration,
        say: &Say,
    ) -> Result<Self, Failure> {
        let key = ObjectKey::Turn(name());
        note_down(note, &key)?;
        let since = awake();
        let (holder, note) = (publisher.clone(), note.to_owned());
        // Made first, so that the object goes even if its writing fails with it there.
        let say = say.clone();
        let turn =
            Self { storage, key, holder, note, lease, since, abandoned: BTreeSet::new(), dies: false, say };
        turn.guard(&turn.key);
        write(storage, &turn.key, &turn.holder.content())?;
        Ok(turn)
    }

    /// The key of another one's object, if there is one. Those of the dead are removed.
    fn other(&mut self, own_dead: Option<&str>) -> Result<Option<String>, Failure> {
        let own_key = self.key.to_string();
        loop {
            let (mut own, mut others) = (None, Vec::new());
            self.storage.list(ObjectKey::TURNS, &mut |listed| {
                if listed.key == own_key {
                    own = Some(listed.modified);
                } else {
                    others.push(listed);
                }
            })?;
            let Some(now) = own else {
                let message =
                    format!("{} does not list an object that was just stored", self.storage.place());
                return Err(Failure::new(Kind::Environment, message)
                    .hint("several homes can publish only where a listing shows what was stored before"));
            };
            let is_dead = |other: &Listed| {
                let silent = now.duration_since(other.modified).unwrap_or_default();
                silent > self.lease
                    || other.key.starts_with(ObjectKey::DEAD_TURNS)
                    || own_dead == Some(other.key.as_str())
            };
            let (dead, living): (Vec<_>, Vec<_>) = others.into_iter().partition(is_dead);
            for dead in &dead {
                self.bury(&dead.key)?;
            }
            // After a burial once more: who was taken for dead may have put a new object there just then.
            if !living.is_empty() || dead.is_empty() {
                return Ok(living.into_iter().next().map(|other| other.key));
            }
        }
    }
}

impl Turn<'_> {
    /// Takes over from somebody who died in its turn.
    fn bury(&mut self, key: &str) -> Result<(), Failure> {
        let left = read(self.storage, key).map(|holder| holder.repositories).unwrap_or_default();
        if !left.is_empty() {
            self.abandoned.extend(left.iter().cloned());
            self.holder.repositories.extend(left);
            self.guard(&self.key);
            write(self.storage, &self.key, &self.holder.content())?;
        }
        Ok(self.storage.delete_key(key)?)
    }

    /// Says that this home is dead, if it leaves something half changed; whether that is said.
    fn say_dead(&self) -> Result<(), StorageError> {
        if !self.dies && self.abandoned.is_empty() {
            return Ok(());
        }
        write(self.storage, &dead(&self.key), &self.holder.content())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        match self.say_dead().and_then(|()| self.storage.delete(&self.key)) {
            Ok(()) => drop(fs::remove_file(&self.note)),
            // It is known to be dead by this home, and ends by itself for others.
            Err(error) => self.say.line(&format!(
                "Note: {} may be left behind, and then keeps other homes waiting for {} minutes: {error}",
                self.key,
                self.lease.as_secs() / 60
            )),
        }
        self.storage.unguard(&self.key);
    }
}

/// How long this machine has been up, also while it was asleep.
fn awake() -> Duration {
    let since = clock_gettime(ClockId::Boottime);
    Duration::new(since.tv_sec.try_into().unwrap_or(0), since.tv_nsec.try_into().unwrap_or(0))
}

/// A name that no two turns have.
fn name() -> String {
    format!("{:032x}", fastrand::u128(..))
}

fn note_down(note: &Path, key: &ObjectKey) -> Result<(), Failure> {
    files::replace(note, key.to_string().as_bytes()).context(|| format!("cannot write {}", note.display()))
}

fn write(storage: &dyn Storage, key: &ObjectKey, content: &[u8]) -> Result<(), StorageError> {
    let mut upload = storage.create(Draft::of(key, content.len() as u64))?;
    upload.write_all(content).map_err(|error| StorageError::writing(key, error))?;
    upload.commit(key)
}

/// The key that says that the holder of a turn is dead.
fn dead(key: &ObjectKey) -> ObjectKey {
    let key = key.to_string();
    let name = key.strip_prefix(ObjectKey::TURNS).unwrap_or(&key);
    ObjectKey::Turn(format!("dead-{}", name.trim_start_matches("dead-")))
}

fn read(storage: &dyn Storage, key: &str) -> Option<Holder> {
    let name = key.strip_prefix(ObjectKey::TURNS)?;
    let mut bytes = Vec::new();
    let content = storage.read(&ObjectKey::Turn(name.to_owned())).ok()??;
    content.take(MAX_SIZE).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Who holds a turn, for people's eyes.
fn describe(storage: &dyn Storage, key: &str) -> String {
    match read(storage, key) {
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

    struct Bench {
        folder: tempfile::TempDir,
        storage: Directory,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let storage = Directory::new(folder.path().join("bucket"));
            Self { folder, storage }
        }

        fn take(&self, home: &str, patience: &Patience) -> Result<Turn<'_>, Failure> {
            let publisher = Holder::new(Some(&home.parse().unwrap()));
            Turn::take(&self.storage, &publisher, &self.folder.path().join(home), patience, &Say::nothing())
        }

        fn left(&self) -> usize {
            let mut left = 0;
            self.storage.list("", &mut |_| left += 1).unwrap();
            left
        }

        /// As if it had been written so long ago.
        fn age(&self, key: &ObjectKey, by: Duration) {
            let path = self.folder.path().join("bucket").join(key.to_string());
            let file = fs::File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        }
    }

    #[test]
    fn one_at_a_time_has_its_turn() {
        let bench = Bench::new();
        let (inside, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for home in 0..4 {
                let (bench, inside, turns) = (&bench, &inside, &turns);
                scope.spawn(move || {
                    for _ in 0..5 {
                        let mut turn = bench.take(&format!("home{home}"), &HASTY).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two publish at once");
                        thread::sleep(Duration::from_millis(1));
                        turn.keep().unwrap();
                        turn.confirm().unwrap();
                        turns.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((turns.into_inner(), bench.left()), (20, 0));
    }

    #[test]
    fn the_dead_are_not_waited_for_and_what_they_worked_on_is_told() {
        let bench = Bench::new();
        // Of the same home: it was killed, whenever that was.
        std::mem::forget(bench.take("one", &HASTY).unwrap());
        let turn = bench.take("one", &HASTY).unwrap();
        assert_eq!(turn.abandoned(), ["one".parse().unwrap()]);
        // It gives up without having put it right, and says so; the next one that has its turn does not wait.
        drop(turn);
        let mut turn = bench.take("two", &HASTY).unwrap();
        assert_eq!(turn.abandoned(), ["one".parse().unwrap()]);
        turn.put_right();
        drop(turn);
        assert_eq!(bench.left(), 0);
        // Of another home, and silent for longer than it may be.
        let other = std::mem::ManuallyDrop::new(bench.take("other", &HASTY).unwrap());
        bench.age(&other.key, HASTY.lease * 2);
        let mut turn = bench.take("one", &HASTY).unwrap();
        assert_eq!(turn.abandoned(), ["other".parse().unwrap()]);
        turn.put_right();
        drop(turn);
        assert_eq!(bench.left(), 0);
        assert!(other.confirm().is_err(), "its turn was taken away");
    }

    #[test]
    fn a_home_that_was_copied_waits_for_the_other_one() {
        let bench = Bench::new();
        let original = bench.take("home", &HASTY).unwrap();
        // The copy has no note of what the original does since.
        let impatient = Patience { most: Duration::from_millis(30), ..HASTY };
        assert!(bench.take("copy", &impatient).is_err());
        original.confirm().unwrap();
    }

    #[test]
    fn whoever_is_not_heard_of_for_long_publishes_nothing_more() {
        let bench = Bench::new();
        let mut turn = bench.take("one", &HASTY).unwrap();
        let first = turn.key.clone();
        turn.keep().unwrap();
        assert_eq!(turn.key, first, "it was just written");
        turn.since = awake() - HASTY.lease / 3;
        turn.keep().unwrap();
        assert!(turn.key != first && bench.left() == 1);
        turn.confirm().unwrap();
        turn.since = awake() - HASTY.lease;
        assert!(turn.confirm().unwrap_err().to_string().contains("took too long"));
        // Somebody was faster: no new object is worth anything.
        turn.since = awake() - HASTY.lease / 2;
        bench.storage.delete(&turn.key).unwrap();
        assert!(turn.confirm().is_err());
    }

    #[test]
    fn who_is_waited_for_in_vain_is_named() {
        let bench = Bench::new();
        let _turn = bench.take("one", &HASTY).unwrap();
        let impatient = Patience { most: Duration::from_millis(30), ..HASTY };
        let failed = bench.take("two", &impatient).map(drop).unwrap_err().to_string();
        assert!(failed.contains(&format!("process {}", std::process::id())), "{failed}");
        assert_eq!(bench.left(), 1);
    }
}
