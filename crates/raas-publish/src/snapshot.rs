//! A publication's metadata in the vendor's bucket, so that servers anywhere need nothing but the bucket, and so that
//! several homes can publish to it.
//!
//! A commit's files lie in archives, the *parts* of its snapshot ([`parts`]), each under its own digest, and never change;
//! the pointer says which parts are served, and where the history up to that commit lies ([`history`]). What the pointer
//! names is stored before it, so whoever follows it finds all of it whole.
//!
//! # Two publishers at once
//!
//! Of one home, commits of the record have one order, since each is made on top of the last; of several homes too,
//! since a home makes a commit only in its turn ([`turn`]), on top of what the bucket's pointer says then. A publisher
//! writes the pointer only after its commit is in the record, and then *looks again*: it is done when the pointer
//! stands at the record's last commit, as the record says it then, or at a later one. So an older pointer never stays:
//!
//! Let the last commit be L. Its publisher P writes a pointer of L after L is in the record. Suppose the last
//! write of all left an older pointer, by a publisher Q. Then that write came after P's, so after L was in the
//! record; and Q looked at the record after it, saw L, and wrote again. It was not the last write of all.
//!
//! That needs nothing of the storage but that a reader sees what was last written. What it leaves open is a Q that
//! dies between its write and its look: until the next publication, `raas push` of anything included, the older
//! pointer stands. Where the storage refuses to replace what is not as it was read, that is closed too, since Q's
//! write then fails: see [`replace`].

mod history;
mod parts;
mod refusal;
mod turn;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use raas_types::{ObjectKey, Pointer, PointerError, VendorName};

use crate::record::Record;
use crate::storage::{Draft, Storage, StorageError};
pub use history::{recover, take_in};
pub use parts::{are_sound, has_parts};
use raas_base::failure::{Context as _, Failure, Kind};
use raas_git::CommitId;
pub use refusal::{another_record, another_vendor, without_pointer};
pub use turn::{Holder, Patience, Turn};

/// How often a publisher meets another one before it gives up.
const ATTEMPTS: usize = 10;

/// How closely to look at what the pointer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At the parts, which servers read.
    Parts,
    /// At the history too, which others need who publish, and at each byte of the parts.
    Everything,
}

/// What a vendor's metadata is published from, and to.
pub struct Publisher<'a> {
    /// The vendor.
    pub vendor: &'a VendorName,
    /// The vendor's, of the home that publishes to this bucket.
    pub record: &'a Record,
    /// The vendor's storage.
    pub storage: &'a dyn Storage,
    /// A folder for archives in the making.
    pub spool: &'a Path,
}

impl Publisher<'_> {
    /// Makes the bucket's pointer stand at the record's last commit, or leaves it at a later one. Nothing is done where
    /// it stands there already, so this mends what a run that was killed has left. The turn, where homes have turns, is
    /// asked right before the pointer is written.
    pub fn publish(&self, look: Look, mut turn: Option<&mut Turn<'_>>) -> Result<(), Failure> {
        let mut made: Option<(Option<Pointer>, Pointer)> = None;
        for _ in 0..2 * ATTEMPTS {
            // The record before the pointer: that is the look that the argument above is about.
            let Some(head) = self.record.head()? else { return Ok(()) };
            // What is missing or damaged is written anew: the caller has caught up.
            let mut standing = standing(self.storage)?.pointer();
            if let (Look::Everything, Some(pointer)) = (look, &mut standing)
                && !are_sound(self.storage, pointer)?
            {
                pointer.parts.clear();
            }
            if let Some(standing) = &standing {
                let stands = self.stands(&head, standing, look).or_else(|failure| {
                    // Who was too slow for its turn finds another one's.
                    turn.as_ref().map_or(Ok(()), |turn| turn.confirm())?;
                    Err(failure)
                });
                if stands? {
                    return Ok(());
                }
            }
            match made.take() {
                // Nothing has changed since it was made.
                Some((on, pointer)) if on == standing && pointer.revision == head.as_str() => {
                    self.replace(&pointer, turn.as_deref())?;
                }
                _ => {
                    let pointer = self.make(standing.as_ref(), &head)?;
                    // That may have taken a while.
                    Turn::keep_any(turn.as_deref_mut())?;
                    made = Some((standing, pointer));
                }
            }
        }
        Err(Failure::new(
            Kind::Environment,
            "the bucket's pointer to the metadata does not stay as it is written",
        )
        .hint("other runs publish at the same time, or another program writes there; push again"))
    }

    /// Replaces the pointer, in the turn.
    fn replace(&self, pointer: &Pointer, turn: Option<&Turn<'_>>) -> Result<(), Failure> {
        let Some(turn) = turn else { return replace(self.storage, pointer) };
        turn.confirm()?;
        replace(self.storage, pointer)?;
        // A machine may have slept in between: then another home's publication may have been replaced.
        if turn.is_held()? { Ok(()) } else { Err(refusal::too_late(self.storage, turn.lost())) }
    }

    /// Stores all that a pointer to a commit names.
    fn make(&self, standing: Option<&Pointer>, head: &CommitId) -> Result<Pointer, Failure> {
        let history = history::store(self, standing, head)?;
        parts::store(self, standing, head, history)
    }

    /// Whether the pointer is of the commit or of a later one, and what it names is there.
    fn stands(&self, head: &CommitId, standing: &Pointer, look: Look) -> Result<bool, Failure> {
        if standing.revision != head.as_str() {
            let other = CommitId::parse(&standing.revision)?;
            if !self.record.has(&other)? {
                return Err(another_record(self.storage, standing));
            }
            return self.record.is_ancestor(head, &other);
        }
        let whole = is_whole(self.storage, standing)?;
        Ok(whole && (look == Look::Parts || history::is_whole(self.storage, standing)?))
    }
}

/// The pointer as it is in the bucket.
#[derive(Debug)]
pub enum Standing {
    /// The pointer as it was read.
    Pointer(Pointer),
    /// There is no pointer.
    Missing,
    /// There is a pointer that cannot be read.
    Damaged(PointerError),
}

impl Standing {
    /// The pointer, if there is a good one.
    pub fn pointer(self) -> Option<Pointer> {
        match self {
            Standing::Pointer(pointer) => Some(pointer),
            Standing::Missing | Standing::Damaged(_) => None,
        }
    }
}

/// Reads the pointer.
pub fn standing(storage: &dyn Storage) -> Result<Standing, Failure> {
    let key = ObjectKey::Pointer;
    let Some(content) = storage.read(&key)? else { return Ok(Standing::Missing) };
    let mut bytes = Vec::new();
    let read = content.take(Pointer::MAX_SIZE).read_to_end(&mut bytes);
    read.context(|| format!("cannot read {key}"))?;
    Ok(Pointer::parse(&bytes).map_or_else(Standing::Damaged, Standing::Pointer))
}

/// The keys of what a pointer names.
pub fn keys(pointer: &Pointer) -> Vec<String> {
    let history = pointer.history.iter().map(|piece| piece.key().to_string());
    history.chain(pointer.parts.iter().map(|part| part.key().to_string())).collect()
}

/// Whether a pointer names all that it should, as far as one question tells. Older versions stored no history, or no parts.
pub fn is_whole(storage: &dyn Storage, standing: &Pointer) -> Result<bool, Failure> {
    Ok(!standing.history.is_empty() && has_parts(storage, standing)?)
}

/// Whether a home that is new finds all of the history that it needs to publish.
pub fn has_history(storage: &dyn Storage, standing: &Pointer) -> Result<bool, Failure> {
    history::is_whole(storage, standing)
}

/// Whether objects with these keys, which begin so, are there with these lengths: one listing, whatever their number.
fn has_all(storage: &dyn Storage, prefix: &str, mut missing: BTreeMap<String, u64>) -> Result<bool, Failure> {
    storage.list(prefix, &mut |listed| {
        if missing.get(&listed.key) == Some(&listed.size) {
            missing.remove(&listed.key);
        }
    })?;
    Ok(missing.is_empty())
}

/// Replaces the pointer.
///
/// This is the one place where a conditional write belongs, once [`Storage`] has one: replace what was read, or
/// nothing. The loop above takes a refusal as it takes a write: it looks again.
fn replace(storage: &dyn Storage, pointer: &Pointer) -> Result<(), Failure> {
    let key = ObjectKey::Pointer;
    let bytes = pointer.to_bytes();
    let mut upload = storage.create(Draft::of(&key, bytes.len() as u64))?;
    upload.write_all(&bytes).map_err(|error| StorageError::writing(&key, error))?;
    Ok(upload.commit(&key)?)
}

/// Stores what is named by its digest. It is hardly ever there before, so nobody asks.
fn put(storage: &dyn Storage, key: &ObjectKey, size: u64, file: &mut File) -> Result<(), Failure> {
    let mut upload = storage.create(Draft::of(key, size))?;
    io::copy(file, &mut upload).map_err(|error| StorageError::writing(key, error))?;
    Ok(upload.commit(key)?)
}

#[cfg(test)]
mod tests;
