//! The record's history in the bucket: what other homes need to publish on top of it.
//!
//! The pointer names packs of commits. The first pack has all commits up to its tip. Each later pack has the commits after
//! the pack before it. A publication adds a pack. When there are many packs, a single one takes their place.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use raas_types::{Digest, HistoryPiece, ObjectKey, Pointer, Sha256};

use super::{SnapshotPublisher, has_all, put};
use crate::home::Vendor;
use crate::record::Record;
use crate::storage::{ListedObject, Storage, StorageError};
use raas_base::failure::{Context as _, Failure, Kind};
use raas_git::CommitId;

/// The most packs of a history.
const PIECES: usize = 20;

/// The longest pack, in bytes, that raas reads.
const MAX_SIZE: u64 = 1 << 30;

/// Stores the history of a commit that is not in the bucket yet; returns all packs of it. If a pack that should be there is
/// missing, a single new pack takes the place of all.
pub(super) fn store(
    publisher: &SnapshotPublisher<'_>,
    current: Option<&Pointer>,
    head: &CommitId,
) -> Result<Vec<HistoryPiece>, Failure> {
    let SnapshotPublisher { record, storage, spool, .. } = *publisher;
    let mut pieces = match current {
        Some(pointer) if is_whole(storage, pointer)? => pointer.history.clone(),
        _ => Vec::new(),
    };
    let since = pieces.last().and_then(|piece| CommitId::parse(&piece.tip).ok());
    let since = match since {
        Some(since) if since == *head => return Ok(pieces),
        Some(since)
            if pieces.len() < PIECES && record.has(&since)? && record.is_ancestor(&since, head)? =>
        {
            Some(since)
        }
        _ => None,
    };
    if since.is_none() {
        pieces.clear();
    }
    let cannot = || format!("cannot make a pack of commit {} in {}", head.short(), spool.display());
    let mut file = tempfile::tempfile_in(spool).context(cannot)?;
    record.write_pack(since.as_ref(), head, &file)?;
    file.rewind().context(cannot)?;
    let (digest, size) = digest(&mut file).context(cannot)?;
    if size > MAX_SIZE {
        let message = format!("the history up to commit {} is a pack of {size} bytes", head.short());
        return Err(Failure::new(Kind::Environment, message).hint(format!(
            "remove images with `raas unpublish`; other homes read at most {MAX_SIZE} bytes"
        )));
    }
    file.rewind().context(cannot)?;
    let piece = HistoryPiece { digest, size, tip: head.to_string() };
    put(storage, &piece.key(), size, &mut file)?;
    pieces.push(piece);
    Ok(pieces)
}

/// Whether a pointer names history, and all of it is there.
pub(super) fn is_whole(storage: &dyn Storage, pointer: &Pointer) -> Result<bool, Failure> {
    let pieces = pointer.history.iter().map(|piece| (piece.key().to_string(), piece.size));
    Ok(!pointer.history.is_empty() && has_all(storage, ObjectKey::RECORD, pieces.collect())?)
}

/// Whether each piece of a pointer's history has the digest and the length that the pointer says. This reads all of it.
pub(super) fn is_sound(storage: &dyn Storage, pointer: &Pointer) -> Result<bool, Failure> {
    for piece in &pointer.history {
        let key = piece.key();
        let Some(content) = storage.read(&key)? else { return Ok(false) };
        let mut found = Sha256::default();
        let read = io::copy(&mut content.take(piece.size.saturating_add(1)), &mut found);
        read.map_err(|error| StorageError::reading(&key, error))?;
        if found.length() != piece.size || found.finish() != piece.digest {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads all history of a bucket without a pointer, and moves the record to its last commit, if it has one last commit. Every
/// publication is an ancestor of that commit, so nothing is lost. Returns the ends if there are several, and changes nothing.
///
/// The history has several ends if another home has published after a publication that was never finished, or if it is not
/// the history of this home's record. A commit that this home has set aside is no end: another one was published in its place.
pub fn recover_without_pointer(
    vendor: &Vendor,
    record: &Record,
    storage: &dyn Storage,
) -> Result<Vec<CommitId>, Failure> {
    let ends = history_ends(vendor, record, storage)?;
    let mut candidates = Vec::new();
    for end in ends {
        if !record.is_set_aside(&end)? {
            candidates.push(end);
        }
    }
    let [end] = &candidates[..] else { return Ok(candidates) };
    if record.head()?.as_ref() != Some(end) {
        record.check_tree(end, &storage.display_name())?;
        record.advance(record.head()?.as_ref(), end)?;
        vendor.checkout().update(record, end)?;
    }
    Ok(Vec::new())
}

/// Reads all history of a bucket, and finds the commits that no other commit of it, or of the record's branch, comes after.
pub fn history_ends(
    vendor: &Vendor,
    record: &Record,
    storage: &dyn Storage,
) -> Result<Vec<CommitId>, Failure> {
    let mut found = Vec::new();
    storage.list(ObjectKey::RECORD, &mut |listed| found.push(listed))?;
    found.sort_by_key(|listed| listed.modified);
    let mut commits: Vec<CommitId> = record.head()?.into_iter().collect();
    for listed in found {
        let Some((tip, digest)) = ObjectKey::history(&listed.key) else { continue };
        let commit = CommitId::parse(tip)?;
        if !record.has(&commit)? {
            let piece = HistoryPiece { digest, size: listed.size, tip: tip.to_owned() };
            record.take_pack(fetch(storage, &piece, vendor.folder())?)?;
        }
        commits.push(commit);
    }
    let mut ends: Vec<CommitId> = Vec::new();
    for next in commits {
        let mut later = Vec::new();
        let mut is_earlier = false;
        for end in ends {
            is_earlier = is_earlier || record.is_ancestor(&next, &end)?;
            if is_earlier || !record.is_ancestor(&end, &next)? {
                later.push(end);
            }
        }
        if !is_earlier {
            later.push(next);
        }
        ends = later;
    }
    Ok(ends)
}

/// Reads the history of a pointer's commit into the record. No branch moves.
///
/// # Errors
/// A pack is missing or damaged, or the packs do not lead to the pointer's commit.
pub fn fetch_history(
    record: &Record,
    storage: &dyn Storage,
    pointer: &Pointer,
    spool: &Path,
) -> Result<(), Failure> {
    for piece in &pointer.history {
        if record.has(&CommitId::parse(&piece.tip)?)? {
            continue;
        }
        let file = fetch(storage, piece, spool)?;
        record.take_pack(file)?;
    }
    if record.has(&CommitId::parse(&pointer.revision)?)? {
        return Ok(());
    }
    let message = format!(
        "{} does not hold the history of its last publication, commit {}",
        storage.display_name(),
        pointer.revision
    );
    Err(Failure::new(Kind::Environment, message).hint(
        "publish anything from the home that published last, with this raas, and try again: an older raas stored no history",
    ))
}

/// Takes a pack of the bucket into a record. Returns whether that was possible. It does not take a damaged pack, or a
/// pack on top of commits that the record does not have.
///
/// # Errors
/// The storage fails.
pub(crate) fn take_piece(
    record: &Record,
    storage: &dyn Storage,
    listed: &ListedObject,
    spool: &Path,
) -> Result<bool, Failure> {
    let Some((tip, digest)) = ObjectKey::history(&listed.key) else { return Ok(false) };
    let piece = HistoryPiece { digest, size: listed.size, tip: tip.to_owned() };
    // Ask for the length first: if the storage fails, that must not count as damage of the pack.
    if storage.stat(&piece.key())?.is_none() {
        return Ok(false);
    }
    Ok(fetch(storage, &piece, spool).and_then(|file| record.take_pack(file)).is_ok())
}

fn fetch(storage: &dyn Storage, piece: &HistoryPiece, spool: &Path) -> Result<File, Failure> {
    let key = piece.key();
    let wrong = |what: &str| {
        Failure::new(Kind::Environment, format!("{key} of {} {what}", storage.display_name()))
            .hint("run `raas setup ISV` in the home that published last: it stores what is missing")
    };
    let cannot = || format!("cannot read {key} into {}", spool.display());
    if piece.size > MAX_SIZE {
        return Err(wrong("is too long to be a part of the history"));
    }
    let content = storage.read(&key)?.ok_or_else(|| wrong("is missing"))?;
    let mut file = tempfile::tempfile_in(spool).context(cannot)?;
    io::copy(&mut content.take(piece.size + 1), &mut file)
        .map_err(|error| StorageError::reading(&key, error))?;
    file.flush().and_then(|()| file.rewind()).context(cannot)?;
    if digest(&mut file).context(cannot)? != (piece.digest, piece.size) {
        return Err(wrong("is damaged"));
    }
    file.rewind().context(cannot)?;
    Ok(file)
}

fn digest(file: &mut File) -> io::Result<(Digest, u64)> {
    let mut digest = Sha256::default();
    io::copy(file, &mut digest)?;
    let length = digest.length();
    Ok((digest.finish(), length))
}
