//! What other homes have published to the vendor's bucket, taken into this home's record.

use std::time::Duration;

use raas_types::Pointer;

use crate::config::Config;
use crate::failure::Failure;
use crate::home::Vendor;
use crate::output;
use crate::record::{CommitId, Record};
use crate::snapshot::{self, Standing};
use crate::storage::{self, Storage};

/// For how long a command that only reads waits for one that publishes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the home has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
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
pub(crate) fn catch_up(
    vendor: &Vendor,
    record: &Record,
    storage: &dyn Storage,
    when: When,
) -> Result<Option<Pointer>, Failure> {
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
        output::error(&format!(
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
pub(crate) fn refresh_from(vendor: &Vendor, storage: &dyn Storage) -> Result<(), Failure> {
    let record = vendor.record();
    let standing = snapshot::standing(storage)?.pointer().map(|pointer| pointer.revision);
    if standing.is_some() && standing.as_deref() == record.head()?.as_ref().map(CommitId::as_str) {
        return Ok(());
    }
    match vendor.lock_within(PATIENCE)? {
        Some(_lock) => catch_up(vendor, &record, storage, When::Now).map(drop),
        None => Ok(()),
    }
}

/// As [`refresh_from`], for whoever must not go on without what others have published: it waits.
pub(crate) fn refresh_surely(vendor: &Vendor, storage: &dyn Storage) -> Result<(), Failure> {
    let _lock = vendor.lock()?;
    catch_up(vendor, &vendor.record(), storage, When::Now).map(drop)
}

/// As [`refresh_from`], for commands that only read. A vendor without a bucket of a service has nothing to catch up with.
/// Where the bucket cannot be asked, what this home knows has to do, and that is said.
pub(crate) fn refresh_or_say(vendor: &Vendor, config: &Config) {
    if !config.is_shared(vendor.name()) {
        return;
    }
    let refreshed =
        storage::open_to_read(vendor, config).and_then(|storage| refresh_from(vendor, storage.as_ref()));
    if let Err(failure) = refreshed {
        let failure = failure.to_string();
        let why = failure.strip_prefix("error: ").unwrap_or(&failure);
        output::error(&format!("Note: this is what this home knows of {}; {why}", vendor.name()));
    }
}
