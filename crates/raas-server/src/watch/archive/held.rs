//! Files of an archive that are held in memory.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use raas_types::Digest;

use super::{Ahead, ArchiveError, File, Limits, is_document, shown, walk};
use crate::catalog::Files;

/// Files of an archive, by path.
#[derive(Default)]
pub(in crate::watch) struct Held {
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

impl Held {
    /// Unpacks those files of an archive of this revision that are wanted, by their paths. Nothing is written anywhere.
    pub(in crate::watch) fn unpack(
        packed: &[u8],
        revision: &str,
        limits: Limits,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Self, ArchiveError> {
        let mut held = Self::default();
        std::thread::scope(|scope| {
            walk(Ahead::unpack(scope, packed, limits), revision, limits, |file| {
                if is_wanted(file.path) { held.add(file) } else { Ok(()) }
            })
        })?;
        let Self { paths, files, .. } = &mut held;
        files.sort_unstable_by(|a, b| paths[a.path.clone()].cmp(&paths[b.path.clone()]));
        let twice = files.windows(2).find(|pair| paths[pair[0].path.clone()] == paths[pair[1].path.clone()]);
        if let Some(pair) = twice {
            return Err(ArchiveError::Twice(shown(&paths[pair[0].path.clone()])));
        }
        Ok(held)
    }

    /// Holds a file that is being passed by. Its path must come after those of all others.
    pub(in crate::watch) fn add(&mut self, mut file: File<'_>) -> Result<(), ArchiveError> {
        let begin = self.bytes.len();
        file.read(&mut self.bytes)?;
        self.note(file.path, begin);
        Ok(())
    }

    /// The same with bytes that are here already.
    pub(in crate::watch) fn add_bytes(&mut self, path: &str, bytes: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.note(path, begin);
    }

    fn note(&mut self, path: &str, begin: usize) {
        let at = self.paths.len();
        self.paths.push_str(path);
        self.files.push(Member { path: at..self.paths.len(), bytes: begin..self.bytes.len() });
    }

    fn path(&self, member: &Member) -> &str {
        &self.paths[member.path.clone()]
    }

    /// Every document, with its digest, in the order of their paths.
    pub(in crate::watch) fn documents(&self) -> Vec<(String, Digest)> {
        let documents = self.files.iter().filter(|member| is_document(self.path(member)));
        let known =
            |member: &Member| (self.path(member).to_owned(), Digest::of(&self.bytes[member.bytes.clone()]));
        documents.map(known).collect()
    }

    /// A file's bytes.
    pub(in crate::watch) fn file(&self, path: &str) -> io::Result<&[u8]> {
        let at = self.files.binary_search_by(|member| self.path(member).cmp(path));
        let member = &self.files[at.map_err(|_| io::ErrorKind::NotFound)?];
        Ok(&self.bytes[member.bytes.clone()])
    }
}

impl Files for Held {
    fn read(&self, path: &str, limit: u64) -> io::Result<Cow<'_, [u8]>> {
        let bytes = self.file(path)?;
        Ok(bytes[..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX))].into())
    }
}
