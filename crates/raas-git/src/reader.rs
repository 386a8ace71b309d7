//! Reads files of one commit. Only the folders on the way to a file are read, and each of them once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use raas_base::failure::Failure;

use crate::error::GitError;
use crate::listing;
use crate::object::{EntryKind, tree_entries};
use crate::repository::{CommitId, Repository};

/// The files of a commit.
#[derive(Debug)]
pub struct Reader<'a> {
    repository: &'a Repository,
    /// The commit's tree.
    root: String,
    /// The folders that were looked into, by path. The root's path is empty.
    folders: RefCell<HashMap<String, Rc<Folder>>>,
}

/// The entries of a folder by name, each with its id.
type Folder = HashMap<String, (EntryKind, String)>;

impl Repository {
    /// A reader of the files of a commit.
    ///
    /// # Errors
    /// git fails, or the commit is damaged.
    pub fn reader(&self, commit: &CommitId) -> Result<Reader<'_>, Failure> {
        Ok(Reader { repository: self, root: self.tree_of(commit)?, folders: RefCell::default() })
    }
}

impl Reader<'_> {
    /// The paths below a folder, in order.
    ///
    /// # Errors
    /// git fails, or a path of the commit is not safe.
    pub fn paths(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let files = listing::files(self.repository.objects(), &self.root, folder)?;
        Ok(files.into_iter().map(|file| file.path).collect())
    }

    /// Whether the commit has this file.
    pub fn has(&self, path: &str) -> Result<bool, Failure> {
        Ok(self.file(path)?.is_some())
    }

    /// A file's content; `None` if the commit has no such file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let content = self.file(path)?.map(|id| self.repository.objects().blob_of_many(&id));
        Ok(content.transpose()?)
    }

    /// The id of a file's content.
    fn file(&self, path: &str) -> Result<Option<String>, GitError> {
        let found = self.entry(path)?;
        Ok(found.filter(|(kind, _)| *kind != EntryKind::Folder).map(|(_, id)| id))
    }

    fn entry(&self, path: &str) -> Result<Option<(EntryKind, String)>, GitError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(self.folder(folder)?.get(name).cloned())
    }

    /// The entries of a folder; none if there is no such folder.
    fn folder(&self, path: &str) -> Result<Rc<Folder>, GitError> {
        if let Some(folder) = self.folders.borrow().get(path) {
            return Ok(Rc::clone(folder));
        }
        let id = match path {
            "" => Some(self.root.clone()),
            _ => self.entry(path)?.filter(|(kind, _)| *kind == EntryKind::Folder).map(|(_, id)| id),
        };
        let folder = Rc::new(id.map(|id| self.read_folder(&id)).transpose()?.unwrap_or_default());
        self.folders.borrow_mut().insert(path.to_owned(), Rc::clone(&folder));
        Ok(folder)
    }

    fn read_folder(&self, id: &str) -> Result<Folder, GitError> {
        let objects = self.repository.objects();
        let bytes = objects.tree(id)?;
        let entries = tree_entries(&bytes, id.len()).map_err(|why| objects.damaged(id, why))?;
        Ok(entries.iter().map(|entry| (entry.name.to_owned(), (entry.kind, entry.id()))).collect())
    }
}
