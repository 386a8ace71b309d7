//! Changing what a vendor publishes: one commit under the vendor's lock, and what follows from it.
//!
//! ```text
//! manifests ──▶ commit ──▶ objects named by tag ──▶ snapshot and pointer ──▶ checkout
//!               = the publication                   (shared buckets only)
//! ```
//!
//! A run that is killed before its commit has published nothing. If it is killed later, the publication is made and the
//! rest is missing. The next publication of any image finishes it, and so does a server of this home when it starts
//! (the module `recovery`).
//!
//! Several homes may publish to a bucket of a service. A home then publishes while it holds the publish lease, on top of
//! what other homes have published ([`crate::catch_up`]).

mod documents;
mod recovery;
mod settings;
mod tag_objects;

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::{Content, Document, V1Content, V2Extension, keep_unknown_keys, tree};
use raas_types::{Digest, ObjectKey, Reference, RepositoryName, Tag};

use crate::home::{Vendor, VendorLock};
use crate::inventory;
use crate::lease::{Lease, LeaseHolder, LeasePlace, LeaseTiming, PublishLease};
use crate::reading::Reading;
use crate::record::{Message, Record};
use crate::registry::Registry;
use crate::repository_listing::RepositoryListing;
use crate::service;
use crate::snapshot::{self, SnapshotCheck, SnapshotPublisher};
use crate::storage::Storage;
use raas_base::failure::{Failure, Kind};
use raas_base::interrupt;
use raas_git::{Change, CommitId};
pub use recovery::{reconcile, recover, repair_reclaimed};
pub use settings::SettingsPublication;
use tag_objects::TagObjects;

/// Is called for each object with its key, its length in bytes, and whether it was written.
pub type OnObject<'a> = &'a mut dyn FnMut(&ObjectKey, u64, bool);

/// A publication that is being made. It holds the vendor's lock until it is dropped.
pub struct Publication<'a> {
    vendor: &'a Vendor,
    storage: &'a dyn Storage,
    /// What the bucket holds of the repository.
    listing: RepositoryListing<'a>,
    /// Whether other homes may publish to the bucket too, and servers elsewhere read it.
    shared: bool,
    /// What an interrupted run has left unfinished.
    unfinished: Option<recovery::FinishedUpTo>,
    /// The vendor's record.
    pub record: Record,
    /// The last publication.
    pub head: Option<CommitId>,
    /// The publish lease, if it is held.
    lease: Option<PublishLease<'a>>,
    _lock: VendorLock,
}

/// What a repository publishes so far.
#[derive(Debug, Default)]
pub struct Current {
    /// Content for today's clients.
    pub v2: Option<V2Extension>,
    /// Docker v1 content.
    pub v1: Option<V1Content>,
    /// Whether only users may see the repository.
    pub protected: bool,
}

/// The publication after a run: a new one, or the last one if nothing changed.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its commit.
    pub commit: CommitId,
    /// Whether it is a new one.
    pub changed: bool,
}

impl<'a> Publication<'a> {
    /// Begins a publication of one repository and of the operator's documents. Waits for the vendor's lock, and catches up
    /// with other homes. Without the lease, a publication to a shared bucket can find out what there is to do
    /// ([`needs_lease`](Self::needs_lease)), but cannot change anything.
    pub fn begin(registry: &Registry<'a>, name: &'a RepositoryName, lease: Lease) -> Result<Self, Failure> {
        let Registry { vendor, storage, shared, .. } = *registry;
        let lock = vendor.lock(registry.say)?;
        let record = vendor.record();
        let publish_lease = match lease {
            Lease::Held if shared => Some(acquire_lease(registry, Some(name))?),
            Lease::NotHeld | Lease::Held => None,
        };
        let unfinished = recovery::find_unfinished(registry, &record, lease)?;
        let head = record.head()?;
        // Listed under the lock, so that it shows what other pushes have stored under tags.
        let published = published_keys(&record, head.as_ref(), name)?;
        let listing = RepositoryListing::read(storage, name, false, &published)?;
        Ok(Self {
            vendor,
            storage,
            listing,
            shared,
            unfinished,
            record,
            head,
            lease: publish_lease,
            _lock: lock,
        })
    }

    /// The repository that this publication is of.
    pub fn repository(&self) -> &RepositoryName {
        self.listing.repository()
    }

    /// What the repository publishes so far.
    pub fn current(&self) -> Result<Current, Failure> {
        match &self.head {
            Some(head) => Current::read(&self.record, head, self.listing.repository()),
            None => Ok(Current::default()),
        }
    }

    /// Checks that the stored content is still there, in the listing that this publication began with.
    ///
    /// # Errors
    /// An object is gone. A `raas gc` with a short grace period can have removed it.
    pub fn check_stored(&self, content: &[(ObjectKey, u64)]) -> Result<(), Failure> {
        for (key, size) in content {
            if !self.listing.exists(key, *size)? {
                let message =
                    format!("{key} was stored, and is not in {} any more", self.storage.display_name());
                return Err(Failure::new(Kind::Environment, message)
                    .hint("push again, and let no `raas gc` with a short grace period run at the same time; nothing was published"));
            }
        }
        Ok(())
    }

    /// Stores a manifest under its digest.
    pub fn put_manifest(
        &mut self,
        digest: &Digest,
        media_type: &str,
        bytes: &[u8],
        on_object: OnObject<'_>,
    ) -> Result<(), Failure> {
        PublishLease::renew_if_any(self.lease.as_mut())?;
        let key = ObjectKey::manifest(self.listing.repository(), Reference::Digest(*digest), media_type);
        let written = self.listing.put(&key, bytes)?;
        on_object(&key, bytes.len() as u64, written);
        Ok(())
    }

    /// The changes that make these files published. A file is a path with its content, or with `None` if it is removed.
    /// Keys of a published document that this raas does not know stay in it.
    pub fn changes(&self, files: BTreeMap<String, Option<Vec<u8>>>) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        let reader = self.head.as_ref().map(|head| self.record.reader(head)).transpose()?;
        for (path, content) in files {
            let old = reader.as_ref().map(|reader| reader.read(&path)).transpose()?.flatten();
            let content = match (&old, content) {
                (Some(old), Some(new)) if *old != new && path.ends_with(".json") => {
                    Some(keep_unknown_keys(old, new))
                }
                (_, content) => content,
            };
            if old != content {
                changes.push((path, content));
            }
        }
        Ok(changes)
    }

    fn tag_objects<'b>(&'b self, commit: &'b CommitId) -> TagObjects<'b> {
        TagObjects { storage: self.storage, listing: &self.listing, record: &self.record, commit }
    }

    /// Whether these changes need the publish lease, and this publication does not hold it. Then the caller begins a new
    /// publication with the lease.
    pub fn needs_lease(&self, changes: &[Change]) -> Result<bool, Failure> {
        if !self.shared || self.lease.is_some() {
            return Ok(false);
        }
        // A note is of a run of this home that was killed: its lease keeps other homes waiting until somebody reclaims it.
        if self.unfinished.is_some() || !changes.is_empty() || self.vendor.lease_note().exists() {
            return Ok(true);
        }
        match &self.head {
            // Somebody may have changed the objects named by tag.
            Some(head) => Ok(!self.tag_objects(head).are_whole()?),
            None => Ok(false),
        }
    }

    /// Publishes changes: makes the commit, and brings the objects named by tag, the snapshot and the checkout up to date.
    /// Without changes there is no new commit.
    pub fn commit(
        mut self,
        changes: &[Change],
        message: &Message,
        on_object: OnObject<'_>,
    ) -> Result<Done, Failure> {
        debug_assert!(
            !self.shared || self.lease.is_some() || changes.is_empty(),
            "a shared bucket needs the lease"
        );
        documents::check(changes)?;
        if let Some(lease) = &mut self.lease {
            recovery::repair_reclaimed(self.storage, &self.record, self.head.as_ref(), lease)?;
        }
        let mut renew = || PublishLease::renew_if_any(self.lease.as_mut());
        renew()?;
        if let (Some(since), Some(head)) = (&self.unfinished, &self.head) {
            let range = recovery::CommitRange { storage: self.storage, record: &self.record, since, head };
            recovery::repair_changed_tags(&range, Some(self.listing.repository()), &mut renew)?;
        }
        let done = match &self.head {
            Some(head) if changes.is_empty() => Done { commit: head.clone(), changed: false },
            head => {
                // An interrupt waits for the commit, so that it can say whether the publication is made.
                let commit = interrupt::step(|| {
                    let commit = self.record.commit(head.as_ref(), changes, &message.to_string())?;
                    interrupt::published();
                    Ok::<_, Failure>(commit)
                })?;
                if self.shared && head.is_none() {
                    // If another home publishes first, this commit has nothing in common with it. The mark says that
                    // this commit may be set aside.
                    self.record.mark_unconfirmed(Some(&commit))?;
                }
                Done { commit, changed: true }
            }
        };
        if let Err(failure) = self.update_bucket(&done, on_object) {
            self.undo_tags();
            return Err(failure);
        }
        self.vendor.checkout().update(&self.record, &done.commit)?;
        if done.changed || self.unfinished.is_some() {
            self.record.tidy()?;
        }
        PublishLease::release_if_any(self.lease.take())?;
        Ok(done)
    }
}

impl Publication<'_> {
    /// Brings the objects named by tag and the snapshot up to date.
    fn update_bucket(&mut self, done: &Done, on_object: OnObject<'_>) -> Result<(), Failure> {
        let mut renew = || PublishLease::renew_if_any(self.lease.as_mut());
        let (storage, listing, record) = (self.storage, &self.listing, &self.record);
        TagObjects { storage, listing, record, commit: &done.commit }.update(on_object, &mut renew)?;
        if self.shared && (done.changed || self.unfinished.is_some()) {
            renew()?;
            let Self { record, storage, vendor, lease, .. } = self;
            let (vendor, spool) = (vendor.name(), vendor.folder());
            let publisher = SnapshotPublisher { vendor, record, storage: *storage, spool };
            publisher.publish(SnapshotCheck::Quick, lease.as_mut())?;
            self.record.mark_unconfirmed(None)?;
        }
        Ok(())
    }

    /// After a failure: makes the objects named by tag as the last publication has them, if the pointer does not have the
    /// new commit. Another home may publish next, and knows nothing of that commit.
    fn undo_tags(&mut self) {
        let Some(lease) = &mut self.lease else { return };
        let published = match (lease.ensure_held(), self.record.head(), snapshot::read_pointer(self.storage))
        {
            (Ok(()), Ok(Some(ours)), Ok(Reading::There(pointer))) if pointer.revision != ours.as_str() => {
                self.head.as_ref()
            }
            // The pointer has the new commit, or nobody can know. The next holder of the lease repairs it.
            _ => None,
        };
        let name = [self.listing.repository().clone()];
        let repaired = published
            .map(|head| recovery::repair_tags(self.storage, &self.record, head, &name, &mut || Ok(())));
        if repaired.is_none_or(|repaired| repaired.is_err()) {
            lease.abandon();
        }
    }
}

/// Waits until this home holds the publish lease of the bucket. The caller holds the vendor's lock.
pub fn acquire_lease<'a>(
    registry: &Registry<'a>,
    name: Option<&RepositoryName>,
) -> Result<PublishLease<'a>, Failure> {
    let Registry { vendor, storage, say, .. } = *registry;
    let conditional = service::conditional_writes(registry)?;
    let place = LeasePlace { storage, conditional, note: vendor.lease_note() };
    PublishLease::acquire(&place, &LeaseHolder::new(name), &LeaseTiming::default(), say)
}

/// The keys of all objects that the last publication of a repository names.
pub fn published_keys(
    record: &Record,
    head: Option<&CommitId>,
    name: &RepositoryName,
) -> Result<BTreeSet<String>, Failure> {
    let mut keys = BTreeSet::new();
    let Some(head) = head else { return Ok(keys) };
    for path in [tree::document(name), tree::v1_document(name)] {
        // A document that cannot be read names nothing: then all its objects are stored anew.
        let document = record.read(head, &path)?.and_then(|bytes| Document::parse(&bytes).ok());
        if let Some(document) = document {
            inventory::objects(&document, &mut |key, _| {
                keys.insert(key.to_string());
            });
        }
    }
    Ok(keys)
}

impl Current {
    /// What the repository publishes in a commit.
    pub fn read(record: &Record, commit: &CommitId, name: &RepositoryName) -> Result<Self, Failure> {
        let mut current = Self::default();
        let read = |path: String| -> Result<Option<Document>, Failure> {
            let Some(bytes) = record.read(commit, &path)? else { return Ok(None) };
            let document = Document::parse(&bytes).map_err(|error| {
                Failure::new(Kind::Environment, format!("{path} of commit {commit} cannot be read"))
                    .caused_by(error)
                    .hint("correct the document in the record with git, or publish the image under another name")
            })?;
            Ok(Some(document))
        };
        if let Some(document) = read(tree::document(name))? {
            current.protected = document.protected;
            if let Content::V2(v2) = document.content {
                current.v2 = v2.raas;
            }
        }
        if let Some(document) = read(tree::v1_document(name))?
            && let Content::V1(v1) = document.content
        {
            current.protected |= document.protected;
            current.v1 = Some(v1);
        }
        Ok(current)
    }

    /// The tags that today's clients can pull.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.v2.iter().flat_map(|v2| v2.tags.keys())
    }

    /// Whether nothing is published.
    pub fn is_empty(&self) -> bool {
        self.v2.is_none() && self.v1.is_none()
    }
}
