//! A publication's metadata in the vendor's bucket: what servers elsewhere follow, and what other homes publish on top of.
//!
//! ```text
//! pointer (_metadata/current) ──▶ parts    (_metadata/<digest>.tar.gz)        the commit's files, for servers
//!                             └─▶ history  (_record/<commit>-<digest>.pack)   the commits up to it, for other homes
//! ```
//!
//! Parts and history never change. Everything that the pointer names is stored before the pointer. So a reader that
//! follows the pointer finds all of it whole.
//!
//! # Two publishers at once
//!
//! The commits of a record have one order. In one home, a commit is made on top of the last commit. With several homes, a
//! home makes a commit only while it holds the publish lease ([`crate::lease`]), on top of the pointer's commit.
//!
//! A publisher writes the pointer after its commit is in the record, and then *reads the record again*. It is done when
//! the pointer is at the record's last commit or at a later one. So an older pointer never stays:
//!
//! Let L be the last commit, and P its publisher. P writes a pointer to L after L is in the record. Suppose that the last
//! write of all was an older pointer, written by Q. Then Q wrote after P, so after L was in the record. Q read the record
//! after its write, saw L, and wrote again. So that write was not the last one.
//!
//! The storage needs to promise only that a reader sees the last write. One gap stays: a Q that is killed between its
//! write and its look at the record leaves the older pointer until the next publication of anything. Where the service has
//! conditional writes, the gap is closed: the pointer is replaced only if it is as it was read, so the write of Q fails.

mod history;
mod parts;
mod refusal;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use raas_types::{ObjectKey, Pointer, PointerError, VendorName};

use crate::lease::PublishLease;
use crate::reading::Reading;
use crate::record::Record;
use crate::storage::{ConditionalWrites, PutOptions, Storage, StorageError, Version, put_if};
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

pub(crate) use history::take_piece;
pub use history::{fetch_history, history_ends, recover_without_pointer};
pub use parts::{are_sound, has_parts, read_parts};
pub use refusal::{another_record, another_vendor, described, unreadable_pointer, without_pointer};

/// How often a publisher may meet another publisher before it gives up.
const ATTEMPTS: usize = 10;

/// How thoroughly a publisher checks what the pointer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotCheck {
    /// Only that the parts are there.
    Quick,
    /// That each byte of the parts and of the history is right too, and the number of the publication.
    Full,
}

/// Publishes a record's last commit as a snapshot.
pub struct SnapshotPublisher<'a> {
    /// The vendor.
    pub vendor: &'a VendorName,
    /// The vendor's record in this home.
    pub record: &'a Record,
    /// The vendor's storage.
    pub storage: &'a dyn Storage,
    /// A folder for archives while they are made.
    pub spool: &'a Path,
}

impl SnapshotPublisher<'_> {
    /// Moves the bucket's pointer to the record's last commit, unless it is there or at a later one. So this also finishes
    /// what a killed run has left. The lease is checked right before the pointer is written; a bucket of one home alone
    /// needs no lease.
    ///
    /// # Errors
    /// The bucket holds another registry, the lease is lost, or the pointer does not stay as it is written.
    pub fn publish(
        &self,
        check: SnapshotCheck,
        mut lease: Option<&mut PublishLease<'_>>,
    ) -> Result<(), Failure> {
        // The pointer that was found, and the one that was made to take its place.
        let mut made: Option<(Option<Pointer>, Pointer)> = None;
        for _ in 0..2 * ATTEMPTS {
            // The record is read before the pointer: the argument in the module's documentation needs this order.
            let Some(head) = self.record.head()? else { return Ok(()) };
            // The caller has caught up, so a missing or damaged pointer is written anew.
            let conditional = lease.as_ref().and_then(|lease| lease.conditional_writes());
            let found = FoundPointer::read(self.storage, conditional)?;
            let mut current = found.state.to_replace();
            if let (SnapshotCheck::Full, Some(pointer)) = (check, &mut current)
                && !are_sound(self.storage, pointer)?
            {
                pointer.parts.clear();
            }
            if let (SnapshotCheck::Full, Some(pointer)) = (check, &mut current)
                && !history::is_sound(self.storage, pointer)?
            {
                pointer.history.clear();
            }
            if let Some(pointer) = &current {
                let done = self.is_done(&head, pointer, check).or_else(|failure| {
                    // A lost lease is the better explanation: then the pointer is another home's.
                    lease.as_ref().map_or(Ok(()), |lease| lease.ensure_held())?;
                    Err(failure)
                });
                if done? {
                    return Ok(());
                }
            }
            match made.take() {
                // Nothing has changed since the new pointer was made.
                Some((before, pointer)) if before == current && pointer.revision == head.as_str() => {
                    self.replace(&pointer, found.version.as_ref(), lease.as_deref())?;
                }
                _ => {
                    let pointer = self.store(current.as_ref(), &head)?;
                    PublishLease::renew_if_any(lease.as_deref_mut())?;
                    made = Some((current, pointer));
                }
            }
        }
        Err(Failure::new(
            Kind::Environment,
            "the bucket's pointer to the metadata does not stay as it is written",
        )
        .hint("push again; other runs publish at the same time, or another program writes there"))
    }

    /// Moves the pointer from a commit that is lost everywhere to the record's last commit. A pointer to another commit stays.
    /// Returns whether the new pointer has a lower number, which servers take for an earlier publication.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub(crate) fn replace_lost(
        &self,
        lost: &CommitId,
        lease: &mut PublishLease<'_>,
    ) -> Result<bool, Failure> {
        let Some(head) = self.record.head()? else { return Ok(false) };
        let found = FoundPointer::read(self.storage, lease.conditional_writes())?;
        let old = match &found.state {
            Reading::There(pointer) if pointer.revision == lost.as_str() => pointer.sequence,
            Reading::There(_) | Reading::Absent | Reading::Unreadable(_) => return Ok(false),
        };
        let pointer = self.store(None, &head)?;
        lease.renew()?;
        self.replace(&pointer, found.version.as_ref(), Some(lease))?;
        Ok(pointer.sequence < old)
    }

    /// Replaces the pointer while the lease is held. Where the service has conditional writes, a pointer of another version
    /// stays, and the caller looks again.
    fn replace(
        &self,
        pointer: &Pointer,
        version: Option<&Version>,
        lease: Option<&PublishLease<'_>>,
    ) -> Result<(), Failure> {
        let Some(lease) = lease else { return replace(self.storage, pointer) };
        lease.ensure_held()?;
        match lease.conditional_writes() {
            Some(writes) => drop(put_if(writes, &ObjectKey::Pointer, &pointer.to_bytes(), version)?),
            None => replace(self.storage, pointer)?,
        }
        // If the machine slept before the write, the write may have replaced another home's publication.
        if lease.is_held()? { Ok(()) } else { Err(refusal::too_late(self.storage, lease.lost())) }
    }

    /// Stores the history and the parts of a commit; returns a pointer to them.
    fn store(&self, current: Option<&Pointer>, head: &CommitId) -> Result<Pointer, Failure> {
        let history = history::store(self, current, head)?;
        parts::store(self, current, head, history)
    }

    /// Whether the pointer is at the commit or at a later one, and everything that it names is there.
    fn is_done(&self, head: &CommitId, pointer: &Pointer, check: SnapshotCheck) -> Result<bool, Failure> {
        if pointer.revision != head.as_str() {
            let other = CommitId::parse(&pointer.revision)?;
            if !self.record.has(&other)? {
                return Err(another_record(self.storage, pointer));
            }
            return self.record.is_ancestor(head, &other);
        }
        if pointer.vendor.as_ref().is_some_and(|named| named != self.vendor) {
            return Ok(false);
        }
        let whole = is_whole(self.storage, pointer)?;
        let is_right = || Ok::<_, Failure>(pointer.sequence == self.record.depth(head)?);
        Ok(whole
            && (check == SnapshotCheck::Quick || (history::is_whole(self.storage, pointer)? && is_right()?)))
    }
}

/// How often a malformed pointer is read before it counts as damaged: a proxy may have answered instead of the service.
const LOOKS: usize = 3;

/// The bucket's pointer, and its version where the service has conditional writes.
struct FoundPointer {
    state: Reading<Pointer>,
    version: Option<Version>,
}

impl FoundPointer {
    fn read(storage: &dyn Storage, conditional: Option<&dyn ConditionalWrites>) -> Result<Self, Failure> {
        let mut damage = None;
        for _ in 0..LOOKS {
            let Some((bytes, version)) = Self::bytes(storage, conditional)? else {
                // After a malformed answer, a 404 does not prove that there is no pointer.
                let state = damage.map_or(Reading::Absent, |(error, _)| refusal::damaged(storage, error));
                return Ok(Self { state, version: None });
            };
            match Pointer::parse(&bytes) {
                Ok(pointer) => return Ok(Self { state: Reading::There(pointer), version }),
                Err(error @ PointerError::Newer { .. }) => return Err(refusal::newer_format(storage, error)),
                Err(error) => damage = Some((error, version)),
            }
        }
        let (state, version) = damage
            .map_or((Reading::Absent, None), |(error, version)| (refusal::damaged(storage, error), version));
        Ok(Self { state, version })
    }

    fn bytes(
        storage: &dyn Storage,
        conditional: Option<&dyn ConditionalWrites>,
    ) -> Result<Option<VersionedBytes>, Failure> {
        const LONGEST: u64 = Pointer::MAX_SIZE + 1;
        let key = ObjectKey::Pointer;
        if let Some(writes) = conditional {
            let found = writes.read_version(&key, LONGEST)?;
            return Ok(found.map(|(bytes, version)| (bytes, Some(version))));
        }
        let Some(content) = storage.read(&key)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = content.take(LONGEST).read_to_end(&mut bytes);
        read.map_err(|error| StorageError::reading(&key, error))?;
        Ok(Some((bytes, None)))
    }
}

/// The bytes of an object, with its version if the storage has versions.
type VersionedBytes = (Vec<u8>, Option<Version>);

/// Reads the bucket's pointer.
///
/// # Errors
/// The storage fails, or only a newer raas knows the pointer's format. Any other pointer that cannot be read is
/// [`Reading::Unreadable`].
pub fn read_pointer(storage: &dyn Storage) -> Result<Reading<Pointer>, Failure> {
    FoundPointer::read(storage, None).map(|found| found.state)
}

/// The keys of everything that a pointer names.
pub fn keys(pointer: &Pointer) -> Vec<String> {
    let history = pointer.history.iter().map(|piece| piece.key().to_string());
    history.chain(pointer.parts.iter().map(|part| part.key().to_string())).collect()
}

/// Whether a pointer names history and parts, and the parts are there. A pointer of an older version may name none.
pub fn is_whole(storage: &dyn Storage, pointer: &Pointer) -> Result<bool, Failure> {
    Ok(!pointer.history.is_empty() && has_parts(storage, pointer)?)
}

/// Whether the history is there that a new home needs to publish.
pub fn has_history(storage: &dyn Storage, pointer: &Pointer) -> Result<bool, Failure> {
    history::is_whole(storage, pointer)
}

/// Whether objects with these keys and lengths are there. All keys begin with the prefix, so one listing is enough.
fn has_all(storage: &dyn Storage, prefix: &str, mut missing: BTreeMap<String, u64>) -> Result<bool, Failure> {
    storage.list(prefix, &mut |listed| {
        if missing.get(&listed.key) == Some(&listed.size) {
            missing.remove(&listed.key);
        }
    })?;
    Ok(missing.is_empty())
}

/// Replaces the pointer, whatever it is.
fn replace(storage: &dyn Storage, pointer: &Pointer) -> Result<(), Failure> {
    let key = ObjectKey::Pointer;
    let bytes = pointer.to_bytes();
    let mut upload = storage.create(PutOptions::of(&key, bytes.len() as u64))?;
    upload.write_all(&bytes).map_err(|error| StorageError::writing(&key, error))?;
    Ok(upload.commit(&key)?)
}

/// Stores an object that is named by its digest. It is nearly always new, so this does not ask whether it is there.
fn put(storage: &dyn Storage, key: &ObjectKey, size: u64, file: &mut File) -> Result<(), Failure> {
    let mut upload = storage.create(PutOptions::of(key, size))?;
    io::copy(file, &mut upload).map_err(|error| StorageError::writing(key, error))?;
    Ok(upload.commit(key)?)
}

#[cfg(test)]
mod tests;
