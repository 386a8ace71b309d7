//! What other homes have published to the vendor's bucket, taken into this home's record.

use std::path::Path;

use raas_types::Pointer;

use crate::checkout::Checkout;
use crate::config::Config;
use crate::failure::Failure;
use crate::home::Vendor;
use crate::output;
use crate::record::{CommitId, Record};
use crate::snapshot;
use crate::storage::{self, Storage};

/// Makes the record and the checkout hold what the bucket's pointer says, if that is later than what they hold. The
/// caller holds the vendor's lock. Gives the pointer, if there is one.
///
/// A publication of this home that never reached the bucket, since its run was killed at that moment, is in the way
/// where another home has published meanwhile: it is set aside, and told of. Its push did not succeed.
///
/// # Errors
/// The bucket holds another registry, which has nothing in common with this home's.
pub(crate) fn catch_up(
    record: &Record,
    checkout: &Checkout,
    storage: &dyn Storage,
    spool: &Path,
) -> Result<Option<Pointer>, Failure> {
    let Some(pointer) = snapshot::standing(storage)? else { return Ok(None) };
    // No commit at all is a pointer that is damaged, and is written anew.
    let Ok(theirs) = CommitId::parse(&pointer.revision) else { return Ok(None) };
    let ours = record.head()?;
    if ours.as_ref() == Some(&theirs) {
        return Ok(Some(pointer));
    }
    if !record.has(&theirs)? {
        if ours.is_some() && pointer.history.is_empty() {
            return Err(snapshot::another_record(storage, &pointer));
        }
        snapshot::take_in(record, storage, &pointer, spool)?;
    }
    if let Some(ours) = &ours {
        if record.is_ancestor(&theirs, ours)? {
            return Ok(Some(pointer));
        }
        if !record.is_ancestor(ours, &theirs)? {
            if !record.is_related(ours, &theirs)? {
                return Err(snapshot::another_record(storage, &pointer));
            }
            let kept = record.set_aside(ours)?;
            output::error(&format!(
                "Note: commit {} was made here and never reached {}, where another home has published since. It is set \
                 aside as {kept}; push its images again",
                ours.short(),
                storage.place()
            ));
        }
    }
    record.advance(ours.as_ref(), &theirs)?;
    checkout.update(record, &theirs)?;
    Ok(Some(pointer))
}

/// As [`catch_up`], for commands that only read. A vendor without a bucket of a service has nothing to catch up with.
pub(crate) fn refresh(vendor: &Vendor, config: &Config) -> Result<(), Failure> {
    if config.vendor(vendor.name()).s3_bucket.is_none() {
        return Ok(());
    }
    refresh_from(vendor, storage::open_to_read(vendor, config)?.as_ref())
}

/// As [`refresh`], from storage that is open.
pub(crate) fn refresh_from(vendor: &Vendor, storage: &dyn Storage) -> Result<(), Failure> {
    let _lock = vendor.lock()?;
    catch_up(&vendor.record(), &vendor.checkout(), storage, vendor.folder()).map(drop)
}

/// As [`refresh`]; where the bucket cannot be asked, what this home knows has to do, and that is said.
pub(crate) fn refresh_or_say(vendor: &Vendor, config: &Config) {
    if let Err(failure) = refresh(vendor, config) {
        let failure = failure.to_string();
        let why = failure.strip_prefix("error: ").unwrap_or(&failure);
        output::error(&format!("Note: this is what this home knows of {}; {why}", vendor.name()));
    }
}
