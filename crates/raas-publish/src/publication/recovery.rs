//! Recovery: finishing what an interrupted run has left.
//!
//! A commit is a publication. The objects named by tag, the pointer and the checkout follow from it. If the run is killed in
//! between, a later run finds out how far they are ([`find_unfinished`]) and brings them up to date.

use std::collections::BTreeSet;

use raas_types::RepositoryName;
use raas_types::crane::{Document, tree};

use super::tag_objects::TagObjects;
use super::{acquire_lease, published_keys};
use crate::catch_up::catch_up;
use crate::lease::{Lease, PublishLease};
use crate::reading::Reading;
use crate::record::Record;
use crate::registry::Registry;
use crate::repository_listing::RepositoryListing;
use crate::snapshot::{self, SnapshotCheck, SnapshotPublisher};
use crate::storage::Storage;
use raas_base::failure::Failure;
use raas_git::CommitId;

/// Up to which commit everything that follows from commits is done.
#[derive(Debug)]
pub(super) enum FinishedUpTo {
    /// Unknown: perhaps nothing is done.
    Unknown,
    /// Everything is done up to this commit.
    Commit(CommitId),
}

/// The commits whose objects named by tag may be missing.
pub(super) struct CommitRange<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) record: &'a Record,
    /// Up to here everything is done.
    pub(super) since: &'a FinishedUpTo,
    /// The last commit.
    pub(super) head: &'a CommitId,
}

/// Finds out whether an interrupted run has left something unfinished, and up to which commit all is done. `None` if all is
/// done. Catches up with other homes first. The caller holds the vendor's lock.
///
/// In a shared bucket the pointer is written last, and on this machine the checkout. So they say how far the run came.
pub(super) fn find_unfinished(
    registry: &Registry<'_>,
    record: &Record,
    lease: Lease,
) -> Result<Option<FinishedUpTo>, Failure> {
    if let Some(storage) = registry.shared_storage() {
        let pointer = catch_up(registry, record, lease)?;
        let Some(head) = record.head()? else { return Ok(None) };
        return Ok(match pointer {
            None => Some(FinishedUpTo::Unknown),
            Some(pointer) if pointer.revision != head.as_str() => {
                Some(FinishedUpTo::Commit(CommitId::parse(&pointer.revision)?))
            }
            Some(pointer) if snapshot::is_whole(storage, &pointer)? => None,
            Some(_) => Some(FinishedUpTo::Commit(head)),
        });
    }
    let Some(head) = record.head()? else { return Ok(None) };
    Ok(match registry.vendor.checkout().revision() {
        Reading::There(revision) if revision == head => None,
        Reading::There(revision) if record.has(&revision)? => Some(FinishedUpTo::Commit(revision)),
        Reading::There(_) | Reading::Absent | Reading::Unreadable(_) => Some(FinishedUpTo::Unknown),
    })
}

/// Repairs the objects named by tag of all repositories that have changed since that commit, except one.
pub(super) fn repair_changed_tags(
    range: &CommitRange<'_>,
    except: Option<&RepositoryName>,
    renew: &mut dyn FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let CommitRange { storage, record, since, head } = *range;
    let mut names = repositories(record, head)?;
    if let FinishedUpTo::Commit(since) = since {
        // A removed repository has objects that must go.
        names.extend(repositories(record, since)?);
        let changed = record.changed(since, head)?;
        let changed: BTreeSet<&str> = changed.iter().map(|(path, _)| path.as_str()).collect();
        names.retain(|name| changed.contains(tree::document(name).as_str()));
    }
    let names: Vec<RepositoryName> = names.into_iter().filter(|name| Some(name) != except).collect();
    repair_tags(storage, record, head, &names, renew)
}

/// Repairs the repositories that the holders of reclaimed leases have left half changed.
pub fn repair_reclaimed(
    storage: &dyn Storage,
    record: &Record,
    head: Option<&CommitId>,
    lease: &mut PublishLease<'_>,
) -> Result<(), Failure> {
    // Before the first publication, no commit says what the objects should be.
    if let Some(head) = head {
        let mut names = lease.unrepaired();
        if lease.is_any_unrepaired() {
            names.extend(repositories(record, head)?);
            names.sort();
            names.dedup();
        }
        repair_tags(storage, record, head, &names, &mut || lease.renew())?;
    }
    lease.mark_repaired();
    Ok(())
}

/// Makes the objects named by tag of these repositories as a commit says.
pub(super) fn repair_tags(
    storage: &dyn Storage,
    record: &Record,
    head: &CommitId,
    names: &[RepositoryName],
    renew: &mut dyn FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    for name in names {
        let published = published_keys(record, Some(head), name)?;
        let listing = RepositoryListing::read(storage, name, false, &published)?;
        TagObjects { storage, listing: &listing, record, commit: head }.update(&mut |_, _, _| {}, renew)?;
    }
    Ok(())
}

/// Checks and repairs everything that follows from the last publication: the objects named by tag, the snapshot in the
/// bucket, the checkout. It trusts none of them.
pub fn reconcile(registry: &Registry<'_>) -> Result<(), Failure> {
    let _lock = registry.vendor.lock(registry.say)?;
    finish(registry, |_| FinishedUpTo::Unknown)
}

/// Finishes what an interrupted run has left, and repairs the checkout.
pub fn recover(registry: &Registry<'_>) -> Result<(), Failure> {
    let _lock = registry.vendor.lock(registry.say)?;
    let record = registry.vendor.record();
    let checkout = registry.vendor.checkout();
    if registry.shared
        && let Some(head) = record.head()?
    {
        // Before the service is asked: servers of this home get the last publication even if it does not answer.
        checkout.repair(&record, &head)?;
    }
    match find_unfinished(registry, &record, Lease::NotHeld)? {
        Some(_) => finish(registry, |since| since),
        None => record.head()?.map_or(Ok(()), |head| checkout.repair(&record, &head)),
    }
}

/// Finishes the last publication, from the commit that `from` chooses.
fn finish(registry: &Registry<'_>, from: impl FnOnce(FinishedUpTo) -> FinishedUpTo) -> Result<(), Failure> {
    let Registry { vendor, storage, .. } = *registry;
    let record = vendor.record();
    let shared = registry.shared_storage();
    let mut lease = shared.map(|_| acquire_lease(registry, None)).transpose()?;
    let found = find_unfinished(registry, &record, Lease::Held)?;
    let Some(head) = record.head()? else { return Ok(()) };
    let from = from(found.unwrap_or_else(|| FinishedUpTo::Commit(head.clone())));
    if let (Some(storage), Some(lease)) = (shared, &mut lease) {
        repair_reclaimed(storage, &record, Some(&head), lease)?;
    }
    let mut renew = || PublishLease::renew_if_any(lease.as_mut());
    repair_changed_tags(
        &CommitRange { storage, record: &record, since: &from, head: &head },
        None,
        &mut renew,
    )?;
    renew()?;
    if let Some(storage) = shared {
        let publisher =
            SnapshotPublisher { vendor: vendor.name(), record: &record, storage, spool: vendor.folder() };
        publisher.publish(SnapshotCheck::Full, lease.as_mut())?;
        record.mark_unconfirmed(None)?;
    }
    vendor.checkout().repair(&record, &head)?;
    PublishLease::release_if_any(lease)
}

/// The vendor's own repositories.
fn repositories(record: &Record, head: &CommitId) -> Result<BTreeSet<RepositoryName>, Failure> {
    let mut documents = record.files(head, tree::DATA)?;
    documents.retain(|file| file.path.ends_with(".json") && !tree::is_operators(&file.path));
    let mut names = BTreeSet::new();
    record.read_each(&documents, |file, bytes| {
        // `raas status` reports a document that does not parse.
        let name = Document::parse(&bytes).ok().map(|document| document.name);
        names.extend(name.filter(|name| tree::document(name) == file.path));
        Ok(())
    })?;
    Ok(names)
}
