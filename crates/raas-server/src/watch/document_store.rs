//! A site's documents: what each was last good for, and the catalog that is made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use raas_types::Utc;
use raas_types::crane::tree;

use crate::catalog::{Catalog, Fault, LoadedDocument};

/// The documents that were last seen, by path. `S` tells whether one is still the same.
pub(super) struct DocumentStore<S> {
    /// What the log calls the part_index that they are from.
    source: String,
    documents: BTreeMap<String, StoredDocument<S>>,
    /// The documents that lost their name to another, so that it is told once.
    claimed: BTreeSet<String>,
    catalog: Arc<Catalog>,
    /// How many documents do not load, for everybody to see.
    faulty: Arc<AtomicUsize>,
}

/// A document.
struct StoredDocument<S> {
    stamp: S,
    /// What it last was good for.
    good: Option<LoadedDocument>,
    /// Why that is not what the file says now.
    fault: Option<String>,
    /// Whether it is among those that there are now; only while they are settled.
    listed: bool,
}

/// A document that is another than before, or did not load before, with what came of loading it.
pub(super) struct LoadResult<S> {
    pub(super) path: String,
    pub(super) stamp: S,
    pub(super) result: Result<LoadedDocument, Fault>,
}

/// The documents that there are now.
pub(super) struct DocumentChanges<S> {
    /// The paths of those that are as before.
    pub(super) same: Vec<String>,
    /// The others.
    pub(super) loaded: Vec<LoadResult<S>>,
}

impl<S> Default for DocumentChanges<S> {
    fn default() -> Self {
        Self { same: Vec::new(), loaded: Vec::new() }
    }
}

impl<S> DocumentChanges<S> {
    /// Adds those of elsewhere.
    pub(super) fn extend(&mut self, other: Self) {
        self.same.extend(other.same);
        self.loaded.extend(other.loaded);
    }
}

/// What has become of a document that a look did not find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Deleted,
    /// It is there, and was missed.
    Overlooked,
    /// Nobody looked, since it is as it was.
    Unchanged,
}

/// What loads a document, given its path, its stamp and what it was good for.
pub(super) trait Load<S>:
    Fn(&str, &mut S, Option<&LoadedDocument>) -> Result<LoadedDocument, Fault> + Sync
{
}

impl<S, F: Fn(&str, &mut S, Option<&LoadedDocument>) -> Result<LoadedDocument, Fault> + Sync> Load<S> for F {}

/// How many threads load that many documents: a server is not ready before.
fn threads(documents: usize) -> usize {
    /// Fewer are not worth a thread.
    const WORTH: usize = 64;
    /// More threads than this wait for each other's memory.
    const MOST: usize = 8;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (documents / WORTH).min(cores).min(MOST)
}

/// Loads documents, many of them on all cores.
fn load_all<S: Send>(
    changed: Vec<(String, S)>,
    load: impl Fn((String, S)) -> LoadResult<S> + Sync,
) -> Vec<LoadResult<S>> {
    let threads = threads(changed.len());
    if threads < 2 {
        return changed.into_iter().map(load).collect();
    }
    let share = changed.len().div_ceil(threads);
    let mut changed = changed.into_iter();
    let load = &load;
    std::thread::scope(|scope| {
        let shares: Vec<Vec<_>> = (0..threads).map(|_| changed.by_ref().take(share).collect()).collect();
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(|| share.into_iter().map(load).collect::<Vec<_>>()))
            .collect();
        // A panic of one is a panic of all, which the watcher tells of and begins again.
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// What looking at the documents found.
#[derive(Default)]
pub(super) struct Outcome {
    /// Something is served if_missing than before.
    pub(super) changed: bool,
    /// How many documents do not load.
    pub(super) faulty: usize,
    /// A document that loaded does not any more, or does not for another reason.
    pub(super) newly_faulty: bool,
}

impl<S: PartialEq + Send> DocumentStore<S> {
    pub(super) fn new(source: String, faulty: Arc<AtomicUsize>) -> Self {
        Self { source, documents: BTreeMap::new(), claimed: BTreeSet::new(), catalog: Arc::default(), faulty }
    }

    pub(super) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Whether a document is as it was, and loaded then.
    fn is_same(&self, path: &str, stamp: &S) -> bool {
        self.documents.get(path).is_some_and(|known| known.stamp == *stamp && known.fault.is_none())
    }

    /// What a document was last good for.
    fn good(&self, path: &str) -> Option<&LoadedDocument> {
        self.documents.get(path)?.good.as_ref()
    }

    /// Loads those of the documents that there are now that are not as before.
    pub(super) fn load(&self, there: Vec<(String, S)>, load: impl Load<S>) -> DocumentChanges<S>
    where
        S: Sync,
    {
        let (same, changed): (Vec<_>, Vec<_>) =
            there.into_iter().partition(|(path, stamp)| self.is_same(path, stamp));
        let loaded = load_all(changed, |(path, mut stamp)| {
            let result = load(&path, &mut stamp, self.good(&path));
            LoadResult { path, stamp, result }
        });
        DocumentChanges { same: same.into_iter().map(|(path, _)| path).collect(), loaded }
    }

    /// As [`load`](Self::load), in this thread, of documents whose content is here.
    pub(super) fn compare<'a>(
        &self,
        there: impl Iterator<Item = (&'a str, S, &'a [u8])>,
        load: impl Fn(&[u8], Option<&LoadedDocument>) -> Result<LoadedDocument, Fault>,
    ) -> DocumentChanges<S> {
        let mut found = DocumentChanges::default();
        for (path, stamp, content) in there {
            if self.is_same(path, &stamp) {
                found.same.push(path.to_owned());
            } else {
                let result = load(content, self.good(path));
                found.loaded.push(LoadResult { path: path.to_owned(), stamp, result });
            }
        }
        found
    }

    /// Takes the documents that there are now. `missing` is asked for each that was there and is not among them.
    pub(super) fn reconcile(
        &mut self,
        found: DocumentChanges<S>,
        mut missing: impl FnMut(&str) -> Missing,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for path in found.same {
            if let Some(document) = self.documents.get_mut(&path) {
                document.listed = true;
            }
        }
        for loaded in found.loaded {
            self.apply(loaded, &mut outcome);
        }
        self.documents.retain(|path, document| {
            if std::mem::take(&mut document.listed) {
                return true;
            }
            let missing = missing(path);
            match missing {
                Missing::Deleted => outcome.changed |= document.good.is_some(),
                Missing::Overlooked => outcome.faulty += 1,
                Missing::Unchanged => outcome.faulty += usize::from(document.fault.is_some()),
            }
            missing != Missing::Deleted
        });
        self.faulty.store(outcome.faulty, Ordering::Relaxed);
        outcome
    }

    /// What a document is from now on.
    fn apply(&mut self, loaded: LoadResult<S>, outcome: &mut Outcome) {
        let LoadResult { path, stamp, result } = loaded;
        let known = self.documents.remove(&path);
        let (good, fault, before) = known.map_or((None, None, None), |d| (d.good, d.fault, Some(d.stamp)));
        let document = match result {
            Ok(loaded) => {
                outcome.changed = true;
                StoredDocument { stamp, good: Some(loaded), fault: None, listed: true }
            }
            Err(error) => {
                let reason = error.to_string();
                if fault.as_ref() != Some(&reason) || before.as_ref() != Some(&stamp) {
                    let serves = if good.is_some() { "its last good version" } else { "nothing" };
                    tracing::warn!(source = self.source, path, reason, serves, "a document is not served");
                    outcome.newly_faulty = true;
                }
                outcome.faulty += 1;
                StoredDocument { stamp, good, fault: Some(reason), listed: true }
            }
        };
        self.documents.insert(path, document);
    }

    /// Makes the catalog anew.
    pub(super) fn assemble(&mut self, revision: Bytes, published: Option<Utc>) {
        let good = self.documents.iter().filter_map(|(path, d)| Some((path.as_str(), d.good.as_ref()?)));
        // The document that lies where its name says comes before one that lies elsewhere.
        let (mut documents, elsewhere): (Vec<(&str, &LoadedDocument)>, Vec<_>) =
            good.partition(|(path, good)| is_home(path, good));
        documents.extend(elsewhere);
        let (catalog, claimed) = Catalog::new(revision, published, documents.iter().copied());
        let mut losers = BTreeSet::new();
        for loser in claimed {
            let path = loser.document;
            if !self.claimed.contains(path) {
                let reason = Fault::Claimed(loser.name);
                tracing::warn!(source = self.source, path, %reason, "a document is not served");
            }
            losers.insert(path.to_owned());
        }
        self.claimed = losers;
        let revision = String::from_utf8_lossy(&catalog.revision);
        let (repositories, v1) = (catalog.repositories.len() + catalog.legacy.len(), catalog.v1.len());
        tracing::info!(source = self.source, %revision, repositories, v1, "metadata loaded");
        self.catalog = Arc::new(catalog);
    }
}

fn is_home(path: &str, good: &LoadedDocument) -> bool {
    match good {
        LoadedDocument::V1(repository) => path == tree::v1_document(&repository.name),
        LoadedDocument::V2(repository) => path == tree::document(&repository.name),
        LoadedDocument::Legacy(repository) => path == tree::document(&repository.name),
        LoadedDocument::Protected(_, Some(good)) => is_home(path, good),
        LoadedDocument::Protected(_, None) => true,
    }
}
