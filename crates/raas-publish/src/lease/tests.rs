use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::*;
use crate::storage::{Capabilities, Directory, InterruptGuard, PutOptions, Version, pass_on};

const SHORT: LeaseTiming = LeaseTiming {
    lease: Duration::from_secs(60),
    short_lease: Duration::from_secs(20),
    quiet_wait: Duration::from_secs(60),
    longest_pause: Duration::from_millis(10),
    longest_wait: Duration::from_secs(60),
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

    fn acquire(&self, home: &str, timing: &LeaseTiming) -> Result<PublishLease<'_>, Failure> {
        let holder = LeaseHolder::new(Some(&home.parse().unwrap()));
        let note = self.folder.path().join(home);
        let place = LeasePlace { storage: &self.storage, conditional: None, note };
        PublishLease::acquire(&place, &holder, timing, &Say::nothing())
    }

    fn left(&self) -> usize {
        let mut left = 0;
        self.storage.list("", &mut |_| left += 1).unwrap();
        left
    }

    /// Makes an object look as old as this.
    fn age(&self, key: &ObjectKey, by: Duration) {
        let path = self.folder.path().join("bucket").join(key.to_string());
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    }
}

#[test]
fn only_one_home_holds_the_lease() {
    let bench = Bench::new();
    let (inside, leases) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for home in 0..4 {
            let (bench, inside, leases) = (&bench, &inside, &leases);
            scope.spawn(move || {
                for _ in 0..5 {
                    let mut lease = bench.acquire(&format!("home{home}"), &SHORT).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two publish at once");
                    thread::sleep(Duration::from_millis(1));
                    lease.renew().unwrap();
                    lease.ensure_held().unwrap();
                    leases.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!((leases.into_inner(), bench.left()), (20, 0));
}

#[test]
fn a_killed_holder_is_reclaimed_and_its_repositories_are_named() {
    let bench = Bench::new();
    // A killed run of the same home, however long ago.
    std::mem::forget(bench.acquire("one", &SHORT).unwrap());
    let lease = bench.acquire("one", &SHORT).unwrap();
    assert_eq!(lease.unrepaired(), ["one".parse().unwrap()]);
    // This lease ends without a repair and is abandoned. The next holder does not wait.
    drop(lease);
    let note = fs::read_to_string(bench.folder.path().join("one")).unwrap();
    assert!(
        note.starts_with("_turns/dead-") && note.lines().count() == 1,
        "its own next run repairs it: {note}"
    );
    let mut lease = bench.acquire("two", &SHORT).unwrap();
    assert_eq!(lease.unrepaired(), ["one".parse().unwrap()]);
    lease.mark_repaired();
    drop(lease);
    assert_eq!(bench.left(), 0);
    // A run of another home that has not renewed its lease in time.
    let other = std::mem::ManuallyDrop::new(bench.acquire("other", &SHORT).unwrap());
    bench.age(&other.key, SHORT.lease * 2);
    let mut lease = bench.acquire("one", &SHORT).unwrap();
    assert_eq!(lease.unrepaired(), ["other".parse().unwrap()]);
    lease.mark_repaired();
    drop(lease);
    assert_eq!(bench.left(), 0);
    assert!(other.ensure_held().is_err(), "its lease was reclaimed");
}

#[test]
fn kills_in_a_row_do_not_make_a_home_wait_for_itself() {
    let bench = Bench::new();
    let impatient = LeaseTiming { longest_wait: Duration::from_millis(30), ..SHORT };
    // The second run is killed when it has stored its own lease, and has not reclaimed that of the first.
    std::mem::forget(bench.acquire("one", &SHORT).unwrap());
    let note = bench.folder.path().join("one");
    let place = LeasePlace { storage: &bench.storage, conditional: None, note: note.clone() };
    let holder = LeaseHolder::new(None);
    std::mem::forget(PublishLease::store(&place, &holder, &SHORT, &Say::nothing()).unwrap());
    assert_eq!(bench.left(), 2);
    assert!(bench.acquire("two", &impatient).is_err(), "another home must wait");
    let mut lease = bench.acquire("one", &impatient).unwrap();
    assert_eq!(lease.unrepaired(), ["one".parse().unwrap()]);
    lease.mark_repaired();
    lease.release().unwrap();
    assert_eq!((bench.left(), note.exists()), (0, false));
}

#[test]
fn a_lease_that_cannot_be_released_is_an_error() {
    let bench = Bench::new();
    let lease = bench.acquire("one", &SHORT).unwrap();
    // A folder of this name cannot be removed as a file.
    let path = bench.folder.path().join("bucket").join(lease.key.to_string());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("x"), "").unwrap();
    let failed = lease.release().unwrap_err().to_string();
    assert!(
        failed.contains("keeps other homes waiting for 60 s") && failed.contains("hint: run"),
        "{failed}"
    );
    assert!(bench.folder.path().join("one").exists(), "the next run of this home reclaims it");
}

/// A folder with conditional writes.
struct Service {
    storage: Directory,
    lock: Arc<std::sync::Mutex<()>>,
}

impl Service {
    fn new(root: &Path) -> Self {
        Self { storage: Directory::new(root.to_owned()), lock: Arc::default() }
    }

    fn version(bytes: &[u8]) -> Version {
        Version(raas_types::Digest::of(bytes).to_string())
    }
}

impl ConditionalWrites for Service {
    fn try_put_if(
        &self,
        key: &ObjectKey,
        content: &[u8],
        expected: Option<&Version>,
    ) -> Result<Option<Version>, StorageError> {
        let _lock = self.lock.lock().unwrap();
        let found = self.read_version(key, u64::MAX)?.map(|(_, version)| version);
        if found.as_ref() != expected {
            return Ok(None);
        }
        let mut upload = self.storage.create(PutOptions::default())?;
        upload.write_all(content).unwrap();
        upload.commit(key)?;
        Ok(Some(Self::version(content)))
    }

    fn read_version(&self, key: &ObjectKey, _: u64) -> Result<Option<(Vec<u8>, Version)>, StorageError> {
        let Some(mut content) = self.storage.read(key)? else { return Ok(None) };
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).unwrap();
        let version = Self::version(&bytes);
        Ok(Some((bytes, version)))
    }

    fn handle(&self) -> Arc<dyn ConditionalWrites> {
        let mut other = Self::new(Path::new(&self.storage.display_name()));
        other.lock = self.lock.clone();
        Arc::new(other)
    }
}

#[test]
fn conditional_writes_renew_a_lease_and_never_put_back_a_reclaimed_one() {
    let bench = Bench::new();
    let service = Service::new(&bench.folder.path().join("bucket"));
    let note = bench.folder.path().join("one");
    let place = LeasePlace { storage: &bench.storage, conditional: Some(&service), note };
    let timing = LeaseTiming { short_lease: Duration::from_millis(80), ..SHORT };
    let mut lease = PublishLease::acquire(&place, &LeaseHolder::new(None), &timing, &Say::nothing()).unwrap();
    let (key, since) = (lease.key.clone(), lease.keeper.as_ref().unwrap().since());
    let soon = |holds: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(5));
        }
    };
    soon(&|| lease.keeper.as_ref().unwrap().since() > since);
    lease.renew().unwrap();
    assert_eq!(lease.key, key, "the object keeps its name");
    bench.storage.delete(&key).unwrap();
    soon(&|| lease.keeper.as_ref().unwrap().is_lost());
    assert!(lease.renew().is_err() && lease.ensure_held().is_err());
    drop(lease);
    assert_eq!(bench.left(), 0);
}

#[test]
fn a_short_lease_ends_early_and_one_of_an_older_raas_does_not() {
    let bench = Bench::new();
    let service = Service::new(&bench.folder.path().join("bucket"));
    let timing = LeaseTiming {
        lease: LEASE,
        short_lease: SHORT_LEASE,
        longest_wait: Duration::from_millis(30),
        ..SHORT
    };
    let note = bench.folder.path().join("dead");
    let place = LeasePlace { storage: &bench.storage, conditional: Some(&service), note };
    let dead = PublishLease::acquire(&place, &LeaseHolder::new(None), &timing, &Say::nothing()).unwrap();
    let key = dead.key.clone();
    std::mem::forget(dead);
    bench.age(&key, Duration::from_secs(50));
    assert!(bench.acquire("one", &timing).is_err());
    bench.age(&key, Duration::from_secs(70));
    drop(bench.acquire("one", &timing).unwrap());
    assert_eq!(bench.left(), 0);
    let old = bench.acquire("old", &timing).unwrap();
    let key = old.key.clone();
    std::mem::forget(old);
    bench.age(&key, Duration::from_secs(70));
    assert!(bench.acquire("one", &timing).is_err(), "it lasts five minutes");
    bench.age(&key, Duration::from_secs(310));
    drop(bench.acquire("one", &timing).unwrap());
}

#[test]
fn a_copied_home_waits_for_the_original() {
    let bench = Bench::new();
    let original = bench.acquire("home", &SHORT).unwrap();
    // The note of the copy does not name the lease of the original.
    let impatient = LeaseTiming { longest_wait: Duration::from_millis(30), ..SHORT };
    assert!(bench.acquire("copy", &impatient).is_err());
    original.ensure_held().unwrap();
}

#[test]
fn a_lease_that_was_not_renewed_in_time_is_lost() {
    let bench = Bench::new();
    let mut lease = bench.acquire("one", &SHORT).unwrap();
    let first = lease.key.clone();
    lease.renew().unwrap();
    assert_eq!(lease.key, first, "a fresh lease is not renewed");
    lease.since = uptime() - SHORT.lease / 3;
    lease.renew().unwrap();
    assert!(lease.key != first && bench.left() == 1);
    lease.ensure_held().unwrap();
    lease.since = uptime() - SHORT.lease;
    assert!(lease.ensure_held().unwrap_err().to_string().contains("took too long"));
    // Another home has removed the object.
    lease.since = uptime() - SHORT.lease / 2;
    bench.storage.delete(&lease.key).unwrap();
    assert!(lease.ensure_held().is_err());
}

#[test]
fn an_error_names_the_holder_that_was_waited_for() {
    let bench = Bench::new();
    let _lease = bench.acquire("one", &SHORT).unwrap();
    let impatient = LeaseTiming { longest_wait: Duration::from_millis(30), ..SHORT };
    let failed = bench.acquire("two", &impatient).map(drop).unwrap_err().to_string();
    assert!(failed.contains(&format!("process {}", std::process::id())), "{failed}");
    assert_eq!(bench.left(), 1);
}

#[test]
fn a_dead_lease_that_cannot_be_read_may_have_left_any_repository_half_changed() {
    let bench = Bench::new();
    for content in ["", "{", "[1]"] {
        let key = ObjectKey::PublishLease("dead-x".into());
        let mut upload = bench.storage.create(PutOptions::default()).unwrap();
        std::io::Write::write_all(&mut upload, content.as_bytes()).unwrap();
        upload.commit(&key).unwrap();
        let lease = bench.acquire("one", &SHORT).unwrap();
        assert!(lease.is_any_unrepaired(), "{content}");
        // The lease ends without a repair, so the next holder knows it too.
        drop(lease);
        let mut lease = bench.acquire("two", &SHORT).unwrap();
        assert!(lease.is_any_unrepaired(), "{content}");
        lease.mark_repaired();
        drop(lease);
        assert_eq!(bench.left(), 0);
    }
}

/// A storage that looks whether the note names an object when an interrupt is to leave that object as it is.
struct Guarded<'a> {
    inner: &'a Directory,
    note: PathBuf,
    noted: Mutex<Vec<bool>>,
}

impl InterruptGuard for Guarded<'_> {
    fn replace_on_interrupt(&self, _: &ObjectKey, _: &ObjectKey, _: &[u8]) {}

    fn leave_on_interrupt(&self, key: &ObjectKey) {
        let note = fs::read_to_string(&self.note).unwrap_or_default();
        self.noted.lock().unwrap().push(note.contains(&key.to_string()));
    }
}

impl Storage for Guarded<'_> {
    pass_on!(inner: create, stat, read, others);

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities { interrupt_guard: Some(self), ..Capabilities::default() }
    }
}

#[test]
fn while_an_interrupt_would_mark_the_lease_as_dead_the_note_names_it() {
    let bench = Bench::new();
    let note = bench.folder.path().join("one");
    let storage = Guarded { inner: &bench.storage, note: note.clone(), noted: Mutex::default() };
    let place = LeasePlace { storage: &storage, conditional: None, note: note.clone() };
    for abandon in [false, true] {
        let mut lease =
            PublishLease::acquire(&place, &LeaseHolder::new(None), &SHORT, &Say::nothing()).unwrap();
        lease.abandoned = abandon;
        drop(lease);
        assert_eq!(storage.noted.lock().unwrap().drain(..).collect::<Vec<_>>(), [true]);
        assert_eq!(note.exists(), abandon, "the note of a dead lease stays");
    }
}
