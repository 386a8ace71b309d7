//! A publication that changes settings, such as protection and customers: no object of a repository changes.

use raas_base::failure::Failure;
use raas_git::{Change, CommitId};

use super::{Done, acquire_lease, documents, recovery};
use crate::home::VendorLock;
use crate::lease::{Lease, PublishLease};
use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot::{SnapshotCheck, SnapshotPublisher};

/// A publication of settings that is being made. It holds the vendor's lock until it is dropped, and in a shared bucket
/// the publish lease.
pub struct SettingsPublication<'a> {
    registry: Registry<'a>,
    /// What an interrupted run has left unfinished.
    unfinished: Option<recovery::FinishedUpTo>,
    /// The vendor's record.
    pub record: Record,
    /// The last publication.
    pub head: Option<CommitId>,
    lease: Option<PublishLease<'a>>,
    _lock: VendorLock,
}

impl<'a> SettingsPublication<'a> {
    /// Begins a publication. Waits for the vendor's lock and the lease, and catches up with other homes.
    pub fn begin(registry: &Registry<'a>) -> Result<Self, Failure> {
        let lock = registry.vendor.lock(registry.say)?;
        let record = registry.vendor.record();
        // The lease names no repository: nobody who reads the bucket learns what is changed.
        let lease = registry.shared.then(|| acquire_lease(registry, None)).transpose()?;
        let unfinished = recovery::find_unfinished(registry, &record, Lease::Held)?;
        let head = record.head()?;
        Ok(Self { registry: *registry, unfinished, record, head, lease, _lock: lock })
    }

    /// The content of a file in the last publication.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        match &self.head {
            Some(head) => Ok(self.record.read(head, path)?),
            None => Ok(None),
        }
    }

    /// Publishes changes: makes the commit, and brings the snapshot and the checkout up to date. It leaves out files
    /// that already have the new content. If no change is left, there is no new commit.
    pub fn commit(mut self, changes: Vec<Change>, message: &str) -> Result<Option<Done>, Failure> {
        let mut real = Vec::new();
        for (path, content) in changes {
            if self.read(&path)? != content {
                real.push((path, content));
            }
        }
        documents::check(&real)?;
        let Registry { vendor, storage, shared, .. } = self.registry;
        if let Some(lease) = &mut self.lease {
            recovery::repair_reclaimed(storage, &self.record, self.head.as_ref(), lease)?;
        }
        if let (Some(since), Some(head)) = (&self.unfinished, &self.head) {
            let range = recovery::CommitRange { storage, record: &self.record, since, head };
            let mut renew = || PublishLease::renew_if_any(self.lease.as_mut());
            recovery::repair_changed_tags(&range, None, &mut renew)?;
        }
        let done = match &self.head {
            None if real.is_empty() => return Ok(None),
            Some(head) if real.is_empty() => Done { commit: head.clone(), changed: false },
            head => {
                PublishLease::renew_if_any(self.lease.as_mut())?;
                let commit = self.record.commit(head.as_ref(), &real, message)?;
                if shared && head.is_none() {
                    // As for an image: another home may publish first, and this commit may be set aside.
                    self.record.mark_unconfirmed(Some(&commit))?;
                }
                Done { commit, changed: true }
            }
        };
        if shared && (done.changed || self.unfinished.is_some()) {
            let publisher = SnapshotPublisher {
                vendor: vendor.name(),
                record: &self.record,
                storage,
                spool: vendor.folder(),
            };
            publisher.publish(SnapshotCheck::Quick, self.lease.as_mut())?;
            self.record.mark_unconfirmed(None)?;
        }
        vendor.checkout().update(&self.record, &done.commit)?;
        if done.changed || self.unfinished.is_some() {
            self.record.tidy()?;
        }
        Ok(Some(done))
    }
}
