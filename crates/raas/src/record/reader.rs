//! Reading many files of one commit: one listing and one process, whatever their number.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::{CommitId, Record};
use crate::failure::Failure;
use crate::git::Objects;

/// The files of a commit below a folder.
pub(crate) struct Reader<'a> {
    /// Path to the id of the content.
    files: BTreeMap<String, String>,
    objects: RefCell<Objects<'a>>,
}

impl Record {
    /// Begins to read files of a commit below a folder, or all with an empty one.
    pub(crate) fn reader(&self, commit: &CommitId, folder: &str) -> Result<Reader<'_>, Failure> {
        let files = self.files(commit, folder)?.into_iter().map(|file| (file.path, file.object)).collect();
        Ok(Reader { files, objects: RefCell::new(self.git.objects()?) })
    }
}

impl Reader<'_> {
    /// The paths that begin so, in order.
    pub(crate) fn paths<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = &'s str> {
        let from = self.files.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map(|(path, _)| path.as_str()).take_while(move |path| path.starts_with(prefix))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// A file's content; `None` if the commit has no such file.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        match self.files.get(path) {
            Some(object) => Ok(Some(self.objects.borrow_mut().read(object)?)),
            None => Ok(None),
        }
    }
}
