//! Reading many files of one commit: one listing and one process, whatever their number.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use raas_base::failure::Failure;

use crate::objects::Objects;
use crate::repository::{CommitId, Repository};

/// The files of a commit below a folder.
pub struct Reader<'a> {
    /// Path to the id of the content.
    files: BTreeMap<String, String>,
    objects: RefCell<Objects<'a>>,
}

impl Repository {
    /// Begins to read files of a commit below a folder, or all with an empty one.
    pub fn reader(&self, commit: &CommitId, folder: &str) -> Result<Reader<'_>, Failure> {
        let files = self.files(commit, folder)?.into_iter().map(|file| (file.path, file.object)).collect();
        Ok(Reader { files, objects: RefCell::new(Objects::begin(self.git())?) })
    }
}

impl Reader<'_> {
    /// The paths that begin so, in order.
    pub fn paths<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = &'s str> {
        let from = self.files.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map(|(path, _)| path.as_str()).take_while(move |path| path.starts_with(prefix))
    }

    /// Whether the commit has this file.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// A file's content; `None` if the commit has no such file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        match self.files.get(path) {
            Some(object) => Ok(Some(self.objects.borrow_mut().read(object)?)),
            None => Ok(None),
        }
    }
}
