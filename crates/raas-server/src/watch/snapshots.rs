//! Follows a site's metadata in a bucket: a pointer object that is replaced, and immutable parts that it names.
//!
//! Parts must have exactly the digest and the length that the pointer names, and only all of them together are served.
//! After any error the last good metadata stays.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue};
use raas_types::crane::partition;
use raas_types::{Digest, ObjectKey, Part, Pointer, Utc};
use tokio::task::spawn_blocking;

use super::WatchContext;
use super::archive::{Allowance, Limits, PartIndex, PartSize};
use super::document_store::{DocumentChanges, DocumentStore, Missing};
use super::error_code::ErrorCode;
use super::slots::SiteSlots;
use crate::catalog::{Catalog, OverBudget};
use crate::origin::Origin;
use crate::site::{LoadStats, MetadataHealth};

mod intake;
mod refusal;
mod remote;

use intake::PartReader;
use refusal::Refusal;
use remote::{BucketReader, read};

/// The longest pause after repeated errors.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long refused content is not read again. Its site may have had less memory left than it has later.
const REST: Duration = Duration::from_secs(300);

/// Polls the pointer forever, and records the results. The first poll is after a delay.
pub(super) async fn follow(
    context: WatchContext,
    origin: Origin,
    health: Arc<MetadataHealth>,
    after: Duration,
) {
    let (every, watcher) = (context.every, Arc::clone(&context.changed));
    let mut reader = SnapshotReader::new(origin, context, Arc::clone(health.stats()));
    let mut pause = every;
    let mut empty = false;
    tokio::time::sleep(after).await;
    loop {
        match reader.poll().await {
            Ok(changed) => {
                pause = every;
                let is_new = changed.is_some();
                health.confirmed(changed, reader.pointer.as_ref());
                health.stats().read();
                if is_new {
                    watcher.notify_one();
                }
                if reader.pointer.is_none() && !empty {
                    empty = true;
                    let bucket = reader.remote.origin.display_name();
                    tracing::warn!(
                        bucket,
                        "the bucket has no `_metadata/current` here: nothing is published yet, or the publications \
                         have another `s3_prefix`; the registry is empty and not ready"
                    );
                }
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                let serves = if health.catalog().is_some() { "the last good metadata" } else { "nothing" };
                health.stats().refused(format!("{}; {serves} is served", refusal.for_everybody()));
                if matches!(refusal, Refusal::Earlier { .. }) {
                    health.refused_earlier();
                }
                if health.refused(&reason) {
                    let bucket = reader.remote.origin.display_name();
                    tracing::error!(bucket, reason, serves, "the metadata in the bucket is refused");
                }
                pause = (pause * 2).min(LONGEST_PAUSE.max(every));
            }
        }
        tokio::time::sleep(scattered(pause)).await;
    }
}

/// About the same pause, at random, so that sites and servers that started together do not poll together.
fn scattered(pause: Duration) -> Duration {
    pause.mul_f64(fastrand::f64().mul_add(0.2, 0.9))
}

/// Parts whose content was refused.
struct RefusedContent {
    parts: Vec<Part>,
    reason: String,
    /// The reason for everybody.
    for_everybody: String,
    at: Instant,
}

/// Reads a bucket's metadata.
struct SnapshotReader {
    remote: BucketReader,
    /// The pointer whose parts are served.
    pointer: Option<Pointer>,
    /// The size of each of these parts.
    used: Vec<PartSize>,
    /// The entity tag of the pointer.
    etag: Option<HeaderValue>,
    /// Whether a pointer to an earlier publication is followed.
    allow_rollback: bool,
    slots: SiteSlots,
    refused: Option<RefusedContent>,
    /// The documents that are served. The readers of new parts compare with them.
    store: Arc<RwLock<DocumentStore<Digest>>>,
}

impl SnapshotReader {
    fn new(origin: Origin, context: WatchContext, stats: Arc<LoadStats>) -> Self {
        let store = Arc::new(RwLock::new(DocumentStore::new(origin.display_name().to_owned(), stats)));
        let remote = BucketReader { origin, client: Arc::clone(&context.client) };
        let slots = context.slots.site();
        let allow_rollback = context.allow_rollback;
        Self {
            remote,
            pointer: None,
            used: Vec::new(),
            etag: None,
            allow_rollback,
            slots,
            refused: None,
            store,
        }
    }

    /// The catalog, if it has changed.
    async fn poll(&mut self) -> Result<Option<Arc<Catalog>>, Refusal> {
        let known = self.etag.take();
        let answer = self.remote.request(&ObjectKey::Pointer, known.as_ref()).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED if known.is_some() => {
                self.etag = known;
                return Ok(None);
            }
            StatusCode::OK => {}
            status => {
                let code = ErrorCode::read(answer).await;
                return match status {
                    StatusCode::NOT_FOUND if code.as_ref().is_some_and(ErrorCode::is_no_bucket) => {
                        Err(Refusal::NoBucket)
                    }
                    // Nothing was ever published: the registry exists and is empty.
                    StatusCode::NOT_FOUND if self.pointer.is_none() => Ok(None),
                    StatusCode::NOT_FOUND => Err(Refusal::Gone),
                    status => Err(Refusal::status(ObjectKey::Pointer, status, code)),
                };
            }
        }
        let etag = answer.headers().get(ETAG).cloned();
        let pointer = Pointer::parse(&read(answer, &ObjectKey::Pointer, Pointer::MAX_SIZE).await?.0)?;
        if let Some(refusal) = self.check_order(&pointer) {
            return Err(refusal);
        }
        let changed = match &self.pointer {
            Some(served) if served.parts == pointer.parts && served.revision == pointer.revision => None,
            _ => Some(self.load_unless_refused(&pointer).await?),
        };
        // Set only now: an unchanged pointer must mean that its parts are served.
        self.pointer = Some(pointer);
        self.etag = etag;
        Ok(changed)
    }

    /// Refuses a pointer to an earlier publication than the one that is served: somebody has put an old object back.
    /// Not even a rollback makes the number of publications smaller.
    fn check_order(&self, pointer: &Pointer) -> Option<Refusal> {
        let served = self.pointer.as_ref().filter(|served| pointer.sequence < served.sequence)?;
        let (found, served) = (pointer.sequence, served.sequence);
        if !self.allow_rollback {
            return Some(Refusal::Earlier { found, served });
        }
        let bucket = self.remote.origin.display_name();
        tracing::warn!(
            bucket,
            found,
            served,
            "following the pointer to an earlier publication, as --allow-rollback says"
        );
        None
    }

    /// Like [`load`](Self::load), but parts whose content was refused are not read again for a while: it is the same
    /// content, and reading it may take seconds of a processor.
    async fn load_unless_refused(&mut self, pointer: &Pointer) -> Result<Arc<Catalog>, Refusal> {
        if let Some(refused) = &self.refused
            && refused.parts == pointer.parts
            && refused.at.elapsed() < REST
        {
            return Err(Refusal::Again(refused.reason.clone(), refused.for_everybody.clone()));
        }
        let loaded = self.load(pointer).await;
        self.refused =
            loaded.as_ref().err().filter(|refusal| refusal.is_of_content()).map(|refusal| RefusedContent {
                parts: pointer.parts.clone(),
                reason: refusal.to_string(),
                for_everybody: refusal.for_everybody(),
                at: Instant::now(),
            });
        loaded
    }

    /// Reads the parts that have changed. All of them must be valid.
    async fn load(&mut self, pointer: &Pointer) -> Result<Arc<Catalog>, Refusal> {
        if pointer.parts.is_empty() {
            return Err(Refusal::Older);
        }
        let parts = pointer.parts.len();
        let mut used = self.used.clone();
        used.resize(parts, PartSize::default());
        let served = self.pointer.as_ref().filter(|served| served.parts.len() == parts);
        let is_kept: Vec<bool> = pointer
            .parts
            .iter()
            .enumerate()
            .map(|(at, part)| served.is_some_and(|served| served.parts[at] == *part))
            .collect();
        let others = is_kept.iter().zip(&used).filter(|(kept, _)| **kept).map(|(_, used)| *used);
        let intake = PartReader {
            remote: self.remote.clone(),
            slots: self.slots.clone(),
            store: Arc::clone(&self.store),
            allowance: Allowance::beside(others, Limits::default()),
        };
        let places = (0..parts).map(|at| PartIndex { at, parts }).zip(pointer.parts.iter().copied());
        let changed = places.filter(|(part_index, _)| !is_kept[part_index.at]).collect();
        let mut found = DocumentChanges::default();
        let read = intake.read(changed).await;
        // If the memory limit was exceeded, that is the reason, whatever error the reader returns.
        if read.is_err() {
            self.check_memory()?;
        }
        for read in read? {
            used[read.part_index.at] = read.used;
            found.extend(read.found);
        }
        self.check_memory()?;
        let _slot = self.slots.acquire().await;
        let (store, pointer) = (Arc::clone(&self.store), pointer.clone());
        let settling = spawn_blocking(move || {
            let mut store = store.write().unwrap_or_else(PoisonError::into_inner);
            // A document that does not load keeps its last valid content, as in a folder. A document that its part no
            // longer lists is removed.
            store.reconcile(found, |path| {
                if is_kept[partition::part_of(path, parts)] { Missing::Unchanged } else { Missing::Deleted }
            });
            let revision = Bytes::copy_from_slice(pointer.revision.as_bytes());
            store.assemble(revision, Utc::parse(&pointer.published));
            store.catalog()
        });
        let catalog = settling.await.map_err(|_| Refusal::Reader)?;
        self.used = used;
        Ok(catalog)
    }

    /// Fails if something was not loaded for want of memory. All of the metadata is refused then, not single documents.
    fn check_memory(&self) -> Result<(), OverBudget> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let Some(error) = store.pool().budget.take_exceeded() else { return Ok(()) };
        store.pool().sweep_now();
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_vary_by_a_tenth() {
        let second = Duration::from_secs(1);
        let pauses: Vec<Duration> = (0..100).map(|_| scattered(second)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| (Duration::from_millis(900)..=Duration::from_millis(1100)).contains(pause))
        );
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
