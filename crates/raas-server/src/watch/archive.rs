//! Reading an archive of metadata: bytes that come from a bucket, and that anybody who can write there can choose.

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

use flate2::read::GzDecoder;
use raas_types::Digest;
use raas_types::crane::tree;

use crate::catalog::Files;

/// The files of an archive, by path.
pub(super) struct Archive {
    /// All files, one after the other: one piece of memory, which is given back as one when they are read. Many small
    /// ones would leave holes between what stays.
    bytes: Vec<u8>,
    /// Their paths, likewise.
    paths: String,
    /// Where each of them is, by path.
    files: Vec<Member>,
}

/// Where a file's path and bytes are.
struct Member {
    path: Range<usize>,
    bytes: Range<usize>,
}

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

impl Archive {
    /// Unpacks an archive of this revision into memory. Nothing is written anywhere.
    pub(super) fn unpack(packed: &[u8], revision: &str, limits: Limits) -> Result<Self, ArchiveError> {
        // One byte more than is allowed tells that there is more.
        let plain = GzDecoder::new(packed).take(limits.unpacked + 1);
        let mut tar = tar::Archive::new(plain);
        let (mut bytes, mut paths, mut files) = (Vec::new(), String::new(), Vec::new());
        let mut left = limits.unpacked;
        for entry in tar.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.header().entry_type() != tar::EntryType::Regular {
                return Err(ArchiveError::Kind(shown(&path)));
            }
            if !is_ours(&path) {
                return Err(ArchiveError::Path(shown(&path)));
            }
            if files.len() == limits.files {
                return Err(ArchiveError::TooMany(limits.files));
            }
            // What a header says is believed only as far as it is allowed.
            let size = entry.size();
            left = left.checked_sub(size).ok_or(ArchiveError::TooLong(limits.unpacked))?;
            let begin = bytes.len();
            entry.read_to_end(&mut bytes)?;
            if (bytes.len() - begin) as u64 != size {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let name = paths.len()..paths.len() + path.len();
            paths.push_str(&path);
            files.push(Member { path: name, bytes: begin..bytes.len() });
        }
        // The rest, so that a packed stream that broke off, or is not what its own checksum says, is refused.
        let mut plain = tar.into_inner();
        io::copy(&mut plain, &mut io::sink())?;
        if plain.limit() == 0 {
            return Err(ArchiveError::TooLong(limits.unpacked));
        }
        files.sort_unstable_by(|a, b| paths[a.path.clone()].cmp(&paths[b.path.clone()]));
        let twice = files.windows(2).find(|pair| paths[pair[0].path.clone()] == paths[pair[1].path.clone()]);
        if let Some(pair) = twice {
            return Err(ArchiveError::Twice(shown(&paths[pair[0].path.clone()])));
        }
        let mut archive = Self { bytes, paths, files };
        if archive.file(tree::REVISION).is_ok_and(|said| said.trim_ascii() == revision.as_bytes()) {
            let paths = &archive.paths;
            archive.files.retain(|member| &paths[member.path.clone()] != tree::REVISION);
            return Ok(archive);
        }
        Err(ArchiveError::Revision)
    }

    fn path(&self, member: &Member) -> &str {
        &self.paths[member.path.clone()]
    }

    /// Every document, with its digest, in the order of their paths. As in Crane, every `.json` file is one, but
    /// for those below folders whose name begins with `_` or `.`.
    pub(super) fn documents(&self) -> Vec<(String, Digest)> {
        let documents = self.files.iter().filter(|member| is_document(self.path(member)));
        let known =
            |member: &Member| (self.path(member).to_owned(), Digest::of(&self.bytes[member.bytes.clone()]));
        documents.map(known).collect()
    }

    /// A file's bytes.
    pub(super) fn file(&self, path: &str) -> io::Result<&[u8]> {
        let at = self.files.binary_search_by(|member| self.path(member).cmp(path));
        let member = &self.files[at.map_err(|_| io::ErrorKind::NotFound)?];
        Ok(&self.bytes[member.bytes.clone()])
    }
}

impl Files for Archive {
    fn read(&self, path: &str, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        let bytes = self.file(path)?;
        Ok(bytes[..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX))].into())
    }
}

/// Whether a metadata tree has such a path: plain parts below the folder of documents, or the revision.
fn is_ours(path: &str) -> bool {
    let Some(rest) = path.strip_prefix(tree::DATA).and_then(|rest| rest.strip_prefix('/')) else {
        return path == tree::REVISION;
    };
    rest.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control))
}

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
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, EntryType, Header};

    use super::*;

    const REVISION: &str = "0123abc";

    /// A tar with these members, and its revision first.
    fn tar(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (path, kind, bytes) in
            [("revision", EntryType::Regular, REVISION.as_bytes())].iter().chain(members)
        {
            let mut header = Header::new_gnu();
            // As bytes, since the library refuses names that are no good.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn unpack(packed: &[u8]) -> Result<Archive, ArchiveError> {
        Archive::unpack(packed, REVISION, Limits { unpacked: 64 * 1024, files: 4 })
    }

    #[test]
    fn documents_and_what_lies_beside_them_are_found() {
        let file = EntryType::Regular;
        let archive = unpack(&pack(&tar(&[
            ("crane/data/app.json", file, b"one"),
            ("crane/data/app/_v1.json", file, b"two"),
            ("crane/data/app/_manifests/sha256/ab.json", file, b"three"),
        ])))
        .unwrap();
        let paths: Vec<String> = archive.documents().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["crane/data/app.json", "crane/data/app/_v1.json"]);
        assert_eq!(archive.read("crane/data/app.json", 2).unwrap().as_ref(), b"on");
        assert!(archive.read("revision", 9).is_err());
    }

    #[test]
    fn what_an_archive_may_not_hold_refuses_all_of_it() {
        let (file, data) = (EntryType::Regular, "crane/data/a.json");
        let long = vec![0; 70_000];
        let table: Vec<(Vec<u8>, &str)> = vec![
            (tar(&[("crane/data/../../etc/x.json", file, b"")]), "neither"),
            (tar(&[("/etc/passwd", file, b"")]), "neither"),
            (tar(&[("crane/data//x.json", file, b"")]), "neither"),
            (tar(&[("crane/dataset/x.json", file, b"")]), "neither"),
            (tar(&[("other", file, b"")]), "neither"),
            (tar(&[(data, EntryType::Symlink, b"")]), "not a regular file"),
            (tar(&[(data, EntryType::Link, b"")]), "not a regular file"),
            (tar(&[("crane/data/a", EntryType::Directory, b"")]), "not a regular file"),
            (tar(&[(data, EntryType::Fifo, b"")]), "not a regular file"),
            (tar(&[(data, file, b""), (data, file, b"")]), "twice"),
            (tar(&[(data, file, &long)]), "more than 65536 bytes"),
            (
                tar(&[
                    ("crane/data/1", file, b""),
                    ("crane/data/2", file, b""),
                    ("crane/data/3", file, b""),
                    ("crane/data/4", file, b""),
                ]),
                "more than 4 files",
            ),
            ([tar(&[]), vec![0; 100_000]].concat(), "more than 65536 bytes"),
            (tar(&[("revision", file, b"other")]), "twice"),
            (b"no tar".to_vec(), "unpacked"),
            (Vec::new(), "not the pointer's"),
            (tar(&[(data, file, b"12345")])[..1030].to_vec(), "unpacked"),
        ];
        for (tar, reason) in table {
            let error = unpack(&pack(&tar)).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(reason), "{reason}: {error}");
        }
        assert!(unpack(b"no gzip").is_err());
        let whole = pack(&tar(&[(data, file, b"12345")]));
        assert!(unpack(&whole[..whole.len() - 4]).is_err(), "its checksum is missing");
        let other = Archive::unpack(&whole, "other", Limits::default());
        assert!(matches!(other, Err(ArchiveError::Revision)));
    }
}
