//! From an archive to the documents that there are now, in one pass.
//!
//! Most documents of an archive are as they were. Where an archive is in the order of its paths, as whoever publishes
//! writes it, a document comes before the files that it takes to load it, so nothing of those that are as they were is
//! held. An archive in another order is unpacked into memory whole, with the same result.

use std::collections::BTreeSet;

use raas_types::Digest;

use super::archive::{Ahead, ArchiveError, Held, Limits, walk};
use super::shelf::{Found, Shelf};
use crate::catalog::load;

mod bundle;
mod gather;
mod loaders;

use gather::{Gatherer, Stop};
use loaders::{Again, Loaders};

/// Reads an archive of this revision and loads those of its documents that are not as on the shelf.
pub(super) fn read(
    packed: &[u8],
    revision: &str,
    limits: Limits,
    shelf: &Shelf<Digest>,
) -> Result<Found<Digest>, ArchiveError> {
    let (mut found, again) = match pass(packed, revision, limits, shelf) {
        Ok(found) => found,
        Err(Stop::Refused(error)) => return Err(error),
        Err(Stop::Order) => return read_whole(packed, revision, limits, shelf),
    };
    if !again.is_empty() {
        let documents: BTreeSet<&str> = again.iter().map(|again| again.path.as_str()).collect();
        let folders: BTreeSet<&str> = again.iter().map(|again| again.folder.as_str()).collect();
        let held = Held::unpack(packed, revision, limits, |path| {
            let folder = path.rfind('/').map_or("", |slash| &path[..=slash]);
            folders.contains(folder) || documents.contains(path)
        })?;
        let there = again.into_iter().map(|again| (again.path, again.digest)).collect();
        found.loaded.extend(load_from(&held, there, shelf).loaded);
    }
    Ok(found)
}

/// What one pass finds, and the documents that take files that it has not held.
fn pass(
    packed: &[u8],
    revision: &str,
    limits: Limits,
    shelf: &Shelf<Digest>,
) -> Result<(Found<Digest>, Vec<Again>), Stop> {
    std::thread::scope(|scope| {
        let mut gatherer = Gatherer::new(shelf, Loaders::new(scope, shelf));
        walk(Ahead::unpack(scope, packed, limits), revision, limits, |file| gatherer.pass(file))?;
        Ok(gatherer.finish())
    })
}

fn read_whole(
    packed: &[u8],
    revision: &str,
    limits: Limits,
    shelf: &Shelf<Digest>,
) -> Result<Found<Digest>, ArchiveError> {
    let held = Held::unpack(packed, revision, limits, |_| true)?;
    let there = held.documents();
    Ok(load_from(&held, there, shelf))
}

fn load_from(held: &Held, there: Vec<(String, Digest)>, shelf: &Shelf<Digest>) -> Found<Digest> {
    shelf.load(there, |path, _, before| load(held, held.file(path)?, before))
}

#[cfg(test)]
mod tests;
