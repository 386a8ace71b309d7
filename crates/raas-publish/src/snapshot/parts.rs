//! The parts of a snapshot, which servers read: archives, each of the files of some repositories.
//!
//! A part is the same bytes for the same files, whoever makes it and of whatever commit. So those of a publication in which
//! no file has changed are there already, from the one before.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use raas_types::crane::{partition, tree};
use raas_types::{HistoryPiece, ObjectKey, Part, Pointer, Sha256, Utc};

use super::{Publisher, has_all, put};
use crate::record::Record;
use crate::storage::Storage;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::parallel;
use raas_git::{CommitId, CommittedFile};

/// Stores the parts of a commit that are not those of the pointer that stands; gives the pointer to all of them.
pub(super) fn store(
    publisher: &Publisher<'_>,
    standing: Option<&Pointer>,
    commit: &CommitId,
    history: Vec<HistoryPiece>,
) -> Result<Pointer, Failure> {
    let Publisher { vendor, record, storage, .. } = *publisher;
    // The record may hold more than is served.
    let files = record.files(commit, &format!("{}/", tree::DATA))?;
    let count = partition::count(files.len());
    let kept = match standing {
        Some(standing) => kept(publisher, standing, commit, count)?,
        None => vec![None; count],
    };
    let mut members: Vec<Vec<CommittedFile>> = vec![Vec::new(); count];
    for file in files {
        members[partition::part_of(&file.path, count)].push(file);
    }
    let workers = storage.in_flight(1);
    let packed = parallel::each(workers, kept.into_iter().zip(members).collect(), |(kept, files)| {
        Ok(match kept {
            Some(part) => (part, None),
            None => pack(publisher, commit, &files).map(|(part, file)| (part, Some(file)))?,
        })
    })?;
    let pointer = Pointer {
        revision: commit.to_string(),
        sequence: record.depth(commit)?,
        published: Utc::of(SystemTime::now()).to_string(),
        vendor: Some(vendor.clone()),
        parts: packed.iter().map(|(part, _)| *part).collect(),
        history,
    };
    if pointer.size() > Pointer::MAX_SNAPSHOT {
        let size = pointer.size();
        let message = format!("the metadata of commit {} is a snapshot of {size} bytes", commit.short());
        return Err(Failure::new(Kind::Environment, message).hint(format!(
            "servers read at most {} bytes; take images off the registry",
            Pointer::MAX_SNAPSHOT
        )));
    }
    let new = packed.into_iter().filter_map(|(part, file)| Some((part, file?))).collect();
    parallel::each(workers, new, |(part, mut file)| put(storage, &part.key(), part.size, &mut file))?;
    Ok(pointer)
}

/// Whether the parts that a pointer names are there. Older versions named none.
pub fn has_parts(storage: &dyn Storage, standing: &Pointer) -> Result<bool, Failure> {
    if let [part] = standing.parts[..] {
        return Ok(storage.stat(&part.key())?.is_some_and(|found| found.size == part.size));
    }
    let parts = standing.parts.iter().map(|part| (part.key().to_string(), part.size));
    Ok(!standing.parts.is_empty() && has_all(storage, ObjectKey::SNAPSHOTS, parts.collect())?)
}

/// Whether each part that a pointer names is what it says, which takes reading all of them.
pub fn are_sound(storage: &dyn Storage, standing: &Pointer) -> Result<bool, Failure> {
    let sound = parallel::each(storage.in_flight(1), standing.parts.clone(), |part| {
        let key = part.key();
        let Some(content) = storage.read(&key)? else { return Ok(false) };
        let mut digest = Sha256::default();
        let read = io::copy(&mut content.take(part.size.saturating_add(1)), &mut digest);
        read.context(|| format!("cannot read {key} of {}", storage.place()))?;
        Ok(digest.length() == part.size && digest.finish() == part.digest)
    })?;
    Ok(sound.into_iter().all(|sound| sound))
}

/// Of each part the one that the standing pointer has, where the files in it are the same. Where anything about that
/// pointer is in doubt, none is.
fn kept(
    publisher: &Publisher<'_>,
    standing: &Pointer,
    commit: &CommitId,
    count: usize,
) -> Result<Vec<Option<Part>>, Failure> {
    let Publisher { record, storage, .. } = *publisher;
    let none = Ok(vec![None; count]);
    let Ok(before) = CommitId::parse(&standing.revision) else { return none };
    if standing.parts.len() != count || !record.has(&before)? {
        return none;
    }
    let changed = record.changed(&before, commit)?;
    let served = changed.iter().filter(|(path, _)| path.starts_with(tree::DATA));
    let changed: BTreeSet<usize> = served.map(|(path, _)| partition::part_of(path, count)).collect();
    // Where all are made, as where there is one, nobody needs to ask for those that stand.
    if changed.len() == count || !has_parts(storage, standing)? {
        return none;
    }
    let part = |(at, part): (usize, &Part)| (!changed.contains(&at)).then_some(*part);
    Ok(standing.parts.iter().enumerate().map(part).collect())
}

/// Makes a part of files, in the order of their paths, as git lists them. Its file has no name, so that it is gone however
/// this run ends.
fn pack(
    publisher: &Publisher<'_>,
    commit: &CommitId,
    files: &[CommittedFile],
) -> Result<(Part, File), Failure> {
    let Publisher { record, spool, .. } = *publisher;
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

/// A file whose bytes are hashed as they are written.
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
