//! Reads the changed parts of a snapshot, and loads their documents.

use std::sync::{Arc, PoisonError, RwLock};

use raas_types::{Digest, Part};
use tokio::task::{JoinSet, spawn_blocking};

use super::super::archive::{Allowance, ArchiveError, PartIndex, PartSize, UnpackedPart};
use super::super::document_store::{DocumentChanges, DocumentStore};
use super::super::slots::SiteSlots;
use super::refusal::Refusal;
use super::remote::BucketReader;
use crate::catalog::{self, Loader};

/// The number of parts that are fetched at once. They are held in memory.
const AT_ONCE: usize = 8;

/// Reads parts.
pub(super) struct PartReader {
    pub(super) remote: BucketReader,
    /// Limits how many parts are unpacked at once.
    pub(super) slots: SiteSlots,
    /// The documents that are served. They are only read here.
    pub(super) store: Arc<RwLock<DocumentStore<Digest>>>,
    pub(super) allowance: Allowance,
}

/// The content of a part.
pub(super) struct ReadPart {
    pub(super) part_index: PartIndex,
    pub(super) used: PartSize,
    pub(super) found: DocumentChanges<Digest>,
}

impl PartReader {
    /// Reads parts concurrently. All of them must be valid.
    pub(super) async fn read(self, parts: Vec<(PartIndex, Part)>) -> Result<Vec<ReadPart>, Refusal> {
        let intake = Arc::new(self);
        let mut results = Vec::with_capacity(parts.len());
        let mut parts = parts.into_iter();
        let mut running = JoinSet::new();
        loop {
            for (part_index, part) in parts.by_ref().take(AT_ONCE - running.len()) {
                running.spawn(Arc::clone(&intake).read_part(part_index, part));
            }
            match running.join_next().await {
                Some(done) => results.push(done.map_err(|_| Refusal::Reader)??),
                None => return Ok(results),
            }
        }
    }

    async fn read_part(self: Arc<Self>, part_index: PartIndex, part: Part) -> Result<ReadPart, Refusal> {
        let budget = {
            let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&store.pool().budget)
        };
        let charge = budget.charge(part.size)?;
        let packed = self.remote.part(part).await?;
        // Acquired only when the bytes are here, so that a slow bucket does not block the others.
        let slot = self.slots.acquire().await;
        let reading = spawn_blocking(move || {
            let (_slot, _charge) = (slot, charge);
            let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
            load(packed, part_index, &self.allowance, &store)
        });
        let results = reading.await.map_err(|_| Refusal::Reader)?;
        results.map_err(|error| Refusal::Archive(part.key(), error))
    }
}

/// Loads the documents of a part that differ from the stored ones.
fn load(
    packed: Vec<u8>,
    part_index: PartIndex,
    allowance: &Allowance,
    store: &DocumentStore<Digest>,
) -> Result<ReadPart, ArchiveError> {
    let pool = store.pool();
    let unpacked = UnpackedPart::unpack(&packed, part_index, allowance, pool.budget.empty_charge())?;
    drop(packed);
    let there = unpacked.documents().map(|(path, bytes)| (path, Digest::of(bytes), bytes));
    let found = store.compare(there, |path, bytes, before| {
        catalog::load(&Loader { files: &unpacked, pool }, path, bytes, before)
    });
    Ok(ReadPart { part_index, used: unpacked.used(), found })
}

#[cfg(test)]
mod tests;
