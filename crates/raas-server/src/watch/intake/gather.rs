//! Gathering documents with their files while an archive is passed by.

use std::collections::BTreeMap;

use raas_types::Digest;

use super::super::archive::{ArchiveError, File, is_document};
use super::super::shelf::{Found, Shelf};
use super::bundle::{Bundle, folder_of};
use super::loaders::{Again, Loaders};

/// Why a pass ends before the archive does.
pub(super) enum Stop {
    /// The archive is not in the order of its paths.
    Order,
    Refused(ArchiveError),
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Stop::Refused(error)
    }
}

/// Gathers what it takes to load the documents that are not as before.
pub(super) struct Gatherer<'scope, 'env> {
    shelf: &'env Shelf<Digest>,
    loaders: Loaders<'scope, 'env>,
    /// The path before.
    last: String,
    /// What is not whole yet, by the folder whose files it waits for. In the order of paths all of them are still to
    /// come, but for those of the first.
    open: BTreeMap<String, Bundle>,
    same: Vec<String>,
    /// For a document's bytes.
    bytes: Vec<u8>,
}

impl<'scope, 'env> Gatherer<'scope, 'env> {
    pub(super) fn new(shelf: &'env Shelf<Digest>, loaders: Loaders<'scope, 'env>) -> Self {
        let (last, open, same, bytes) = Default::default();
        Self { shelf, loaders, last, open, same, bytes }
    }

    /// Takes of a file what is needed.
    pub(super) fn pass(&mut self, mut file: File<'_>) -> Result<(), Stop> {
        // So none is there twice either.
        if file.path <= self.last.as_str() {
            return Err(Stop::Order);
        }
        self.last.clear();
        self.last.push_str(file.path);
        while let Some(first) = self.open.first_entry()
            && first.key().as_str() < file.path
            && !file.path.starts_with(first.key())
        {
            self.loaders.load(first.remove());
        }
        if is_document(file.path) {
            self.bytes.clear();
            file.read(&mut self.bytes).map_err(ArchiveError::from)?;
            self.take_document(file.path);
        } else if let Some(mut first) = self.open.first_entry()
            && file.path.starts_with(first.key())
        {
            first.get_mut().held.add(file)?;
        }
        Ok(())
    }

    fn take_document(&mut self, path: &str) {
        let digest = Digest::of(&self.bytes);
        if self.shelf.is_same(path, &digest) {
            self.same.push(path.to_owned());
        } else {
            let folder = folder_of(path);
            let bundle = self.open.entry(folder).or_insert_with_key(|folder| Bundle::new(folder.clone()));
            bundle.add_document(path, digest, &self.bytes);
        }
    }

    /// At the archive's end: all documents, and those that take files from elsewhere than where they lie.
    pub(super) fn finish(mut self) -> (Found<Digest>, Vec<Again>) {
        for (_, bundle) in self.open {
            self.loaders.load(bundle);
        }
        let (loaded, again) = self.loaders.finish();
        (Found { same: self.same, loaded }, again)
    }
}
