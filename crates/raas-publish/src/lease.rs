//! The publish lease: at most one of the homes that share a bucket publishes at a time.
//!
//! A home that wants to publish stores an object of its own in `_turns/` and *then* lists that folder. It holds the lease
//! if the listing shows no other object. Otherwise it removes its object and tries again after a random pause.
//!
//! Why at most one home holds the lease: of two homes at once, the home that wrote later sees the object of the other,
//! since a listing shows what was stored before. Both homes may step back, but both never go on. The service needs to
//! promise nothing else.
//!
//! A killed run must not block others for ever:
//!
//! - The holder *renews* its lease: it replaces its object by a new one ([`PublishLease::renew`]).
//! - Another home *reclaims* a lease without a renewal for five minutes, by the service's clock: it removes the object, and lists
//!   again before it goes on.
//! - A holder whose object is gone has lost its lease and publishes nothing more. It checks that right before it writes
//!   the pointer ([`PublishLease::ensure_held`]).
//! - A home notes the key of its own object in a file. So it knows the lease of its own killed run and reclaims it at once.
//! - A run that fails in the middle *abandons* its lease: it marks the object as `dead-`, and nobody waits for it.
//!
//! A lease object names the repositories whose objects its holder may leave half changed. A home that reclaims a lease
//! adds these repositories to its own object first, and then repairs them.

mod holder;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use raas_types::{ObjectKey, RepositoryName};
use rustix::time::{ClockId, clock_gettime};

use crate::reading::Reading;
use crate::storage::{ListedObject, Storage, StorageError};
use holder::describe;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::{Say, files};

pub use holder::LeaseHolder;

/// How long a lease lasts without a renewal.
const LEASE: Duration = Duration::from_secs(5 * 60);

/// Whether the caller holds the publish lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Other homes may be publishing.
    NotHeld,
    /// No other home is publishing.
    Held,
}

/// How long a lease lasts, and how long a home waits for it.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTiming {
    /// How long a lease lasts without a renewal.
    lease: Duration,
    /// After this wait, a line names the current holder.
    quiet_wait: Duration,
    /// The longest pause between two attempts.
    longest_pause: Duration,
    /// After this wait, acquiring fails.
    longest_wait: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self {
            lease: LEASE,
            quiet_wait: Duration::from_secs(2),
            longest_pause: Duration::from_secs(1),
            longest_wait: LEASE + LEASE / 4,
        }
    }
}

/// The lease of this home. Dropping it releases it.
pub struct PublishLease<'a> {
    storage: &'a dyn Storage,
    key: ObjectKey,
    holder: LeaseHolder,
    /// The file in which the home notes the key.
    note: PathBuf,
    /// How long the lease lasts without a renewal.
    duration: Duration,
    /// When this home began to write its object, by [`uptime`].
    since: Duration,
    /// The repositories of reclaimed leases that are not repaired yet.
    unrepaired: BTreeSet<RepositoryName>,
    /// Whether any repository may need a repair, since a reclaimed lease could not be read.
    any_unrepaired: bool,
    /// Whether this home itself leaves objects half changed.
    abandoned: bool,
    say: Say,
}

impl<'a> PublishLease<'a> {
    /// Waits until this home holds the lease. The caller holds the vendor's lock of this home. The home notes the key of
    /// its lease in the file `note`.
    ///
    /// # Errors
    /// Other homes have published during the whole of [`LeaseTiming`]'s longest wait.
    pub fn acquire(
        storage: &'a dyn Storage,
        holder: &LeaseHolder,
        note: &Path,
        timing: &LeaseTiming,
        say: &Say,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let mut said = false;
        // The vendor's lock is held: a noted lease is of a run of this home that was killed.
        let own_dead = fs::read_to_string(note).ok().filter(|key| key.starts_with(ObjectKey::PUBLISH_LEASES));
        loop {
            let mut lease = Self::store(storage, holder, note, timing.lease, say)?;
            let Some(other) = lease.other_holder(own_dead.as_deref())? else { return Ok(lease) };
            drop(lease);
            let waited = begun.elapsed();
            if waited > timing.longest_wait {
                let message = format!(
                    "cannot publish to {}: {} has held the publish lease all the time",
                    storage.display_name(),
                    describe(storage, &other)
                );
                return Err(Failure::new(Kind::Environment, message)
                    .caused_by(format!("waited for {} s", waited.as_secs()))
                    .hint("look at what that process does, or push again; nothing was published"));
            }
            if waited > timing.quiet_wait && !said {
                said = true;
                say.line(&format!("Waiting: {} publishes at the moment", describe(storage, &other)));
            }
            // A random pause, so that two homes that have met do not meet again.
            thread::sleep(timing.longest_pause.mul_f64(0.1 + 0.9 * fastrand::f64()));
        }
    }

    /// As [`renew`](Self::renew), if there is a lease. A bucket of one home alone needs none.
    pub fn renew_if_any(lease: Option<&mut Self>) -> Result<(), Failure> {
        lease.map_or(Ok(()), Self::renew)
    }

    /// Renews the lease if that is due. The holder calls this often while it works.
    ///
    /// # Errors
    /// The last renewal is so long ago that another home may publish.
    pub fn renew(&mut self) -> Result<(), Failure> {
        if uptime().saturating_sub(self.since) < self.duration / 4 {
            return Ok(());
        }
        // A new object under a new key: another home may have removed the old one.
        let next = ObjectKey::PublishLease(random_name());
        let since = uptime();
        write_note(&self.note, &next)?;
        self.guard(&next);
        if let Err(error) = self.holder.write(self.storage, &next) {
            self.unguard(&next);
            return Err(error.into());
        }
        let held = self.ensure_held();
        let old = std::mem::replace(&mut self.key, next);
        self.since = since;
        let removed = self.storage.delete(&old);
        self.unguard(&old);
        held?;
        Ok(removed?)
    }

    /// The repositories of reclaimed leases that are not repaired yet.
    pub fn unrepaired(&self) -> Vec<RepositoryName> {
        self.unrepaired.iter().cloned().collect()
    }

    /// Whether any repository may need a repair, since a reclaimed lease could not be read.
    pub fn is_any_unrepaired(&self) -> bool {
        self.any_unrepaired
    }

    /// Marks the repositories of reclaimed leases as repaired.
    pub fn mark_repaired(&mut self) {
        self.any_unrepaired = false;
        self.unrepaired.clear();
    }

    /// Checks the lease right before a change that needs it.
    ///
    /// # Errors
    /// Another home has reclaimed the lease, or may do so soon.
    pub fn ensure_held(&self) -> Result<(), Failure> {
        // The change must arrive at the service before the lease ends.
        if self.is_held()? && uptime().saturating_sub(self.since) < self.duration / 2 {
            return Ok(());
        }
        Err(self.lost())
    }

    /// Whether the object of this lease is still there.
    pub fn is_held(&self) -> Result<bool, Failure> {
        let own = self.key.to_string();
        let mut found = false;
        self.storage.list(ObjectKey::PUBLISH_LEASES, &mut |listed| found |= listed.key == own)?;
        Ok(found)
    }

    /// The failure of a run that has lost its lease.
    pub fn lost(&self) -> Failure {
        let message =
            format!("publishing to {} took too long: the publish lease is over", self.storage.display_name());
        Failure::new(Kind::Environment, message)
            .hint("push again; check whether the machine was asleep, or its network is very slow")
    }

    /// Marks that this home leaves objects half changed. The next holder then repairs them and does not wait.
    pub fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Stores a new lease object.
    fn store(
        storage: &'a dyn Storage,
        holder: &LeaseHolder,
        note: &Path,
        duration: Duration,
        say: &Say,
    ) -> Result<Self, Failure> {
        let key = ObjectKey::PublishLease(random_name());
        write_note(note, &key)?;
        // Made before the write: if the write fails but has stored the object, dropping the lease removes it.
        let lease = Self {
            storage,
            key,
            holder: holder.clone(),
            note: note.to_owned(),
            duration,
            since: uptime(),
            unrepaired: BTreeSet::new(),
            any_unrepaired: false,
            abandoned: false,
            say: say.clone(),
        };
        lease.guard(&lease.key);
        lease.holder.write(storage, &lease.key)?;
        Ok(lease)
    }

    /// The key of another home's lease, if there is one. Dead leases are reclaimed.
    fn other_holder(&mut self, own_dead: Option<&str>) -> Result<Option<String>, Failure> {
        let own_key = self.key.to_string();
        loop {
            let (mut own, mut others) = (None, Vec::new());
            self.storage.list(ObjectKey::PUBLISH_LEASES, &mut |listed| {
                if listed.key == own_key {
                    own = Some(listed.modified);
                } else {
                    others.push(listed);
                }
            })?;
            let Some(now) = own else {
                let storage = self.storage.display_name();
                let message = format!("{storage} does not list an object that was just stored");
                return Err(Failure::new(Kind::Environment, message).hint(
                    "use a service whose listings show what was stored before: several homes need that",
                ));
            };
            let is_dead = |other: &ListedObject| {
                let age = now.duration_since(other.modified).unwrap_or_default();
                age > self.duration
                    || other.key.starts_with(ObjectKey::DEAD_PUBLISH_LEASES)
                    || own_dead == Some(other.key.as_str())
            };
            let (dead, alive): (Vec<_>, Vec<_>) = others.into_iter().partition(is_dead);
            for dead in &dead {
                self.reclaim(&dead.key)?;
            }
            // After reclaiming, list again: a slow holder may have renewed its lease at that moment.
            if !alive.is_empty() || dead.is_empty() {
                return Ok(alive.into_iter().next().map(|other| other.key));
            }
        }
    }
}

impl PublishLease<'_> {
    /// Removes a dead lease, and takes over the repositories that its holder has left half changed.
    fn reclaim(&mut self, key: &str) -> Result<(), Failure> {
        let (left, any) = match LeaseHolder::read(self.storage, key)? {
            Reading::There(holder) => (holder.repositories, holder.any_repository),
            Reading::Absent => (BTreeSet::new(), false),
            Reading::Unreadable(_) => (BTreeSet::new(), true),
        };
        if any || !left.is_empty() {
            self.any_unrepaired |= any;
            self.unrepaired.extend(left.iter().cloned());
            self.holder.any_repository |= any;
            self.holder.repositories.extend(left);
            self.guard(&self.key);
            self.holder.write(self.storage, &self.key)?;
        }
        Ok(self.storage.delete_key(key)?)
    }

    /// Marks the lease as dead in the bucket, if this home leaves objects half changed.
    fn mark_dead(&self) -> Result<(), StorageError> {
        if !self.abandoned && !self.any_unrepaired && self.unrepaired.is_empty() {
            return Ok(());
        }
        self.holder.write(self.storage, &dead(&self.key))
    }

    /// If the run is interrupted, its lease is marked as dead.
    fn guard(&self, key: &ObjectKey) {
        self.storage.capabilities().replace_on_interrupt(key, &dead(key), &self.holder.content());
    }

    fn unguard(&self, key: &ObjectKey) {
        self.storage.capabilities().leave_on_interrupt(key);
    }
}

impl Drop for PublishLease<'_> {
    fn drop(&mut self) {
        match self.mark_dead().and_then(|()| self.storage.delete(&self.key)) {
            Ok(()) => drop(fs::remove_file(&self.note)),
            // The note stays: this home reclaims the lease at once, and other homes do when it has ended.
            Err(error) => self.say.line(&format!(
                "Note: {} may be left behind, and then keeps other homes waiting for {} minutes: {error}",
                self.key,
                self.duration.as_secs() / 60
            )),
        }
        self.unguard(&self.key);
    }
}

/// How long this machine has been up. The time that it was asleep counts.
fn uptime() -> Duration {
    let since = clock_gettime(ClockId::Boottime);
    Duration::new(since.tv_sec.try_into().unwrap_or(0), since.tv_nsec.try_into().unwrap_or(0))
}

/// A name that no other lease has.
fn random_name() -> String {
    format!("{:032x}", fastrand::u128(..))
}

fn write_note(note: &Path, key: &ObjectKey) -> Result<(), Failure> {
    files::replace(note, key.to_string().as_bytes()).context(|| format!("cannot write {}", note.display()))
}

/// The key that marks a lease as dead.
fn dead(key: &ObjectKey) -> ObjectKey {
    let key = key.to_string();
    let name = key.strip_prefix(ObjectKey::PUBLISH_LEASES).unwrap_or(&key);
    ObjectKey::PublishLease(format!("dead-{}", name.trim_start_matches("dead-")))
}
