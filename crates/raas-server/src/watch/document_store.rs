//! The documents of a site, each with its last valid content, and the catalog that is built from them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use raas_types::Utc;
use raas_types::crane::tree;

use crate::catalog::{Catalog, Customers, Fault, LoadedDocument, ManifestPool, MemoryCharge};
use crate::site::LoadStats;

/// The documents of a site, by path. `S` identifies the version of a document.
pub(super) struct DocumentStore<S> {
    /// The name for the log: the folder or the bucket.
    source: String,
    documents: BTreeMap<String, StoredDocument<S>>,
    /// The documents whose name belongs to another document. Each is logged once.
    claimed: BTreeSet<String>,
    catalog: Arc<Catalog>,
    stats: Arc<LoadStats>,
    pool: ManifestPool,
}

/// A document.
struct StoredDocument<S> {
    version: S,
    /// The last content that loaded.
    valid: Option<LoadedDocument>,
    /// Why the current content does not load.
    fault: Option<String>,
    /// Whether the document still exists. Only used within `reconcile`.
    listed: bool,
    /// The memory of this, without the content.
    _charge: Option<MemoryCharge>,
}

/// A document that is new or changed, or did not load before, with the result of loading it.
pub(super) struct LoadResult<S> {
    pub(super) path: String,
    pub(super) version: S,
    pub(super) result: Result<LoadedDocument, Fault>,
    charge: Option<MemoryCharge>,
}

impl<S> LoadResult<S> {
    /// Loads a document, if there is memory for it.
    fn of(
        pool: &ManifestPool,
        path: String,
        mut version: S,
        load: impl FnOnce(&str, &mut S) -> Result<LoadedDocument, Fault>,
    ) -> Self {
        /// Of an entry with the reason why a document does not load.
        const ENTRY: usize = 512;
        let (charge, result) = match pool.budget.charge((path.len() + ENTRY) as u64) {
            Ok(charge) => (Some(charge), load(&path, &mut version)),
            Err(error) => (None, Err(error.into())),
        };
        Self { path, version, result, charge }
    }
}

/// The documents that exist now.
pub(super) struct DocumentChanges<S> {
    /// The paths of the unchanged documents.
    pub(super) same: Vec<String>,
    /// The other documents.
    pub(super) loaded: Vec<LoadResult<S>>,
}

impl<S> Default for DocumentChanges<S> {
    fn default() -> Self {
        Self { same: Vec::new(), loaded: Vec::new() }
    }
}

impl<S> DocumentChanges<S> {
    /// Adds the documents of another part.
    pub(super) fn extend(&mut self, other: Self) {
        self.same.extend(other.same);
        self.loaded.extend(other.loaded);
    }
}

/// What happened to a stored document that was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Deleted,
    /// It exists, but the listing missed it.
    Overlooked,
    /// It was not looked for, because its part is unchanged.
    Unchanged,
}

/// Loads a document, given its path, its version and its last valid content.
pub(super) trait Load<S>:
    Fn(&str, &mut S, Option<&LoadedDocument>) -> Result<LoadedDocument, Fault> + Sync
{
}

impl<S, F: Fn(&str, &mut S, Option<&LoadedDocument>) -> Result<LoadedDocument, Fault> + Sync> Load<S> for F {}

/// The number of threads for this number of documents. The server is not ready before they are loaded.
fn threads(documents: usize) -> usize {
    /// Fewer documents are not worth a thread.
    const WORTH: usize = 64;
    /// More threads only contend for the allocator.
    const MAX: usize = 8;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (documents / WORTH).min(cores).min(MAX)
}

/// Loads documents, in several threads if there are many.
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
        // A panic stops the watcher, which logs it and starts again.
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// The documents of one reading whose reasons are logged. A million of them would fill the log.
const LOGGED: usize = 100;

/// The result of a reconciliation.
#[derive(Default)]
pub(super) struct Reconciliation {
    /// Whether the catalog must be built again.
    pub(super) changed: bool,
    /// The number of documents that do not load.
    pub(super) faulty: usize,
    /// Whether a document has begun not to load, or fails for another reason than before.
    pub(super) newly_faulty: bool,
    /// The number of documents with a new reason.
    logged: usize,
}

impl<S: PartialEq + Send> DocumentStore<S> {
    pub(super) fn new(source: String, stats: Arc<LoadStats>) -> Self {
        let (documents, claimed) = (BTreeMap::new(), BTreeSet::new());
        let pool = ManifestPool::new(Arc::clone(&stats.memory));
        Self { source, documents, claimed, catalog: Arc::default(), stats, pool }
    }

    /// The manifests of the site, and its memory budget.
    pub(super) fn pool(&self) -> &ManifestPool {
        &self.pool
    }

    pub(super) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Whether a document is unchanged since it last loaded.
    fn is_same(&self, path: &str, version: &S) -> bool {
        self.documents.get(path).is_some_and(|known| known.version == *version && known.fault.is_none())
    }

    /// The last valid content of a document.
    fn valid(&self, path: &str) -> Option<&LoadedDocument> {
        self.documents.get(path)?.valid.as_ref()
    }

    /// Loads the documents that are new or changed, or did not load before.
    pub(super) fn load(&self, there: Vec<(String, S)>, load: impl Load<S>) -> DocumentChanges<S>
    where
        S: Sync,
    {
        let (same, changed): (Vec<_>, Vec<_>) =
            there.into_iter().partition(|(path, version)| self.is_same(path, version));
        let loaded = load_all(changed, |(path, version)| {
            LoadResult::of(&self.pool, path, version, |path, version| load(path, version, self.valid(path)))
        });
        DocumentChanges { same: same.into_iter().map(|(path, _)| path).collect(), loaded }
    }

    /// Like [`load`](Self::load), in this thread, for documents whose bytes are in memory.
    pub(super) fn compare<'a>(
        &self,
        there: impl Iterator<Item = (&'a str, S, &'a [u8])>,
        load: impl Fn(&str, &[u8], Option<&LoadedDocument>) -> Result<LoadedDocument, Fault>,
    ) -> DocumentChanges<S> {
        let mut found = DocumentChanges::default();
        for (path, version, content) in there {
            if self.is_same(path, &version) {
                found.same.push(path.to_owned());
            } else {
                let load = |path: &str, _: &mut S| load(path, content, self.valid(path));
                found.loaded.push(LoadResult::of(&self.pool, path.to_owned(), version, load));
            }
        }
        found
    }

    /// Reconciles the store with the documents that exist now. `missing` tells what happened to each stored document
    /// that is not among them.
    pub(super) fn reconcile(
        &mut self,
        found: DocumentChanges<S>,
        mut missing: impl FnMut(&str) -> Missing,
    ) -> Reconciliation {
        let mut outcome = Reconciliation::default();
        for path in found.same {
            if let Some(document) = self.documents.get_mut(&path) {
                document.listed = true;
            }
        }
        for loaded in found.loaded {
            self.apply(loaded, &mut outcome);
        }
        if let Some(further @ 1..) = outcome.logged.checked_sub(LOGGED) {
            tracing::warn!(source = self.source, further, "further documents are not served");
        }
        self.documents.retain(|path, document| {
            if std::mem::take(&mut document.listed) {
                return true;
            }
            let missing = missing(path);
            match missing {
                Missing::Deleted => outcome.changed |= document.valid.is_some(),
                Missing::Overlooked => outcome.faulty += 1,
                Missing::Unchanged => outcome.faulty += usize::from(document.fault.is_some()),
            }
            missing != Missing::Deleted
        });
        self.stats.faulty.store(outcome.faulty, Ordering::Relaxed);
        self.pool.sweep();
        outcome
    }

    /// Stores the result of loading a document.
    fn apply(&mut self, loaded: LoadResult<S>, outcome: &mut Reconciliation) {
        let LoadResult { path, version, result, charge } = loaded;
        let known = self.documents.remove(&path);
        let (valid, fault, before) =
            known.map_or((None, None, None), |d| (d.valid, d.fault, Some(d.version)));
        let document = match result {
            Ok(loaded) => {
                outcome.changed = true;
                StoredDocument { version, valid: Some(loaded), fault: None, listed: true, _charge: charge }
            }
            Err(error) => {
                let reason = error.reason();
                // The last valid version of a customer may grant what the current one does not.
                let valid = valid.filter(|valid| {
                    let is_customer = matches!(valid, LoadedDocument::Customer(_));
                    outcome.changed |= is_customer;
                    !is_customer
                });
                if fault.as_ref() != Some(&reason) || before.as_ref() != Some(&version) {
                    let serves = if valid.is_some() { "its last valid version" } else { "nothing" };
                    if outcome.logged < LOGGED {
                        tracing::warn!(
                            source = self.source,
                            path,
                            reason,
                            serves,
                            "a document does not load"
                        );
                    }
                    outcome.logged += 1;
                    outcome.newly_faulty = true;
                }
                outcome.faulty += 1;
                StoredDocument { version, valid, fault: Some(reason), listed: true, _charge: charge }
            }
        };
        self.documents.insert(path, document);
    }

    /// Builds the catalog again.
    pub(super) fn assemble(&mut self, revision: Bytes, published: Option<Utc>) {
        let valid = self.documents.iter().filter_map(|(path, d)| Some((path.as_str(), d.valid.as_ref()?)));
        // A document at the path of its name comes before documents at other paths.
        let (mut documents, elsewhere): (Vec<(&str, &LoadedDocument)>, Vec<_>) =
            valid.partition(|(path, valid)| is_home(path, valid));
        documents.extend(elsewhere);
        let (mut catalog, conflicts) = Catalog::new(revision, published, documents.iter().copied());
        let customers = documents.iter().filter_map(|(_, loaded)| match loaded {
            LoadedDocument::Customer(loaded) => Some(Arc::clone(&loaded.customer)),
            _ => None,
        });
        let customers: Vec<_> = customers.collect();
        // An index of many customers takes long to build, so it is built only if they have changed.
        catalog.customers = match self.catalog.customers.are(&customers) {
            true => Arc::clone(&self.catalog.customers),
            false => Arc::new(Customers::new(customers)),
        };
        let mut conflicting = BTreeSet::new();
        let mut logged = 0;
        for conflict in conflicts {
            let path = conflict.document;
            if !self.claimed.contains(path) && logged < LOGGED {
                logged += 1;
                let reason = Fault::Claimed(conflict.name).reason();
                tracing::warn!(source = self.source, path, reason, "a document is not served");
            }
            conflicting.insert(path.to_owned());
        }
        self.claimed = conflicting;
        let revision = String::from_utf8_lossy(&catalog.revision);
        let whole = catalog.whole();
        let (repositories, v1) = (whole.repositories.len() + whole.legacy.len(), whole.v1.len());
        tracing::info!(source = self.source, %revision, repositories, v1, "metadata loaded");
        self.catalog = Arc::new(catalog);
    }
}

fn is_home(path: &str, valid: &LoadedDocument) -> bool {
    match valid {
        LoadedDocument::V1(repository) => path == tree::v1_document(&repository.name),
        LoadedDocument::V2(repository) => path == tree::document(&repository.name),
        LoadedDocument::Legacy(repository) => path == tree::document(&repository.name),
        LoadedDocument::Protected(_, Some(valid)) => is_home(path, valid),
        LoadedDocument::Protected(_, None) | LoadedDocument::Customer(_) => true,
    }
}
