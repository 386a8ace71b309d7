//! The parts of a snapshot: archives for servers. A part has the files of some repositories.
//!
//! The same files always make a part of the same bytes. So a part whose files a publication does not change is stored
//! already.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::time::SystemTime;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use raas_types::crane::{Document, partition, tree};
use raas_types::{Digest, HistoryPiece, ObjectKey, Part, Pointer, Sha256, Utc};

use super::{SnapshotPublisher, has_all, put};
use crate::record::Record;
use crate::storage::{Storage, StorageError};
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::parallel;
use raas_git::{CommitId, CommittedFile, is_safe_path};

/// The most bytes of a part that are unpacked: a part of ordinary documents has far fewer.
const MAX_UNPACKED: u64 = 4 << 30;

/// Stores the parts of a commit that the current pointer does not name already; returns a pointer to all parts.
pub(super) fn store(
    publisher: &SnapshotPublisher<'_>,
    current: Option<&Pointer>,
    commit: &CommitId,
    history: Vec<HistoryPiece>,
) -> Result<Pointer, Failure> {
    let SnapshotPublisher { vendor, record, storage, .. } = *publisher;
    // The record may hold files that are not served.
    let files = record.files(commit, &format!("{}/", tree::DATA))?;
    let count = partition::count(files.len());
    let kept = match current {
        Some(current) => kept(publisher, current, commit, count)?,
        None => vec![None; count],
    };
    let mut members: Vec<Vec<CommittedFile>> = vec![Vec::new(); count];
    for file in files {
        members[partition::part_of(&file.path, count)].push(file);
    }
    let workers = storage.capabilities().upload_limits.single;
    let packed = parallel::each(workers, kept.into_iter().zip(members).collect(), |(kept, files)| {
        Ok(match kept {
            Some(part) => (part, None),
            None => pack(publisher, commit, &files).map(|(part, file)| (part, Some(file)))?,
        })
    })?;
    let pointer = Pointer {
        format: Pointer::FORMAT,
        parts_format: Pointer::PARTS_FORMAT,
        revision: commit.to_string(),
        sequence: record.depth(commit)?,
        published: Utc::of(SystemTime::now()).to_string(),
        vendor: Some(vendor.clone()),
        parts: packed.iter().map(|(part, _)| *part).collect(),
        history,
        unknown: current.map(|current| current.unknown.clone()).unwrap_or_default(),
    };
    if pointer.size() > Pointer::MAX_SNAPSHOT {
        let size = pointer.size();
        let message = format!("the metadata of commit {} is a snapshot of {size} bytes", commit.short());
        return Err(Failure::new(Kind::Environment, message).hint(format!(
            "remove images with `raas unpublish`; servers read at most {} bytes",
            Pointer::MAX_SNAPSHOT
        )));
    }
    let new = packed.into_iter().filter_map(|(part, file)| Some((part, file?))).collect();
    parallel::each(workers, new, |(part, mut file)| put(storage, &part.key(), part.size, &mut file))?;
    Ok(pointer)
}

/// Whether a pointer names parts, and all of them are there. A pointer of an older version may name none.
pub fn has_parts(storage: &dyn Storage, pointer: &Pointer) -> Result<bool, Failure> {
    if let [part] = pointer.parts[..] {
        return Ok(storage.stat(&part.key())?.is_some_and(|found| found.size == part.size));
    }
    let parts = pointer.parts.iter().map(|part| (part.key().to_string(), part.size));
    Ok(!pointer.parts.is_empty() && has_all(storage, ObjectKey::SNAPSHOTS, parts.collect())?)
}

/// Whether each part has the digest and the length that the pointer says. This reads all parts.
pub fn are_sound(storage: &dyn Storage, pointer: &Pointer) -> Result<bool, Failure> {
    let sound = parallel::each(storage.capabilities().upload_limits.single, pointer.parts.clone(), |part| {
        let key = part.key();
        let Some(content) = storage.read(&key)? else { return Ok(false) };
        let mut digest = Sha256::default();
        let read = io::copy(&mut content.take(part.size.saturating_add(1)), &mut digest);
        read.map_err(|error| StorageError::reading(&key, error))?;
        Ok(digest.length() == part.size && digest.finish() == part.digest)
    })?;
    Ok(sound.into_iter().all(|sound| sound))
}

/// The files of all parts, by their paths in the record. `None` if a part is missing or damaged.
///
/// # Errors
/// The storage fails.
pub fn read_parts(
    storage: &dyn Storage,
    pointer: &Pointer,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, Failure> {
    let mut files = BTreeMap::new();
    for part in &pointer.parts {
        let key = part.key();
        let Some(content) = storage.read(&key)? else { return Ok(None) };
        let mut archive = Vec::new();
        let read = content.take(part.size.saturating_add(1)).read_to_end(&mut archive);
        read.map_err(|error| StorageError::reading(&key, error))?;
        if Digest::of(&archive) != part.digest {
            return Ok(None);
        }
        if unpack(&archive, &mut files).is_err() {
            return Ok(None);
        }
    }
    Ok((!pointer.parts.is_empty()).then_some(files))
}

/// Unpacks a part. A part with an entry that cannot be a file of the record is damaged.
fn unpack(archive: &[u8], files: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive).take(MAX_UNPACKED));
    for entry in archive.entries()? {
        let entry = entry?;
        let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(io::Error::other)?;
        let is_file = entry.header().entry_type().is_file() && is_safe_path(&path);
        if !is_file || !path.starts_with(tree::DATA) || entry.size() > Document::MAX_SIZE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = Vec::new();
        entry.take(Document::MAX_SIZE).read_to_end(&mut bytes)?;
        files.insert(path, bytes);
    }
    Ok(())
}

/// For each part of the commit, the part of the current pointer if it has the same files. If anything about that pointer is
/// in doubt, no part is kept.
fn kept(
    publisher: &SnapshotPublisher<'_>,
    pointer: &Pointer,
    commit: &CommitId,
    count: usize,
) -> Result<Vec<Option<Part>>, Failure> {
    let SnapshotPublisher { record, storage, .. } = *publisher;
    let none = Ok(vec![None; count]);
    let Ok(before) = CommitId::parse(&pointer.revision) else { return none };
    if pointer.parts.len() != count || !record.has(&before)? {
        return none;
    }
    let changed = record.changed(&before, commit)?;
    let served = changed.iter().filter(|(path, _)| path.starts_with(tree::DATA));
    let changed: BTreeSet<usize> = served.map(|(path, _)| partition::part_of(path, count)).collect();
    // If every part is made anew, no request about the old parts is needed.
    if changed.len() == count || !has_parts(storage, pointer)? {
        return none;
    }
    let part = |(at, part): (usize, &Part)| (!changed.contains(&at)).then_some(*part);
    Ok(pointer.parts.iter().enumerate().map(part).collect())
}

/// Makes a part of these files, in the order in which git lists them. The file has no name, so it is gone however this run
/// ends.
fn pack(
    publisher: &SnapshotPublisher<'_>,
    commit: &CommitId,
    files: &[CommittedFile],
) -> Result<(Part, File), Failure> {
    let SnapshotPublisher { record, spool, .. } = *publisher;
    let cannot = || format!("cannot make a part of commit {} in {}", commit.short(), spool.display());
    let to = Hashed { to: tempfile::tempfile_in(spool).context(cannot)?, digest: Sha256::default() };
    let mut tar = tar::Builder::new(GzEncoder::new(to, Compression::default()));
    append_all(&mut tar, record, files, cannot)?;
    let Hashed { mut to, digest } = tar.into_inner().and_then(GzEncoder::finish).context(cannot)?;
    to.rewind().context(cannot)?;
    let size = digest.length();
    Ok((Part { digest: digest.finish(), size }, to))
}

fn append_all(
    tar: &mut tar::Builder<impl Write>,
    record: &Record,
    files: &[CommittedFile],
    cannot: impl Fn() -> String,
) -> Result<(), Failure> {
    record.read_each(files, |file, content| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, &file.path, content.as_slice()).context(&cannot)
    })
}

/// A file that hashes what is written to it.
struct Hashed {
    to: File,
    digest: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
