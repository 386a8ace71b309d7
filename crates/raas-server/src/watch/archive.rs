//! A part of a snapshot, unpacked in memory: bytes that come from a bucket, and that anybody who can write there can
//! choose.

use std::borrow::Cow;
use std::io::{self, Cursor, Read as _};
use std::ops::Range;

use flate2::bufread::GzDecoder;
use raas_types::crane::{partition, tree};

mod allowance;

pub(super) use allowance::{Allowance, Limits, PartSize};

use crate::catalog::MetadataFiles;

/// Why an archive is refused, all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("it cannot be unpacked: {0}")]
    Unpack(#[from] io::Error),
    #[error("something comes after its end")]
    Trailing,
    #[error("with the other parts it holds more than {0} bytes")]
    TooLong(u64),
    #[error("with the other parts it holds more than {0} files")]
    TooMany(u64),
    #[error("member `{0}` is not a file of {data}", data = tree::DATA)]
    Path(String),
    #[error("member `{0}` is not a regular file")]
    Kind(String),
    #[error("the name of a member has {0} bytes")]
    Name(u64),
    #[error("member `{0}` is of another part")]
    Part(String),
    #[error("member `{0}` is there twice")]
    Twice(String),
}

/// A part of a snapshot: which one, and of how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartIndex {
    pub(super) at: usize,
    pub(super) parts: usize,
}

impl PartIndex {
    /// Whether a file lies in it, by its path.
    pub(super) fn has(self, path: &str) -> bool {
        partition::part_of(path, self.parts) == self.at
    }
}

/// The files of a part, by path.
pub(super) struct UnpackedPart {
    /// The unpacked tar: one piece of memory, which is given back as one. Many small ones would leave holes between what
    /// stays.
    bytes: Vec<u8>,
    /// The files' paths, likewise.
    paths: String,
    /// Where each of them is, by path.
    files: Vec<Member>,
}

/// Where a file's path and bytes are.
struct Member {
    path: Range<usize>,
    bytes: Range<usize>,
}

impl UnpackedPart {
    /// Unpacks an archive. Nothing is written anywhere.
    pub(super) fn unpack(
        packed: &[u8],
        part_index: PartIndex,
        allowance: &Allowance,
    ) -> Result<Self, ArchiveError> {
        let bytes = unzip(packed, allowance)?;
        check_names(&bytes)?;
        let (mut paths, mut files) = (String::new(), Vec::new());
        for entry in tar::Archive::new(Cursor::new(&bytes)).entries_with_seek()? {
            let entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.header().entry_type() != tar::EntryType::Regular {
                return Err(ArchiveError::Kind(shown(&path)));
            }
            if !is_ours(&path) {
                return Err(ArchiveError::Path(shown(&path)));
            }
            if !part_index.has(&path) {
                return Err(ArchiveError::Part(shown(&path)));
            }
            allowance.take_file()?;
            let begin = paths.len();
            paths.push_str(&path);
            let bytes = content(&entry, bytes.len()).ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
            files.push(Member { path: begin..paths.len(), bytes });
        }
        files.sort_unstable_by(|a, b| paths[a.path.clone()].cmp(&paths[b.path.clone()]));
        let twice = files.windows(2).find(|pair| paths[pair[0].path.clone()] == paths[pair[1].path.clone()]);
        if let Some(pair) = twice {
            return Err(ArchiveError::Twice(shown(&paths[pair[0].path.clone()])));
        }
        Ok(Self { bytes, paths, files })
    }

    /// How much it holds.
    pub(super) fn used(&self) -> PartSize {
        PartSize { bytes: self.bytes.len() as u64, files: self.files.len() as u64 }
    }

    fn path(&self, member: &Member) -> &str {
        &self.paths[member.path.clone()]
    }

    /// Every document, with its path, in the order of the paths.
    pub(super) fn documents(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let all = self.files.iter().map(|member| (self.path(member), &self.bytes[member.bytes.clone()]));
        all.filter(|(path, _)| is_document(path))
    }
}

impl MetadataFiles for UnpackedPart {
    fn read(&self, path: &str, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        let at = self.files.binary_search_by(|member| self.path(member).cmp(path));
        let member = &self.files[at.map_err(|_| io::ErrorKind::NotFound)?];
        let bytes = &self.bytes[member.bytes.clone()];
        Ok(bytes[..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX))].into())
    }
}

/// Unpacks to the end, so that what broke off, or is not what its own checksum says, is refused.
fn unzip(packed: &[u8], allowance: &Allowance) -> Result<Vec<u8>, ArchiveError> {
    /// How much is unpacked at once: a multiple of what the packer looks back at.
    const PIECE: usize = 128 * 1024;
    /// As many times as long as packed is metadata that is unpacked, or a little less.
    const RATIO: usize = 8;
    let mut unpacker = GzDecoder::new(packed);
    let mut bytes = Vec::with_capacity(room(packed.len().saturating_mul(RATIO).saturating_add(PIECE)));
    loop {
        let begin = bytes.len();
        bytes.resize(begin + PIECE, 0);
        let count = unpacker.read(&mut bytes[begin..])?;
        bytes.truncate(begin + count);
        if count == 0 {
            break;
        }
        allowance.take_bytes(count as u64)?;
    }
    if unpacker.into_inner().is_empty() { Ok(bytes) } else { Err(ArchiveError::Trailing) }
}

/// Refuses an archive with a name so long that it is told in pieces of its own and is longer than a path can be. Whoever
/// walks an archive gathers those in memory, on top of what is unpacked.
fn check_names(bytes: &Vec<u8>) -> Result<(), ArchiveError> {
    /// The longest path that Linux takes.
    const MOST: u64 = 4096;
    for entry in tar::Archive::new(Cursor::new(bytes)).entries_with_seek()?.raw(true) {
        let entry = entry?;
        let kind = entry.header().entry_type();
        let tells = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if tells && entry.size() > MOST {
            return Err(ArchiveError::Name(entry.size()));
        }
    }
    Ok(())
}

/// Where a file's bytes are among so many; nothing if they are not all there. What a header says is not believed.
fn content(entry: &tar::Entry<'_, Cursor<&Vec<u8>>>, all: usize) -> Option<Range<usize>> {
    let begin = usize::try_from(entry.raw_file_position()).ok()?;
    let end = begin.checked_add(usize::try_from(entry.size()).ok()?)?;
    (end <= all).then_some(begin..end)
}

/// How much memory to take for so many bytes.
///
/// glibc's malloc takes what is larger than 32 MiB from the system, gives it back when it is freed, and learns nothing
/// from it; what is never written there costs nothing. When something smaller is freed, from then on it keeps pieces
/// of that size, and twice as much of whatever is free (`M_MMAP_THRESHOLD` in mallopt(3)).
pub(super) fn room(bytes: usize) -> usize {
    const SMALL: usize = 128 * 1024;
    const OWN: usize = 32 * 1024 * 1024 + 1;
    if bytes <= SMALL { bytes } else { bytes.max(OWN) }
}

/// Whether a metadata tree has such a path: plain parts below the folder of documents.
fn is_ours(path: &str) -> bool {
    let rest = path.strip_prefix(tree::DATA).and_then(|rest| rest.strip_prefix('/'));
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    rest.is_some_and(|rest| rest.split('/').all(plain))
}

/// Whether a file is a document. As in Crane, every `.json` file is one, but for those below folders whose name begins
/// with `_` or `.`.
fn is_document(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    name.ends_with(".json") && !name.starts_with('.') && !parts.any(|folder| folder.starts_with(['_', '.']))
}

/// As much of a name as a log takes.
fn shown(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
