//! Reading an archive of metadata: bytes that come from a bucket, and that anybody who can write there can choose.

use std::io::{self, Read, Seek};

use raas_types::crane::tree;

mod ahead;
mod held;

pub(super) use ahead::Ahead;
pub(super) use held::Held;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// All bytes of the unpacked tar.
    pub(super) unpacked: u64,
    /// How many files.
    pub(super) files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked: 1024 * 1024 * 1024, files: 1_000_000 }
    }
}

/// Why an archive is refused, all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("it cannot be unpacked: {0}")]
    Unpack(#[from] io::Error),
    #[error("it holds more than {0} bytes")]
    TooLong(u64),
    #[error("it holds more than {0} files")]
    TooMany(usize),
    #[error("member `{0}` is neither `revision` nor a file of {data}", data = tree::DATA)]
    Path(String),
    #[error("member `{0}` is not a regular file")]
    Kind(String),
    #[error("member `{0}` is there twice")]
    Twice(String),
    #[error("its `revision` is not the pointer's")]
    Revision,
}

/// A file that is being passed by. What is not read of it is left out.
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    size: u64,
    content: &'a mut dyn Read,
}

impl File<'_> {
    /// Adds its bytes to these, all of them.
    pub(super) fn read(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let before = into.len();
        self.content.read_to_end(into)?;
        if (into.len() - before) as u64 == self.size {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// An unpacked archive on its way.
pub(super) trait Plain: Read + Seek {
    /// Reads what is left, so that a packed stream that broke off, or is not what its own checksum says, is refused;
    /// gives the length of all of it.
    fn finish(self) -> io::Result<u64>;
}

/// Passes by all files of an archive, in its order; an error of `look` ends it.
///
/// Everything that an archive must be is seen to here, but for files of `crane/data` that are there twice: who looks
/// must see to that.
pub(super) fn walk<E: From<ArchiveError>>(
    plain: impl Plain,
    revision: &str,
    limits: Limits,
    mut look: impl FnMut(File<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let unpack = |error| E::from(ArchiveError::Unpack(error));
    let mut tar = tar::Archive::new(plain);
    let (mut files, mut left) = (0, limits.unpacked);
    let mut said: Option<Vec<u8>> = None;
    for entry in tar.entries_with_seek().map_err(unpack)? {
        let mut entry = entry.map_err(unpack)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(ArchiveError::Kind(shown(&path)).into());
        }
        if !is_ours(&path) {
            return Err(ArchiveError::Path(shown(&path)).into());
        }
        if files == limits.files {
            return Err(ArchiveError::TooMany(limits.files).into());
        }
        files += 1;
        // What a header says is believed only as far as it is allowed.
        let size = entry.size();
        left = left.checked_sub(size).ok_or(ArchiveError::TooLong(limits.unpacked))?;
        let mut file = File { path: &path, size, content: &mut entry };
        if path != tree::REVISION {
            look(file)?;
        } else if said.is_some() {
            return Err(ArchiveError::Twice(path).into());
        } else {
            file.read(said.insert(Vec::new())).map_err(unpack)?;
        }
    }
    if tar.into_inner().finish().map_err(unpack)? > limits.unpacked {
        return Err(ArchiveError::TooLong(limits.unpacked).into());
    }
    if said.is_none_or(|said| said.trim_ascii() != revision.as_bytes()) {
        return Err(ArchiveError::Revision.into());
    }
    Ok(())
}

/// Whether a metadata tree has such a path: plain parts below the folder of documents, or the revision.
fn is_ours(path: &str) -> bool {
    let Some(rest) = path.strip_prefix(tree::DATA).and_then(|rest| rest.strip_prefix('/')) else {
        return path == tree::REVISION;
    };
    rest.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control))
}

/// Whether a file is a document. As in Crane, every `.json` file is one, but for those below folders whose name begins
/// with `_` or `.`.
pub(super) fn is_document(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    name.ends_with(".json") && !name.starts_with('.') && !parts.any(|folder| folder.starts_with(['_', '.']))
}

/// As much of a name as a log takes.
fn shown(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
pub(super) mod tests;
