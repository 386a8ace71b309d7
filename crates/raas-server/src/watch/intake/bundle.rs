//! Documents, and the files that it takes to load them.

use raas_types::crane::{Document, tree};
use raas_types::{Digest, RepositoryName};

use super::super::archive::Held;
use super::super::shelf::{Loaded, Shelf};
use super::loaders::Again;
use crate::catalog::{files_of, load_document};

/// Documents of one repository that are not as before, and what lies in the folder of its manifests.
#[derive(Default)]
pub(super) struct Bundle {
    folder: String,
    documents: Vec<(String, Digest)>,
    pub(super) held: Held,
}

impl Bundle {
    pub(super) fn new(folder: String) -> Self {
        Self { folder, ..Self::default() }
    }

    pub(super) fn add_document(&mut self, path: &str, digest: Digest, bytes: &[u8]) {
        self.held.add_bytes(path, bytes);
        self.documents.push((path.to_owned(), digest));
    }

    /// Loads the documents; tells of each what came of it.
    pub(super) fn load(self, shelf: &Shelf<Digest>, mut tell: impl FnMut(Result<Loaded<Digest>, Again>)) {
        for (path, digest) in self.documents {
            let read = self.held.file(&path).map_err(Into::into);
            let parsed = read.and_then(|bytes| Document::parse(bytes).map_err(Into::into));
            let folder = parsed.as_ref().ok().and_then(files_of);
            tell(match folder.filter(|folder| *folder != self.folder) {
                Some(folder) => Err(Again { path, digest, folder }),
                None => {
                    let before = shelf.good(&path);
                    let result = parsed.and_then(|document| load_document(&self.held, document, before));
                    Ok(Loaded { path, stamp: digest, result })
                }
            });
        }
    }
}

/// The folder that has the files of a document, if it lies where its name says. A document that takes none has a place
/// in which there is nothing.
pub(super) fn folder_of(document: &str) -> String {
    let name = document.strip_prefix(tree::OPERATOR);
    let name = name.or_else(|| document.strip_prefix(tree::DATA)?.strip_prefix('/'));
    let name = name.and_then(|name| name.strip_suffix(".json")?.parse::<RepositoryName>().ok());
    name.map_or_else(|| format!("{document}/"), |name| tree::manifests(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_documents_files_are_known_by_where_it_lies() {
        let table = [
            ("crane/data/app.json", "crane/data/app/_manifests/sha256/"),
            ("crane/data/team/app.json", "crane/data/team/app/_manifests/sha256/"),
            ("crane/data/+operator/team/app.json", "crane/data/team/app/_manifests/sha256/"),
            ("crane/data/app/_v1.json", "crane/data/app/_v1.json/"),
            ("crane/data/App.json", "crane/data/App.json/"),
        ];
        for (document, folder) in table {
            assert_eq!(folder_of(document), folder);
        }
    }
}
