//! What follows from a publication's commit, where the run that made it was killed before that was done.

use std::collections::BTreeSet;

use raas_types::RepositoryName;
use raas_types::crane::{Document, tree};

use super::{published_keys, tag_objects, take_turn};
use crate::catch_up::{When, catch_up};
use crate::held::Held;
use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot::{self, Look, Publisher, Turn};
use crate::storage::Storage;
use raas_base::failure::Failure;
use raas_git::CommitId;

/// Up to where all is done.
#[derive(Debug)]
pub(super) enum Since {
    /// Nobody knows: it may be nothing.
    Unknown,
    /// All up to this commit.
    Commit(CommitId),
}

/// Where what follows from the last publication is not done: up to where it is. In a bucket that is `shared` with other
/// homes the pointer to the metadata is written last, and on this machine the checkout. The caller holds the vendor's
/// lock; what other homes have published is taken in.
pub(super) fn since(registry: &Registry<'_>, record: &Record, when: When) -> Result<Option<Since>, Failure> {
    if let Some(storage) = registry.shared_storage() {
        let pointer = catch_up(registry, record, when)?;
        let Some(head) = record.head()? else { return Ok(None) };
        return Ok(match pointer {
            None => Some(Since::Unknown),
            Some(pointer) if pointer.revision != head.as_str() => {
                Some(Since::Commit(CommitId::parse(&pointer.revision)?))
            }
            Some(pointer) if snapshot::is_whole(storage, &pointer)? => None,
            Some(_) => Some(Since::Commit(head)),
        });
    }
    let Some(head) = record.head()? else { return Ok(None) };
    Ok(match registry.vendor.checkout().revision()? {
        Some(revision) if revision == head => None,
        Some(revision) if record.has(&revision)? => Some(Since::Commit(revision)),
        _ => Some(Since::Unknown),
    })
}

/// Brings the objects named by tag up to date, of all repositories that have changed since then, but for one.
pub(super) fn tag_objects(
    storage: &dyn Storage,
    record: &Record,
    since: &Since,
    head: &CommitId,
    but: Option<&RepositoryName>,
    keep: &mut dyn FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut names = repositories(record, head)?;
    if let Since::Commit(since) = since {
        // What was taken out has objects to be removed.
        names.extend(repositories(record, since)?);
        let changed = record.changed(since, head)?;
        let changed: BTreeSet<&str> = changed.iter().map(|(path, _)| path.as_str()).collect();
        names.retain(|name| changed.contains(tree::document(name).as_str()));
    }
    let names: Vec<RepositoryName> = names.into_iter().filter(|name| Some(name) != but).collect();
    restore(storage, record, head, &names, keep)
}

/// Puts right what others, who died in their turn, have left.
pub fn put_right(
    storage: &dyn Storage,
    record: &Record,
    head: Option<&CommitId>,
    turn: &mut Turn<'_>,
) -> Result<(), Failure> {
    // Before the first publication there is nothing to make it like.
    if let Some(head) = head {
        restore(storage, record, head, &turn.abandoned(), &mut || turn.keep())?;
    }
    turn.put_right();
    Ok(())
}

/// Makes the objects named by tag of repositories what a commit says.
pub(super) fn restore(
    storage: &dyn Storage,
    record: &Record,
    head: &CommitId,
    names: &[RepositoryName],
    keep: &mut dyn FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    for name in names {
        let held = Held::read(storage, name, false, &published_keys(record, Some(head), name)?)?;
        tag_objects::update(storage, &held, record, head, &mut |_, _, _| {}, keep)?;
    }
    Ok(())
}

/// Brings everything that follows from the last publication up to date, whatever has become of it: the objects named by
/// tag, the metadata in the bucket, the checkout.
pub fn complete(registry: &Registry<'_>) -> Result<(), Failure> {
    let _lock = registry.vendor.lock()?;
    make_up(registry, |_| Since::Unknown)
}

/// As [`complete`], for what a run that was killed has left alone.
pub fn recover(registry: &Registry<'_>) -> Result<(), Failure> {
    let _lock = registry.vendor.lock()?;
    let record = registry.vendor.record();
    let checkout = registry.vendor.checkout();
    if registry.shared
        && let Some(head) = record.head()?
    {
        // Whether or not the service answers.
        checkout.repair(&record, &head)?;
    }
    match since(registry, &record, When::Now)? {
        Some(_) => make_up(registry, |since| since),
        None => record.head()?.map_or(Ok(()), |head| checkout.repair(&record, &head)),
    }
}

fn make_up(registry: &Registry<'_>, from: impl FnOnce(Since) -> Since) -> Result<(), Failure> {
    let Registry { vendor, storage, .. } = *registry;
    let record = vendor.record();
    let shared = registry.shared_storage();
    let mut turn = shared.map(|_| take_turn(registry, None)).transpose()?;
    let found = since(registry, &record, When::InTurn)?;
    let Some(head) = record.head()? else { return Ok(()) };
    let from = from(found.unwrap_or_else(|| Since::Commit(head.clone())));
    if let (Some(storage), Some(turn)) = (shared, &mut turn) {
        put_right(storage, &record, Some(&head), turn)?;
    }
    let mut keep = || Turn::keep_any(turn.as_mut());
    tag_objects(storage, &record, &from, &head, None, &mut keep)?;
    keep()?;
    if let Some(storage) = shared {
        let publisher = Publisher { vendor: vendor.name(), record: &record, storage, spool: vendor.folder() };
        publisher.publish(Look::Everything, turn.as_mut())?;
        record.mark_unconfirmed(None)?;
    }
    vendor.checkout().repair(&record, &head)
}

/// The vendor's own repositories.
fn repositories(record: &Record, head: &CommitId) -> Result<BTreeSet<RepositoryName>, Failure> {
    let mut documents = record.files(head, tree::DATA)?;
    documents.retain(|file| file.path.ends_with(".json") && !tree::is_operators(&file.path));
    let mut names = BTreeSet::new();
    record.read_each(&documents, |file, bytes| {
        // What does not parse is for `raas status` to tell.
        let name = Document::parse(&bytes).ok().map(|document| document.name);
        names.extend(name.filter(|name| tree::document(name) == file.path));
        Ok(())
    })?;
    Ok(names)
}
