//! Unpacks a part of a snapshot in memory. The bytes come from a bucket, so anybody who can write to the bucket chooses
//! them.

use std::borrow::Cow;
use std::io::{self, Cursor, Read as _};
use std::ops::Range;

use flate2::bufread::GzDecoder;
use raas_types::crane::{partition, tree};

mod allowance;

pub(super) use allowance::{Allowance, Limits, PartSize};

use crate::catalog::{MemoryCharge, MetadataFiles, OverBudget};

/// Why an archive is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("the archive cannot be unpacked: {0}")]
    Unpack(#[from] io::Error),
    #[error("the archive has bytes after its end")]
    Trailing,
    #[error("with the other parts the archive holds more than {0} bytes")]
    TooLong(u64),
    #[error("with the other parts the archive holds more than {0} files")]
    TooMany(u64),
    #[error(transparent)]
    Memory(#[from] OverBudget),
    #[error("member `{0}` is not a file of {data}", data = tree::DATA)]
    Path(String),
    #[error("member `{0}` is not a regular file")]
    Kind(String),
    #[error("the name of a member has {0} bytes")]
    Name(u64),
    #[error("member `{0}` belongs to another part")]
    Part(String),
    #[error("the archive has member `{0}` twice")]
    Twice(String),
}

/// Which part of a snapshot an archive is, and how many parts there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartIndex {
    pub(super) at: usize,
    pub(super) parts: usize,
}

impl PartIndex {
    /// Whether a file belongs to the part, by its path.
    pub(super) fn has(self, path: &str) -> bool {
        partition::part_of(path, self.parts) == self.at
    }
}

/// The files of a part, by path.
pub(super) struct UnpackedPart {
    /// The unpacked tar, in one allocation that is freed as a whole. Many small allocations would fragment the memory.
    bytes: Vec<u8>,
    /// The paths of all files, in one allocation too.
    paths: String,
    /// The files, sorted by path.
    files: Vec<Member>,
    /// The memory of all this.
    _charge: MemoryCharge,
}

/// Where the path and the bytes of a file are.
struct Member {
    path: Range<usize>,
    bytes: Range<usize>,
}

impl UnpackedPart {
    /// Unpacks an archive in memory.
    pub(super) fn unpack(
        packed: &[u8],
        part_index: PartIndex,
        allowance: &Allowance,
        mut charge: MemoryCharge,
    ) -> Result<Self, ArchiveError> {
        let bytes = unzip(packed, allowance, &mut charge)?;
        check_names(&bytes)?;
        let (mut paths, mut files) = (String::new(), Vec::new());
        for entry in tar::Archive::new(Cursor::new(&bytes)).entries_with_seek()? {
            let entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.header().entry_type() != tar::EntryType::Regular {
                return Err(ArchiveError::Kind(printable(&path)));
            }
            if !is_ours(&path) {
                return Err(ArchiveError::Path(printable(&path)));
            }
            if !part_index.has(&path) {
                return Err(ArchiveError::Part(printable(&path)));
            }
            allowance.take_file()?;
            charge.grow((size_of::<Member>() + path.len()) as u64)?;
            let begin = paths.len();
            paths.push_str(&path);
            let bytes = content(&entry, bytes.len()).ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
            files.push(Member { path: begin..paths.len(), bytes });
        }
        files.sort_unstable_by(|a, b| paths[a.path.clone()].cmp(&paths[b.path.clone()]));
        let twice = files.windows(2).find(|pair| paths[pair[0].path.clone()] == paths[pair[1].path.clone()]);
        if let Some(pair) = twice {
            return Err(ArchiveError::Twice(printable(&paths[pair[0].path.clone()])));
        }
        Ok(Self { bytes, paths, files, _charge: charge })
    }

    /// The size of the part.
    pub(super) fn used(&self) -> PartSize {
        PartSize { bytes: self.bytes.len() as u64, files: self.files.len() as u64 }
    }

    fn path(&self, member: &Member) -> &str {
        &self.paths[member.path.clone()]
    }

    /// Every document and every customer with its path, in the order of the paths.
    pub(super) fn documents(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let all = self.files.iter().map(|member| (self.path(member), &self.bytes[member.bytes.clone()]));
        all.filter(|(path, _)| is_document(path) || tree::customer_of(path).is_some())
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

/// Unpacks to the end. A truncated archive and a wrong checksum are errors.
fn unzip(packed: &[u8], allowance: &Allowance, charge: &mut MemoryCharge) -> Result<Vec<u8>, ArchiveError> {
    /// The bytes that are unpacked at once: a multiple of the decompressor's window.
    const PIECE: usize = 128 * 1024;
    /// Metadata usually unpacks to at most this multiple of its packed size.
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
        charge.grow(count as u64)?;
    }
    if unpacker.into_inner().is_empty() { Ok(bytes) } else { Err(ArchiveError::Trailing) }
}

/// Refuses an archive with extension headers that are longer than a path can be. The reader of the archive would hold
/// their content in memory beside the unpacked bytes.
fn check_names(bytes: &Vec<u8>) -> Result<(), ArchiveError> {
    /// The longest path on Linux.
    const MAX: u64 = 4096;
    for entry in tar::Archive::new(Cursor::new(bytes)).entries_with_seek()?.raw(true) {
        let entry = entry?;
        let kind = entry.header().entry_type();
        let tells = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if tells && entry.size() > MAX {
            return Err(ArchiveError::Name(entry.size()));
        }
    }
    Ok(())
}

/// Where the bytes of a file are. None if the header claims more bytes than there are.
fn content(entry: &tar::Entry<'_, Cursor<&Vec<u8>>>, all: usize) -> Option<Range<usize>> {
    let begin = usize::try_from(entry.raw_file_position()).ok()?;
    let end = begin.checked_add(usize::try_from(entry.size()).ok()?)?;
    (end <= all).then_some(begin..end)
}

/// The capacity to allocate for this number of bytes.
///
/// glibc's malloc takes allocations above 32 MiB directly from the system and returns them when they are freed.
/// Unwritten pages cost nothing. Freeing a smaller mapped allocation raises the threshold, and malloc then keeps freed
/// memory of that size (`M_MMAP_THRESHOLD` in mallopt(3)).
pub(super) fn room(bytes: usize) -> usize {
    const SMALL: usize = 128 * 1024;
    const OWN: usize = 32 * 1024 * 1024 + 1;
    if bytes <= SMALL { bytes } else { bytes.max(OWN) }
}

/// Whether a path is allowed in a metadata tree: plain names below the folder of documents.
fn is_ours(path: &str) -> bool {
    let rest = path.strip_prefix(tree::DATA).and_then(|rest| rest.strip_prefix('/'));
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    rest.is_some_and(|rest| rest.split('/').all(plain))
}

/// Whether a file is a document. As in Crane, every `.json` file is one, except below folders whose name begins with
/// `_` or `.`.
fn is_document(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    name.ends_with(".json") && !name.starts_with('.') && !parts.any(|folder| folder.starts_with(['_', '.']))
}

/// The beginning of a path, for the log.
fn printable(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
