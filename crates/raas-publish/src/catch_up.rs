//! What other homes have published to the vendor's bucket, taken into this home's record.

use std::time::Duration;

use raas_types::Pointer;

use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot::{self, Standing};
use raas_base::failure::Failure;
use raas_git::CommitId;

/// For how long a command that only reads waits for one that publishes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the home has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Not yet: others may be publishing.
    Now,
    /// It has: nobody else publishes.
    InTurn,
}

/// Makes the record and the checkout hold what the bucket's pointer says, if that is later than what they hold. The
/// caller holds the vendor's lock. Gives the pointer, if there is one.
///
/// A publication of this home that the bucket does not have, since its run was killed at that moment, is in the way
/// where another home has published meanwhile: it is set aside, and told of.
///
/// # Errors
/// The bucket holds another registry, or it cannot be known which.
pub fn catch_up(registry: &Registry<'_>, record: &Record, when: When) -> Result<Option<Pointer>, Failure> {
    let Registry { vendor, storage, say, .. } = *registry;
    let pointer = match snapshot::standing(storage)? {
        Standing::Pointer(pointer) => pointer,
        // Before the turn another home may be at its first publication.
        Standing::Missing if when == When::Now => return Ok(None),
        lost if snapshot::recover(vendor, record, storage)? => return Ok(lost.pointer()),
        Standing::Missing => return Err(snapshot::without_pointer(storage, None)),
        Standing::Damaged(error) => return Err(snapshot::without_pointer(storage, Some(error))),
    };
    if let Some(named) = pointer.vendor.as_ref().filter(|named| *named != vendor.name()) {
        return Err(snapshot::another_vendor(storage, vendor.name(), named));
    }
    let theirs = CommitId::parse(&pointer.revision)?;
    let ours = record.head()?;
    if ours.as_ref() == Some(&theirs) {
        return Ok(Some(pointer));
    }
    if !record.has(&theirs)? {
        let known = ours.as_ref().map_or(Ok(false), |ours| record.is_unconfirmed(ours).map(|lost| !lost))?;
        if known && pointer.history.is_empty() {
            return Err(snapshot::another_record(storage, &pointer));
        }
        snapshot::take_in(record, storage, &pointer, vendor.folder())?;
    }
    let mut aside = None;
    if let Some(ours) = &ours {
        if record.is_ancestor(&theirs, ours)? {
            return Ok(Some(pointer));
        }
        if !record.is_ancestor(ours, &theirs)? {
            // A first publication that never came to anything has nothing in common with another one.
            if !record.is_related(ours, &theirs)? && !record.is_unconfirmed(ours)? {
                return Err(snapshot::another_record(storage, &pointer));
            }
            aside = Some(ours);
        }
    }
    record.check_tree(&theirs, &storage.place())?;
    if let Some(ours) = aside {
        let kept = record.set_aside(ours)?;
        say.line(&format!(
            "Note: commit {} was made here, and {} does not have it, where another home has published since. It is set \
             aside as {kept}; push its images again",
            ours.short(),
            storage.place()
        ));
    }
    record.advance(ours.as_ref(), &theirs)?;
    vendor.checkout().update(record, &theirs)?;
    Ok(Some(pointer))
}

/// As [`catch_up`], without a wait for those who publish on this machine: where one takes its time, what this home knows
/// has to do. Nothing is locked as long as there is nothing new.
pub fn refresh_from(registry: &Registry<'_>) -> Result<(), Failure> {
    let record = registry.vendor.record();
    let standing = snapshot::standing(registry.storage)?.pointer().map(|pointer| pointer.revision);
    if standing.is_some() && standing.as_deref() == record.head()?.as_ref().map(CommitId::as_str) {
        return Ok(());
    }
    match registry.vendor.lock_within(PATIENCE)? {
        Some(_lock) => catch_up(registry, &record, When::Now).map(drop),
        None => Ok(()),
    }
}

/// As [`refresh_from`], for whoever must not go on without what others have published: it waits.
pub fn refresh_surely(registry: &Registry<'_>) -> Result<(), Failure> {
    let _lock = registry.vendor.lock()?;
    catch_up(registry, &registry.vendor.record(), When::Now).map(drop)
}
