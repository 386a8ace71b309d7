//! Reads many files of one commit: one listing and one process for any number of files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use raas_base::failure::Failure;

use crate::objects::ObjectReader;
use crate::repository::{CommitId, Repository};

/// The files of a commit below a folder.
pub struct Reader<'a> {
    /// The id of the content of each path.
    files: BTreeMap<String, String>,
    objects: RefCell<ObjectReader<'a>>,
}

impl Repository {
    /// A reader of the files of a commit below a folder, or of all files if the folder is empty.
    ///
    /// # Errors
    /// git fails, or a path of the commit is not safe.
    pub fn reader(&self, commit: &CommitId, folder: &str) -> Result<Reader<'_>, Failure> {
        let files = self.files(commit, folder)?.into_iter().map(|file| (file.path, file.object)).collect();
        Ok(Reader { files, objects: RefCell::new(ObjectReader::begin(self.git())?) })
    }
}

impl Reader<'_> {
    /// The paths with this prefix, in order.
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
