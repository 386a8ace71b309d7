use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use super::*;
use crate::storage::{Directory, PutOptions};

const SHORT: LeaseTiming = LeaseTiming {
    lease: Duration::from_secs(60),
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
        PublishLease::acquire(&self.storage, &holder, &note, timing, &Say::nothing())
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
