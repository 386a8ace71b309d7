//! A publication's metadata in the vendor's bucket, so that servers anywhere need nothing but the bucket, and so that
//! several homes can publish to it.
//!
//! An archive of a commit's files lies under its own digest and never changes; the pointer says which archive is
//! served, and where the history up to that commit lies ([`history`]). What the pointer names is stored before it, so
//! whoever follows it finds all of it whole.
//!
//! # Two publishers at once
//!
//! Of one home, commits of the record have one order, since each is made on top of the last; of several homes too,
//! since a home makes a commit only in its turn ([`turn`]), on top of what the bucket's pointer says then. A publisher
//! writes the pointer only after its commit is in the record, and then *looks again*: it is done when the pointer
//! stands at the record's last commit, as the record says it then, or at a later one. So an older pointer never stays:
//!
//! Let the last commit be L. Its publisher P writes a pointer of L after L is in the record. Suppose the last
//! write of all left an older pointer, by a publisher Q. Then that write came after P's, so after L was in the
//! record; and Q looked at the record after it, saw L, and wrote again. It was not the last write of all.
//!
//! That needs nothing of the storage but that a reader sees what was last written. What it leaves open is a Q that
//! dies between its write and its look: until the next publication, `raas push` of anything included, the older
//! pointer stands. Where the storage refuses to replace what is not as it was read, that is closed too, since Q's
//! write then fails: see [`replace`].

mod history;
mod turn;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use raas_types::crane::tree;
use raas_types::{HistoryPiece, ObjectKey, Pointer, Sha256, Utc};

use crate::failure::{Context as _, Failure, Kind};
use crate::record::{CommitId, Record};
use crate::storage::{Draft, Storage, StorageError};
pub(crate) use history::take_in;
pub(crate) use turn::{Patience, Publisher, Turn};

/// How often a publisher meets another one before it gives up.
const ATTEMPTS: usize = 10;

/// Makes the bucket's pointer stand at the record's last commit, or leaves it at a later one. Nothing is done where
/// it stands there already, so this mends what a run that was killed has left.
///
/// `record` is the vendor's, the one of the home that publishes to this bucket; `spool` is a folder for the archive in
/// the making.
pub(crate) fn publish(record: &Record, storage: &dyn Storage, spool: &Path) -> Result<(), Failure> {
    let mut made: Option<(CommitId, Pointer)> = None;
    for _ in 0..ATTEMPTS {
        // The record before the pointer: that is the look that the argument above is about.
        let Some(head) = record.head()? else { return Ok(()) };
        let standing = standing(storage)?;
        if let Some(standing) = &standing
            && stands(record, storage, &head, standing)?
        {
            return Ok(());
        }
        let (_, pointer) = match made.take().filter(|(commit, _)| *commit == head) {
            Some(made) => made,
            None => {
                let history = history::store(record, storage, standing.as_ref(), &head, spool)?;
                (head.clone(), store(record, storage, &head, history, spool)?)
            }
        };
        replace(storage, &pointer)?;
        made = Some((head, pointer));
    }
    Err(Failure::new(
        Kind::Environment,
        "the bucket's pointer to the metadata does not stay as it is written",
    )
    .hint("other runs publish at the same time, or another program writes there; push again"))
}

/// The pointer as it is in the bucket; one that cannot be read is as good as none.
pub(crate) fn standing(storage: &dyn Storage) -> Result<Option<Pointer>, Failure> {
    let key = ObjectKey::Pointer;
    let Some(content) = storage.read(&key)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = content.take(Pointer::MAX_SIZE).read_to_end(&mut bytes);
    read.context(|| format!("cannot read {key}"))?;
    Ok(Pointer::parse(&bytes).ok())
}

/// For a bucket whose metadata is of a record that has nothing in common with this one.
pub(crate) fn another_record(storage: &dyn Storage, standing: &Pointer) -> Failure {
    let message = format!(
        "{} holds the metadata of another registry, published as commit {} at {}",
        storage.place(),
        standing.revision,
        standing.published
    );
    Failure::new(Kind::Environment, message).hint(format!(
        "publish from a home that knows that registry, or from one that has published nothing of this vendor yet. If \
         the registry in the bucket is given up, remove {} there: then the registry is what this home has published",
        ObjectKey::Pointer
    ))
}

/// Whether the pointer is of the commit or of a later one, and its archive is there.
fn stands(
    record: &Record,
    storage: &dyn Storage,
    head: &CommitId,
    standing: &Pointer,
) -> Result<bool, Failure> {
    if standing.revision != head.as_str() {
        let Ok(other) = CommitId::parse(&standing.revision) else { return Ok(false) };
        if !record.has(&other)? {
            return Err(another_record(storage, standing));
        }
        return record.is_ancestor(head, &other);
    }
    is_whole(storage, standing)
}

/// The keys of what a pointer names.
pub(crate) fn keys(pointer: &Pointer) -> Vec<String> {
    let history = pointer.history.iter().map(|piece| ObjectKey::History(piece.digest).to_string());
    history.chain([ObjectKey::Snapshot(pointer.digest).to_string()]).collect()
}

/// Whether the archive that a pointer names is there.
pub(crate) fn is_whole(storage: &dyn Storage, standing: &Pointer) -> Result<bool, Failure> {
    let archive = storage.stat(&ObjectKey::Snapshot(standing.digest))?;
    Ok(archive.is_some_and(|found| found.size == standing.size))
}

/// Replaces the pointer.
///
/// This is the one place where a conditional write belongs, once [`Storage`] has one: replace what was read, or
/// nothing. The loop above takes a refusal as it takes a write: it looks again.
fn replace(storage: &dyn Storage, pointer: &Pointer) -> Result<(), Failure> {
    let key = ObjectKey::Pointer;
    let bytes = pointer.to_bytes();
    let mut upload = storage.create(Draft::of(&key, bytes.len() as u64))?;
    upload.write_all(&bytes).map_err(|error| StorageError::writing(&key, error))?;
    Ok(upload.commit(&key)?)
}

/// Stores the archive of a commit.
fn store(
    record: &Record,
    storage: &dyn Storage,
    commit: &CommitId,
    history: Vec<HistoryPiece>,
    spool: &Path,
) -> Result<Pointer, Failure> {
    let cannot = || format!("cannot make the archive of commit {} in {}", commit.short(), spool.display());
    // Without a name, so that it is gone however this run ends.
    let file = tempfile::tempfile_in(spool).context(cannot)?;
    let (mut file, digest) = pack(record, commit, file)?;
    let size = digest.length();
    let pointer = Pointer {
        digest: digest.finish(),
        size,
        revision: commit.to_string(),
        sequence: record.depth(commit)?,
        published: Utc::of(SystemTime::now()).to_string(),
        history,
    };
    if size > Pointer::MAX_ARCHIVE {
        let message = format!("the metadata of commit {} is an archive of {size} bytes", commit.short());
        return Err(Failure::new(Kind::Environment, message).hint(format!(
            "servers read at most {} bytes; take images off the registry",
            Pointer::MAX_ARCHIVE
        )));
    }
    file.rewind().context(cannot)?;
    put(storage, &ObjectKey::Snapshot(pointer.digest), size, &mut file)?;
    Ok(pointer)
}

/// Stores what is named by its digest. It is hardly ever there before, so nobody asks.
fn put(storage: &dyn Storage, key: &ObjectKey, size: u64, file: &mut File) -> Result<(), Failure> {
    let mut upload = storage.create(Draft::of(key, size))?;
    io::copy(file, &mut upload).map_err(|error| StorageError::writing(key, error))?;
    Ok(upload.commit(key)?)
}

/// Writes the archive of a commit: the same bytes for the same commit, whoever makes it.
fn pack(record: &Record, commit: &CommitId, to: File) -> Result<(File, Sha256), Failure> {
    let cannot = || format!("cannot write the archive of commit {}", commit.short());
    let packer = GzEncoder::new(Hashed { to, digest: Sha256::default() }, Compression::default());
    let mut tar = tar::Builder::new(packer);
    append(&mut tar, tree::REVISION, commit.as_str().as_bytes()).context(cannot)?;
    // The record may hold more than is served.
    let data = format!("{}/", tree::DATA);
    record.read_each(&record.files(commit, &data)?, |file, content| {
        append(&mut tar, &file.path, &content).context(cannot)
    })?;
    let hashed = tar.into_inner().and_then(GzEncoder::finish).context(cannot)?;
    Ok((hashed.to, hashed.digest))
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, content)
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

#[cfg(test)]
mod tests;
