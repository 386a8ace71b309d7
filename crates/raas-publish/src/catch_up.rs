//! Catching up: taking what other homes have published to the vendor's bucket into this home's record.
//!
//! This file collects the facts, the module `decision` decides, and this file carries the decision out.

mod decision;

use std::time::Duration;

use raas_types::Pointer;

use crate::lease::Lease;
use crate::reading::Reading;
use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot;
use decision::{Facts, LastCommit, Pointed, Relation, Step, decide};
use raas_base::failure::Failure;
use raas_git::CommitId;

/// How long a command that only reads waits for a run that publishes on this machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes record and checkout hold the commit of the bucket's pointer, if it is later than what they hold. The caller holds
/// the vendor's lock. Returns the pointer, or `None` if there is no pointer that can be read. Then the caller may write one,
/// and must not conclude that nothing is published.
///
/// A killed run may have made a commit that the bucket does not have. If another home has published since, that commit is
/// set aside under `refs/raas/aside/`, and a line says so.
///
/// # Errors
/// The bucket holds another registry, or it is not certain what the bucket publishes.
pub fn catch_up(registry: &Registry<'_>, record: &Record, lease: Lease) -> Result<Option<Pointer>, Failure> {
    let Registry { vendor, storage, .. } = *registry;
    let state = snapshot::read_pointer(storage)?;
    loop {
        let ours = record.head()?;
        let pointed = pointed(registry, record, &state, ours.as_ref())?;
        let facts = Facts { lease, pointed, last_commit: last_commit(record, ours.as_ref(), pointed)? };
        let step = decide(&facts);
        let pointer = match (step, &state) {
            (Step::NothingPublished, _) => return Ok(None),
            (Step::RefuseUnreadable, _) => {
                let Reading::Unreadable(failure) = state else {
                    unreachable!("this step is for such a pointer")
                };
                return Err(snapshot::unreadable_pointer(failure));
            }
            (Step::FollowHistory, _) => {
                let ends = snapshot::recover_without_pointer(vendor, record, storage)?;
                if ends.is_empty() {
                    return Ok(None);
                }
                let damage = state.readable().err();
                return Err(snapshot::without_pointer(registry, record, &ends, damage));
            }
            (_, Reading::There(pointer)) => pointer,
            (_, _) => unreachable!("without a pointer there are three steps"),
        };
        match step {
            Step::RefuseOtherVendor => {
                let found = pointer.vendor.as_ref().expect("another vendor is named");
                return Err(snapshot::another_vendor(storage, vendor.name(), found));
            }
            Step::RefuseOtherRecord => return Err(snapshot::another_record(storage, pointer)),
            // Afterwards the record has the pointer's commit, so the next round decides on it.
            Step::FetchHistory => snapshot::fetch_history(record, storage, pointer, vendor.folder())?,
            Step::Advance { set_aside } => {
                let theirs = CommitId::parse(&pointer.revision)?;
                record.check_tree(&theirs, &storage.display_name())?;
                if let (true, Some(ours)) = (set_aside, &ours) {
                    keep_aside(registry, record, ours, &theirs)?;
                }
                record.advance(ours.as_ref(), &theirs)?;
                vendor.checkout().update(record, &theirs)?;
                return Ok(Some(pointer.clone()));
            }
            Step::UpToDate | Step::NothingPublished | Step::RefuseUnreadable | Step::FollowHistory => {
                return Ok(Some(pointer.clone()));
            }
        }
    }
}

/// What the pointer says, compared with the record.
fn pointed(
    registry: &Registry<'_>,
    record: &Record,
    state: &Reading<Pointer>,
    ours: Option<&CommitId>,
) -> Result<Pointed, Failure> {
    let pointer = match state {
        Reading::Absent => return Ok(Pointed::Nothing),
        Reading::Unreadable(_) => return Ok(Pointed::Unreadable),
        Reading::There(pointer) => pointer,
    };
    let theirs = CommitId::parse(&pointer.revision)?;
    // No other vendor has a commit of this record: then the name is wrong, and the next pointer has the right one.
    if pointer.vendor.as_ref().is_some_and(|named| named != registry.vendor.name()) && !record.has(&theirs)? {
        return Ok(Pointed::OtherVendor);
    }
    let relation = relation(record, ours, &theirs)?;
    Ok(Pointed::Commit { relation, has_history: !pointer.history.is_empty() })
}

/// How the pointer's commit relates to this home's last commit.
fn relation(record: &Record, ours: Option<&CommitId>, theirs: &CommitId) -> Result<Relation, Failure> {
    if ours == Some(theirs) {
        return Ok(Relation::Same);
    }
    if !record.has(theirs)? {
        return Ok(Relation::NotInRecord);
    }
    let Some(ours) = ours else { return Ok(Relation::Newer) };
    Ok(if record.is_ancestor(theirs, ours)? {
        Relation::Older
    } else if record.is_ancestor(ours, theirs)? {
        Relation::Newer
    } else if record.is_related(ours, theirs)? {
        Relation::Diverged
    } else {
        Relation::Unrelated
    })
}

/// Whether the bucket is known to have had this home's last commit. Only some decisions need it, and it costs a run of git.
fn last_commit(record: &Record, ours: Option<&CommitId>, pointed: Pointed) -> Result<LastCommit, Failure> {
    let Some(ours) = ours else { return Ok(LastCommit::None) };
    let matters =
        matches!(pointed, Pointed::Commit { relation: Relation::NotInRecord | Relation::Unrelated, .. });
    Ok(if matters && record.is_unconfirmed(ours)? { LastCommit::Unconfirmed } else { LastCommit::Confirmed })
}

/// Sets a commit of this home aside, and says what must be done again.
fn keep_aside(
    registry: &Registry<'_>,
    record: &Record,
    ours: &CommitId,
    theirs: &CommitId,
) -> Result<(), Failure> {
    let kept = record.set_aside(ours)?;
    let lost = record.subjects(theirs, ours)?;
    registry.say.line(&format!(
        "Note: {} does not have commit {}, which was made here: another home has published since. The commit is set aside \
         as {kept}. Do again what is not published: {}",
        registry.storage.display_name(),
        ours.short(),
        lost.join("; "),
    ));
    Ok(())
}

/// Catches up for a command that only reads. It waits for a run that publishes on this machine only for a short time, and
/// then goes on with what this home knows. It takes the lock only if there is something new.
///
/// # Errors
/// As [`catch_up`].
pub fn try_catch_up(registry: &Registry<'_>) -> Result<(), Failure> {
    let record = registry.vendor.record();
    let published =
        snapshot::read_pointer(registry.storage)?.readable().map_err(snapshot::unreadable_pointer)?;
    let published = published.map(|pointer| pointer.revision);
    if published.is_some() && published.as_deref() == record.head()?.as_ref().map(CommitId::as_str) {
        return Ok(());
    }
    match registry.vendor.lock_within(PATIENCE)? {
        Some(_lock) => catch_up(registry, &record, Lease::NotHeld).map(drop),
        None => Ok(()),
    }
}

/// Takes the vendor's lock, and catches up for a command that needs what other homes have published.
///
/// # Errors
/// As [`catch_up`].
pub fn lock_and_catch_up(registry: &Registry<'_>) -> Result<(), Failure> {
    let _lock = registry.vendor.lock(registry.say)?;
    catch_up(registry, &registry.vendor.record(), Lease::NotHeld).map(drop)
}
