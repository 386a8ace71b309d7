//! From the parts of a snapshot that changed to the documents in them.

use std::sync::{Arc, PoisonError, RwLock};

use raas_types::{Digest, Part};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use super::super::archive::{Allowance, ArchiveError, Held, Place, Used};
use super::super::shelf::{Found, Shelf};
use super::refusal::Refusal;
use super::remote::Remote;
use crate::catalog;

/// How many parts are fetched at once. They are held in memory.
const AT_ONCE: usize = 8;

/// What it takes to read parts.
pub(super) struct Intake {
    pub(super) remote: Remote,
    /// For as many at once as there are processors.
    pub(super) unpacking: Arc<Semaphore>,
    /// What is served. It is only read.
    pub(super) shelf: Arc<RwLock<Shelf<Digest>>>,
    pub(super) allowance: Allowance,
}

/// What a part holds.
pub(super) struct Taken {
    pub(super) place: Place,
    pub(super) used: Used,
    pub(super) found: Found<Digest>,
}

impl Intake {
    /// Reads parts side by side: all of them, or none.
    pub(super) async fn take(self, parts: Vec<(Place, Part)>) -> Result<Vec<Taken>, Refusal> {
        let intake = Arc::new(self);
        let mut taken = Vec::with_capacity(parts.len());
        let mut parts = parts.into_iter();
        let mut running = JoinSet::new();
        loop {
            for (place, part) in parts.by_ref().take(AT_ONCE - running.len()) {
                running.spawn(Arc::clone(&intake).take_part(place, part));
            }
            match running.join_next().await {
                Some(done) => taken.push(done.map_err(|_| Refusal::Reader)??),
                None => return Ok(taken),
            }
        }
    }

    async fn take_part(self: Arc<Self>, place: Place, part: Part) -> Result<Taken, Refusal> {
        let packed = self.remote.part(part).await?;
        // Not before the bytes are here: a slow bucket must not keep the others from being read.
        let turn = Arc::clone(&self.unpacking).acquire_owned().await.map_err(|_| Refusal::Reader)?;
        let reading = spawn_blocking(move || {
            let _turn = turn;
            let shelf = self.shelf.read().unwrap_or_else(PoisonError::into_inner);
            load(packed, place, &self.allowance, &shelf)
        });
        let taken = reading.await.map_err(|_| Refusal::Reader)?;
        taken.map_err(|error| Refusal::Archive(part.key(), error))
    }
}

/// Loads the documents of a part that are not as on the shelf.
fn load(
    packed: Vec<u8>,
    place: Place,
    allowance: &Allowance,
    shelf: &Shelf<Digest>,
) -> Result<Taken, ArchiveError> {
    let held = Held::unpack(&packed, place, allowance)?;
    drop(packed);
    let there = held.documents().map(|(path, bytes)| (path, Digest::of(bytes), bytes));
    let found = shelf.compare(there, |bytes, before| catalog::load(&held, bytes, before));
    Ok(Taken { place, used: held.used(), found })
}

#[cfg(test)]
mod tests;
