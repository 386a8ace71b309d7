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
//! - The holder *renews* its lease. Where the service has conditional writes, a thread writes the object again every 15
//!   s, only if it is as the holder wrote it last, and the lease lasts 60 s (`keeper`). Elsewhere the holder replaces
//!   its object by a new one between its steps ([`PublishLease::renew`]), and the lease lasts five minutes. The object
//!   says how long.
//! - Another home *reclaims* a lease that was not renewed for that long, by the service's clock: it removes the object, and
//!   lists again before it goes on.
//! - A holder whose object is gone has lost its lease and publishes nothing more. It checks that right before it writes
//!   the pointer ([`PublishLease::ensure_held`]).
//! - A home notes the keys of its own objects in a file (`note`). So it knows the leases of its own killed runs, however
//!   many, and reclaims them at once.
//! - A run that fails in the middle *abandons* its lease: it marks the object as `dead-`, and nobody waits for it.
//!
//! A lease object names the repositories whose objects its holder may leave half changed. A home that reclaims a lease
//! adds these repositories to its own object first, and then repairs them.

mod holder;
mod keeper;
mod note;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use raas_types::{ObjectKey, RepositoryName};
use rustix::time::{ClockId, clock_gettime};

use crate::reading::Reading;
use crate::storage::{ConditionalWrites, ListedObject, Storage, StorageError};
use holder::describe;
use keeper::Keeper;
use note::LeaseNote;
use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_base::interrupt;

pub use holder::LeaseHolder;

/// How long a lease lasts without a renewal.
const LEASE: Duration = Duration::from_secs(5 * 60);

/// The same where the service has conditional writes.
const SHORT_LEASE: Duration = Duration::from_secs(60);

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
    /// The same where the service has conditional writes.
    short_lease: Duration,
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
            short_lease: SHORT_LEASE,
            quiet_wait: Duration::from_secs(2),
            longest_pause: Duration::from_secs(1),
            longest_wait: LEASE + LEASE / 4,
        }
    }
}

/// Where leases are kept, and where this home notes its own.
#[derive(Clone)]
pub struct LeasePlace<'a> {
    /// The vendor's storage.
    pub storage: &'a dyn Storage,
    /// Its conditional writes, if the service keeps their promises.
    pub conditional: Option<&'a dyn ConditionalWrites>,
    /// The file in which this home notes the keys of its own leases.
    pub note: PathBuf,
}

/// The lease of this home. Dropping it releases it; [`release`](Self::release) also says whether that worked.
pub struct PublishLease<'a> {
    storage: &'a dyn Storage,
    conditional: Option<&'a dyn ConditionalWrites>,
    key: ObjectKey,
    holder: LeaseHolder,
    note: LeaseNote,
    /// How long the lease lasts without a renewal.
    duration: Duration,
    /// The longest lease of any home.
    longest: Duration,
    /// When this home began to write its object, by [`uptime`].
    since: Duration,
    /// Renews the lease, where the service has conditional writes.
    keeper: Option<Keeper>,
    /// The repositories of reclaimed leases that are not repaired yet.
    unrepaired: BTreeSet<RepositoryName>,
    /// Whether any repository may need a repair, since a reclaimed lease could not be read.
    any_unrepaired: bool,
    /// Whether this home itself leaves objects half changed.
    abandoned: bool,
    released: bool,
    say: Say,
}

impl<'a> PublishLease<'a> {
    /// Waits until this home holds the lease. The caller holds the vendor's lock of this home.
    ///
    /// # Errors
    /// Other homes have published during the whole of [`LeaseTiming`]'s longest wait.
    pub fn acquire(
        place: &LeasePlace<'a>,
        holder: &LeaseHolder,
        timing: &LeaseTiming,
        say: &Say,
    ) -> Result<Self, Failure> {
        let storage = place.storage;
        let begun = Instant::now();
        let mut said = false;
        loop {
            let mut lease = Self::store(place, holder, timing, say)?;
            let Some(other) = lease.other_holder()? else { return Ok(lease) };
            lease.release()?;
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

    /// The conditional writes of the storage, if the service keeps their promises.
    pub fn conditional_writes(&self) -> Option<&'a dyn ConditionalWrites> {
        self.conditional
    }

    /// As [`renew`](Self::renew), if there is a lease. A bucket of one home alone needs none.
    pub fn renew_if_any(lease: Option<&mut Self>) -> Result<(), Failure> {
        lease.map_or(Ok(()), Self::renew)
    }

    /// As [`release`](Self::release), if there is a lease.
    pub fn release_if_any(lease: Option<Self>) -> Result<(), Failure> {
        lease.map_or(Ok(()), Self::release)
    }

    /// Renews the lease if that is due. The holder calls this often while it works.
    ///
    /// # Errors
    /// The last renewal is so long ago that another home may publish.
    pub fn renew(&mut self) -> Result<(), Failure> {
        if let Some(keeper) = &self.keeper {
            // The thread renews. After a long failure of the service, nothing more must be changed.
            let lost = keeper.is_lost() || self.age() >= self.duration;
            return if lost { Err(self.lost()) } else { Ok(()) };
        }
        if self.age() < self.duration / 4 {
            return Ok(());
        }
        // A new object under a new key: another home may have removed the old one.
        let next = ObjectKey::PublishLease(random_name());
        let since = uptime();
        self.note.add(&next)?;
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
        if removed.is_ok() {
            self.note.remove(&old)?;
        }
        held?;
        Ok(removed?)
    }

    /// Releases the lease.
    ///
    /// # Errors
    /// The service does not remove the object, so other homes wait until the lease ends.
    pub fn release(mut self) -> Result<(), Failure> {
        let released = self.end();
        released.map_err(|error| {
            let (message, cause, hint) = error.into_parts();
            let waits = format!(
                "the publish lease may be left behind in {}, and then keeps other homes waiting for {} s: {message}",
                self.storage.display_name(),
                self.duration.as_secs()
            );
            Failure::new(Kind::Environment, waits)
                .caused_by(cause)
                .hint("run the command again: this home then releases the lease at once; what was published stays published")
                .hint_if(hint)
        })
    }

    /// How long ago the lease was renewed.
    fn age(&self) -> Duration {
        let since = self.keeper.as_ref().map_or(self.since, Keeper::since);
        uptime().saturating_sub(since)
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
        let lost = self.keeper.as_ref().is_some_and(Keeper::is_lost);
        if !lost && self.is_held()? && self.age() < self.duration / 2 {
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
        place: &LeasePlace<'a>,
        holder: &LeaseHolder,
        timing: &LeaseTiming,
        say: &Say,
    ) -> Result<Self, Failure> {
        let LeasePlace { storage, conditional, .. } = *place;
        let key = ObjectKey::PublishLease(random_name());
        let duration = if conditional.is_some() { timing.short_lease } else { timing.lease };
        let mut holder = holder.clone();
        holder.lease = Some(duration.as_secs());
        // The vendor's lock is held: the noted leases are of runs of this home that were killed. They stay noted until they
        // are reclaimed.
        let mut note = LeaseNote::read(&place.note);
        note.add(&key)?;
        // Made before the write: if the write fails but has stored the object, dropping the lease removes it.
        let mut lease = Self {
            storage,
            conditional,
            key,
            holder,
            note,
            duration,
            longest: timing.lease,
            since: uptime(),
            keeper: None,
            unrepaired: BTreeSet::new(),
            any_unrepaired: false,
            abandoned: false,
            released: false,
            say: say.clone(),
        };
        lease.guard(&lease.key);
        match conditional {
            Some(writes) => {
                let content = lease.holder.content();
                lease.keeper = Some(Keeper::begin(writes, &lease.key, content, duration / 4)?);
            }
            None => lease.holder.write(storage, &lease.key)?,
        }
        Ok(lease)
    }

    /// The key of another home's lease, if there is one. Dead leases are reclaimed.
    fn other_holder(&mut self) -> Result<Option<String>, Failure> {
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
                self.note.has(&other.key)
                    || other.key.starts_with(ObjectKey::DEAD_PUBLISH_LEASES)
                    || age > self.longest
                    || (age > SHORT_LEASE.min(self.longest) && age > self.lease_of(&other.key))
            };
            let (dead, alive): (Vec<_>, Vec<_>) = others.into_iter().partition(is_dead);
            for dead in &dead {
                self.reclaim(&dead.key)?;
            }
            // After reclaiming, list again: a slow holder may have renewed its lease at that moment.
            if !alive.is_empty() || dead.is_empty() {
                // No noted lease is listed any more.
                self.note.keep_only(&self.key)?;
                return Ok(alive.into_iter().next().map(|other| other.key));
            }
        }
    }

    /// How long the lease of an object lasts. The lease objects of an older raas do not say it: those leases are long.
    fn lease_of(&self, key: &str) -> Duration {
        match LeaseHolder::read(self.storage, key) {
            Ok(Reading::There(holder)) => holder.lease.map_or(self.longest, Duration::from_secs),
            // Unknown, so it may be the longest.
            _ => self.longest,
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
            match &self.keeper {
                Some(keeper) => keeper.replace(self.holder.content())?,
                None => self.holder.write(self.storage, &self.key)?,
            }
        }
        Ok(self.storage.delete_key(key)?)
    }

    /// Marks the lease as dead in the bucket, if this home leaves objects half changed. The next run of this home repairs them,
    /// even if it has nothing else to change.
    fn mark_dead(&mut self) -> Result<(), StorageError> {
        if !self.abandoned && !self.any_unrepaired && self.unrepaired.is_empty() {
            return Ok(());
        }
        let key = dead(&self.key);
        // Without the note, the object stays until somebody publishes a change.
        drop(self.note.add(&key));
        self.holder.write(self.storage, &key)
    }

    /// If the run is interrupted, its lease is marked as dead.
    fn guard(&self, key: &ObjectKey) {
        self.storage.capabilities().replace_on_interrupt(key, &dead(key), &self.holder.content());
    }

    fn unguard(&self, key: &ObjectKey) {
        self.storage.capabilities().leave_on_interrupt(key);
    }
}

impl PublishLease<'_> {
    /// Removes the object. If that fails, its note stays: this home reclaims the lease at once, and other homes do when it has
    /// ended. The note of a dead lease stays too.
    fn end(&mut self) -> Result<(), StorageError> {
        self.released = true;
        // Ends the renewals: a late renewal could store the object again.
        self.keeper = None;
        let removed = self.mark_dead();
        let removed = removed.and_then(|()| self.storage.delete(&self.key));
        // In one step: an interrupt before it stores the object again, as dead, and the note tells the next run of it.
        interrupt::step(|| {
            self.unguard(&self.key);
            if removed.is_ok() {
                // If this fails, the next run finds a note of an object that is gone.
                drop(self.note.remove(&self.key));
            }
        });
        removed
    }
}

impl Drop for PublishLease<'_> {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        // The run has failed already, and says why.
        if let Err(error) = self.end() {
            self.say.line(&format!(
                "Note: {} may be left behind, and then keeps other homes waiting for {} s: {error}",
                self.key,
                self.duration.as_secs()
            ));
        }
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

/// The key that marks a lease as dead.
fn dead(key: &ObjectKey) -> ObjectKey {
    let key = key.to_string();
    let name = key.strip_prefix(ObjectKey::PUBLISH_LEASES).unwrap_or(&key);
    ObjectKey::PublishLease(format!("dead-{}", name.trim_start_matches("dead-")))
}
