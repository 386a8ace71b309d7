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
use raas_types::{Digest, ObjectKey, Part, Pointer, Utc, VendorName};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::WatchContext;
use super::archive::{Allowance, Limits, PartIndex, PartSize};
use super::document_store::{DocumentChanges, DocumentStore, Missing};
use super::error_code::ErrorCode;
use super::slots::SiteSlots;
use crate::catalog::{Catalog, OverBudget};
use crate::origin::Origin;
use crate::site::{LoadStats, MetadataHealth};

mod intake;
mod last_served;
mod refusal;
mod remote;
mod slow;

use intake::PartReader;
use last_served::LastServed;
use refusal::{PATIENCE, Refusal};
use remote::{BucketReader, read};

/// The longest pause after repeated errors.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long refused content is not read again. Its site may have had less memory left than it has later.
const REST: Duration = Duration::from_secs(300);

/// How a bucket begins to be followed.
pub(super) struct Begin {
    /// The delay of the first poll.
    pub(super) after: Duration,
    /// What is served until the bucket was read, for the log.
    pub(super) meanwhile: &'static str,
}

/// Polls the pointer forever, and records the results. The first poll is after a delay.
pub(super) async fn follow(
    context: WatchContext,
    vendor: VendorName,
    origin: Origin,
    health: Arc<MetadataHealth>,
    Begin { after, meanwhile }: Begin,
) {
    let WatchContext { every, every_with_customers, .. } = context;
    let (watcher, traces) = (Arc::clone(&context.changed), context.traces.clone());
    let note = context.state.as_deref().map(|state| LastServed::new(state, &vendor, origin.display_name()));
    let mut memory = SequenceMemory { note, sequence: None, cannot_write: false };
    memory.recall().await;
    let mut reader = SnapshotReader::new(origin, context, memory, Arc::clone(health.stats()));
    let mut pause = every;
    let mut empty = false;
    tokio::time::sleep(after).await;
    loop {
        let begun = Instant::now();
        let polled = reader.poll().await;
        if let Some(traces) = traces.as_ref().filter(|traces| traces.is_slow(begun.elapsed())) {
            slow::tell(traces, &vendor, &reader, &polled, begun.elapsed());
        }
        // The time that the service takes to say that nothing is new is a part of the pause. After other polls the pause is
        // whole, so that neither a broken bucket nor a vendor that publishes all the time keeps the server busy.
        let spent = match polled {
            Ok(changed) => {
                let is_new = changed.is_some();
                let before = health.confirmed(changed, reader.pointer.as_ref());
                health.stats().read();
                if let Some(reason) = before {
                    let bucket = reader.remote.origin.display_name();
                    tracing::info!(
                        bucket,
                        reason,
                        "the metadata in the bucket is served again; the fault has ended"
                    );
                }
                if is_new {
                    watcher.notify_one();
                }
                reader.remember().await;
                pause = if has_customers(&health) { every_with_customers } else { every };
                if reader.pointer.is_none() && !empty {
                    empty = true;
                    let bucket = reader.remote.origin.display_name();
                    tracing::warn!(
                        bucket,
                        serves = meanwhile,
                        "the bucket has no `_metadata/current` here: nothing is published yet, or the publications \
                         have another `s3_prefix`"
                    );
                }
                if is_new { Duration::ZERO } else { begun.elapsed() }
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                let serves = if health.catalog().is_some() { "the last good metadata" } else { meanwhile };
                health.stats().refused(format!("{}; {serves} is served", refusal.for_everybody()));
                if matches!(refusal, Refusal::Earlier { .. }) {
                    health.refused_earlier();
                }
                let bucket = reader.remote.origin.display_name();
                if refusal.is_failure_to_read() {
                    if health.failed(&reason) {
                        tracing::error!(bucket, reason, serves, "cannot read the metadata in the bucket");
                    }
                } else if health.refused(&reason) {
                    tracing::error!(bucket, reason, serves, "the metadata in the bucket is refused");
                }
                pause = (pause * 2).min(LONGEST_PAUSE.max(every));
                Duration::ZERO
            }
        };
        tokio::time::sleep(scattered(pause).saturating_sub(spent)).await;
    }
}

/// Whether the site that is served has customers.
fn has_customers(health: &MetadataHealth) -> bool {
    health.catalog().is_some_and(|catalog| !catalog.customers.is_empty())
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

/// The number of the last publication, from one run of the server to the next.
struct SequenceMemory {
    /// `None` if the server has no folder for its state.
    note: Option<LastServed>,
    /// The number in the note.
    sequence: Option<u64>,
    /// Whether the log has that the note cannot be written.
    cannot_write: bool,
}

impl SequenceMemory {
    /// Reads the number that an earlier run has noted.
    async fn recall(&mut self) {
        let Some(note) = self.note.clone() else { return };
        self.sequence = spawn_blocking(move || note.read()).await.unwrap_or_default();
    }

    /// Notes a number. A server whose disk is full or read-only serves all the same. It then tries again at each poll.
    async fn keep(&mut self, sequence: u64, lower: bool) {
        let Some(note) = self.note.clone().filter(|_| self.sequence != Some(sequence)) else { return };
        let file = note.path().display().to_string();
        let written = spawn_blocking(move || note.write(sequence, lower)).await;
        match written.map_err(std::io::Error::other).flatten() {
            Ok(()) => (self.sequence, self.cannot_write) = (Some(sequence), false),
            Err(error) => {
                if !self.cannot_write {
                    tracing::warn!(
                        file,
                        %error,
                        "cannot note which publication is served; this server could not tell after a restart if the \
                         pointer is put back to an earlier one"
                    );
                }
                self.cannot_write = true;
            }
        }
    }
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
    /// What the server knows of earlier runs.
    memory: SequenceMemory,
    slots: SiteSlots,
    refused: Option<RefusedContent>,
    /// The documents that are served. The readers of new parts compare with them.
    store: Arc<RwLock<DocumentStore<Digest>>>,
}

impl SnapshotReader {
    fn new(origin: Origin, context: WatchContext, memory: SequenceMemory, stats: Arc<LoadStats>) -> Self {
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
            memory,
            slots,
            refused: None,
            store,
        }
    }

    /// The catalog, if it has changed.
    async fn poll(&mut self) -> Result<Option<Arc<Catalog>>, Refusal> {
        let known = self.etag.take();
        let request = self.remote.request(&ObjectKey::Pointer, known.as_ref());
        let answer = match timeout(PATIENCE, request).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Refusal::Silent(ObjectKey::Pointer)),
        };
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
                    StatusCode::NOT_FOUND if self.known_sequence().is_none() => Ok(None),
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

    /// The number of the last publication that this server has followed, also before it was started again. A server that
    /// follows earlier publications too forgets earlier runs.
    fn known_sequence(&self) -> Option<u64> {
        let remembered = self.memory.sequence.filter(|_| !self.allow_rollback);
        self.pointer.as_ref().map(|pointer| pointer.sequence).or(remembered)
    }

    /// Notes the number of the publication that is served, for the next run of the server.
    async fn remember(&mut self) {
        if let Some(pointer) = &self.pointer {
            self.memory.keep(pointer.sequence, self.allow_rollback).await;
        }
    }

    /// Refuses a pointer to an earlier publication than the last one: somebody has put an old object back. Not even a
    /// rollback makes the number of publications smaller.
    fn check_order(&self, pointer: &Pointer) -> Option<Refusal> {
        let found = pointer.sequence;
        let served = self.pointer.as_ref().map(|served| served.sequence).or(self.memory.sequence);
        let served = served.filter(|served| found < *served)?;
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
