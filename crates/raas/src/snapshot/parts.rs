//! The archive of a commit's files, which servers read.

use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use raas_types::crane::tree;
use raas_types::{HistoryPiece, ObjectKey, Pointer, Sha256, Utc};

use super::{Publisher, put};
use crate::failure::{Context as _, Failure, Kind};
use crate::record::{CommitId, Record};

/// Stores the archive of a commit; gives the pointer to it.
pub(super) fn store(
    publisher: &Publisher<'_>,
    commit: &CommitId,
    history: Vec<HistoryPiece>,
) -> Result<Pointer, Failure> {
    let Publisher { vendor, record, storage, spool } = *publisher;
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
        vendor: Some(vendor.clone()),
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

/// Writes the archive of a commit: the same bytes for the same commit, whoever makes it. The files are in the order of
/// their paths, as git lists them: servers read them in one pass then (`watch/intake.rs` in raas-server).
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
