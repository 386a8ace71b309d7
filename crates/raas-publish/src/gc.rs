//! Removing what no publication refers to.
//!
//! What is kept: every object that a document names, of any publication that was the last one at some time in the
//! days kept, over all repositories of the vendor. A document lists every manifest and blob of its repository, the
//! children of indexes and what is attached to images among them, so nothing is followed and nothing is missed.
//!
//! What is removed is older than the grace period as well: a push that runs stores its content before anything names
//! it. The vendor's lock, and the turn among homes that share a bucket, is held from the reading of the record to the last
//! removal, so no push can publish in between.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use raas_types::ObjectKey;
use raas_types::crane::{Document, tree};
use serde::Serialize;

use crate::catch_up::{When, catch_up};
use crate::inventory;
use crate::publication::{put_right, take_turn};
use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot::{self, Turn};
use crate::storage::Listed;
use raas_base::failure::{Failure, Kind};

/// What may be removed.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// For how long a publication keeps its content after another one took its place.
    pub keep: Duration,
    /// How old content that nothing names must be.
    pub grace: Duration,
    /// Whether it is removed; otherwise it is only told.
    pub remove: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Garbage {
    /// Objects that publications of the days kept refer to.
    pub kept: u64,
    /// Objects that nothing refers to and that are younger than the grace period.
    pub young: u64,
    /// Objects that are, or with `--yes` would be, removed, and the length of each in bytes.
    pub garbage: BTreeMap<String, u64>,
    /// Their length together, in bytes.
    pub bytes: u64,
    /// Whether they were removed.
    pub removed: bool,
}

/// Finds, and with `remove` removes, what no publication of the days kept refers to.
///
/// # Errors
/// A document of the days kept cannot be read: then nothing is removed, since it cannot be known what it names.
pub fn collect(registry: &Registry<'_>, policy: Policy) -> Result<Garbage, Failure> {
    let Registry { vendor, storage, shared, .. } = *registry;
    let _lock = vendor.lock()?;
    let record = vendor.record();
    let mut turn = if shared && policy.remove { Some(take_turn(registry, None)?) } else { None };
    // What another home has published would all be garbage here.
    let pointer = if shared { catch_up(registry, &record, When::InTurn)? } else { None };
    if let Some(turn) = &mut turn {
        put_right(storage, &record, record.head()?.as_ref(), turn)?;
    }
    let mut listing = Vec::new();
    let mut below = None;
    storage.list("", &mut |listed| {
        if let Some(prefix) = ObjectKey::registry_below(&listed.key) {
            below.get_or_insert_with(|| prefix.to_owned());
        }
        // All else is somebody else's, or the storage's own.
        if [ObjectKey::is_content, ObjectKey::is_snapshot, ObjectKey::is_history]
            .iter()
            .any(|is| is(&listed.key))
        {
            listing.push(listed);
        }
    })?;
    if let Some(prefix) = below {
        let message = format!("{} holds another registry, below {prefix}/", storage.place());
        return Err(Failure::new(Kind::Usage, message)
            .hint("its content would be removed; give each vendor a bucket, or prefixes of which none is in another"));
    }
    // By the clock of those who told when objects were stored.
    let now = storage.now();
    let since = now.checked_sub(policy.keep).unwrap_or(SystemTime::UNIX_EPOCH);
    let named = named(&record, since)?;
    let standing: BTreeSet<String> = pointer.iter().flat_map(snapshot::keys).collect();
    let mut garbage = Garbage { removed: policy.remove, ..Garbage::default() };
    listing.sort_by_key(|listed| Reverse(listed.modified));
    let mut metadata = 0;
    for listed in &listing {
        let kept = if ObjectKey::is_content(&listed.key) {
            named.contains(&listed.key)
        } else {
            metadata += 1;
            metadata <= METADATA || standing.contains(&listed.key)
        };
        garbage.judge(listed, kept, now, policy.grace);
    }
    if policy.remove {
        for key in garbage.garbage.keys() {
            Turn::keep_any(turn.as_mut())?;
            storage.delete_key(key)?;
        }
    }
    Ok(garbage)
}

/// Objects of the metadata that are kept beside those that the pointer names: whoever has just read an older pointer
/// still gets what that one names.
const METADATA: usize = 40;

impl Garbage {
    fn judge(&mut self, listed: &Listed, kept: bool, now: SystemTime, grace: Duration) {
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

/// The keys that publications since then name.
fn named(record: &Record, since: SystemTime) -> Result<BTreeSet<String>, Failure> {
    let mut named = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for commit in record.current_since(since)? {
        let mut documents = record.files(&commit, tree::DATA)?;
        // Publications share most of their documents: each content is read once.
        documents.retain(|file| file.path.ends_with(".json") && seen.insert(file.object.clone()));
        record.read_each(&documents, |file, bytes| {
            let document = Document::parse(&bytes).map_err(|error| {
                Failure::new(
                    Kind::Environment,
                    format!("{} of commit {} cannot be read", file.path, commit.short()),
                )
                .caused_by(error)
                .hint("nothing was removed: what it names must not be, and that cannot be known")
            })?;
            inventory::objects(&document, &mut |key, _| {
                named.insert(key.to_string());
            });
            Ok(())
        })?;
    }
    Ok(named)
}
