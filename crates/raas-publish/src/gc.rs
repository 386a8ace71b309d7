//! Garbage collection: removing objects that no publication refers to.
//!
//! Kept: every object that a document names, in any publication that was the last one at some time in the days kept, over
//! all repositories of the vendor. A document lists every manifest and blob of its repository, also the children of indexes
//! and attached artifacts. So no manifest needs to be parsed to find more.
//!
//! Removed: everything else that is older than the grace period. A running push stores its content before a document names
//! it, so young objects stay. The vendor's lock and the publish lease are held from reading the record to the last removal,
//! so that no push can publish in between.
//!
//! Nothing is removed if servers may serve a publication that the record does not have: see the module `served`.

mod served;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use raas_types::ObjectKey;
use raas_types::crane::{Document, tree};

use crate::catch_up::catch_up;
use crate::inventory;
use crate::lease::{Lease, PublishLease};
use crate::publication::{acquire_lease, repair_reclaimed};
use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot;
use crate::storage::{ListedObject, Storage};
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

/// For how many days content usually stays after a later publication has replaced its publication.
pub const KEEP_DAYS: u32 = 30;

/// For how many hours content usually stays even if nothing names it.
pub const GRACE_HOURS: u32 = 24;

/// What may be removed.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// How long content stays after a later publication has replaced its publication.
    pub keep: Duration,
    /// The age below which content stays even if nothing names it.
    pub grace: Duration,
    /// Whether to remove the garbage. Otherwise it is only listed.
    pub remove: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Objects that publications of the days kept refer to.
    pub kept: u64,
    /// Objects that nothing refers to and that are younger than the grace period.
    pub young: u64,
    /// Objects that were removed, or that `--yes` would remove, with the length of each in bytes.
    pub garbage: BTreeMap<String, u64>,
    /// Their length together, in bytes.
    pub bytes: u64,
    /// Whether they were removed.
    pub removed: bool,
}

/// Finds the garbage, and removes it if the policy says so.
///
/// # Errors
/// A document of the days kept cannot be read, or servers may serve a publication that the record does not have. Then
/// nothing is removed, since it is not certain what is published.
pub fn collect(registry: &Registry<'_>, policy: Policy) -> Result<Garbage, Failure> {
    let Registry { vendor, storage, shared, .. } = *registry;
    let _lock = vendor.lock(registry.say)?;
    let record = vendor.record();
    let mut lease = if shared && policy.remove { Some(acquire_lease(registry, None)?) } else { None };
    let held = if lease.is_some() { Lease::Held } else { Lease::NotHeld };
    // Without catching up, the content of other homes would look like garbage.
    let pointer = if shared { catch_up(registry, &record, held)? } else { None };
    if let Some(lease) = &mut lease {
        repair_reclaimed(storage, &record, record.head()?.as_ref(), lease)?;
    }
    let mut listing = Vec::new();
    let mut below = None;
    storage.list("", &mut |listed| {
        if let Some(prefix) = ObjectKey::registry_below(&listed.key) {
            below.get_or_insert_with(|| prefix.to_owned());
        }
        // Other objects belong to somebody else, or to the storage itself.
        if [ObjectKey::is_content, ObjectKey::is_snapshot, ObjectKey::is_history]
            .iter()
            .any(|is| is(&listed.key))
        {
            listing.push(listed);
        }
    })?;
    if let Some(prefix) = below {
        let message = format!("{} holds another registry, below {prefix}/", storage.display_name());
        return Err(Failure::new(Kind::Usage, message)
            .hint("give each vendor a bucket or a prefix that is not below another's; otherwise the other registry's content would be removed"));
    }
    // The clock that dates the objects.
    let now = storage.capabilities().now();
    let since = now.checked_sub(policy.keep).unwrap_or(SystemTime::UNIX_EPOCH);
    let served = served::commits(registry, &record, pointer.as_ref(), &listing)?;
    let named = named(&record, since, served)?;
    served::check_documents(registry, &named)?;
    let pointed: BTreeSet<String> = pointer.iter().flat_map(snapshot::keys).collect();
    let mut garbage = Garbage { removed: policy.remove, ..Garbage::default() };
    listing.sort_by_key(|listed| Reverse(listed.modified));
    let mut metadata = 0;
    for listed in &listing {
        let kept = if ObjectKey::is_content(&listed.key) {
            named.contains(&listed.key)
        } else {
            metadata += 1;
            metadata <= METADATA || pointed.contains(&listed.key)
        };
        garbage.add(listed, kept, now, policy.grace);
    }
    if policy.remove {
        for key in garbage.garbage.keys() {
            PublishLease::renew_if_any(lease.as_mut())?;
            storage.delete_key(key)?;
        }
    }
    PublishLease::release_if_any(lease)?;
    Ok(garbage)
}

/// Of these objects, which no document of the last publication names, those that a collection with the usual times would
/// remove. It reads the documents of the days kept.
///
/// # Errors
/// The record or a document of the days kept cannot be read.
pub fn removable(
    record: &Record,
    storage: &dyn Storage,
    objects: Vec<ListedObject>,
) -> Result<Vec<String>, Failure> {
    const HOUR: u64 = 3600;
    let now = storage.capabilities().now();
    let hours = |hours: u32| Duration::from_secs(u64::from(hours) * HOUR);
    let old: Vec<ListedObject> = objects
        .into_iter()
        .filter(|object| now.duration_since(object.modified).unwrap_or_default() >= hours(GRACE_HOURS))
        .collect();
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let since = now.checked_sub(hours(24 * KEEP_DAYS)).unwrap_or(SystemTime::UNIX_EPOCH);
    let named = named(record, since, Vec::new())?;
    Ok(old.into_iter().map(|object| object.key).filter(|key| !named.contains(key)).collect())
}

/// The number of newest metadata objects that are kept beside those that the pointer names. A server that has just read an
/// older pointer still finds its parts.
const METADATA: usize = 40;

impl Garbage {
    fn add(&mut self, listed: &ListedObject, kept: bool, now: SystemTime, grace: Duration) {
        if kept {
            self.kept += 1;
        } else if now.duration_since(listed.modified).unwrap_or_default() < grace {
            self.young += 1;
        } else {
            self.bytes += listed.size;
            self.garbage.insert(listed.key.clone(), listed.size);
        }
    }
}

/// The keys that the publications since then name, and the keys that the served commits name.
fn named(record: &Record, since: SystemTime, served: Vec<CommitId>) -> Result<BTreeSet<String>, Failure> {
    let mut named = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for commit in record.current_since(since)?.into_iter().chain(served) {
        let mut documents = record.files(&commit, tree::DATA)?;
        // Publications share most documents: each document's content is read once.
        documents.retain(|file| file.path.ends_with(".json") && seen.insert(file.object.clone()));
        record.read_each(&documents, |file, bytes| {
            let document = Document::parse(&bytes).map_err(|error| {
                Failure::new(
                    Kind::Environment,
                    format!("{} of commit {} cannot be read", file.path, commit.short()),
                )
                .caused_by(error)
                .hint("correct the document in the record with git; nothing was removed, since nobody can know what it names")
            })?;
            inventory::objects(&document, &mut |key, _| {
                named.insert(key.to_string());
            });
            Ok(())
        })?;
    }
    Ok(named)
}
