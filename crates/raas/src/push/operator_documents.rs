//! Publishing the operator's documents in a vendor's registry.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::RepositoryName;
use raas_types::crane::{Content, tree};

use raas_base::failure::{Failure, Kind};
use raas_git::Reader;
use raas_publish::home::Vendor;
use raas_publish::publication::Publication;
use raas_sources::federation::Sources;

/// The operator's documents that a push publishes.
#[derive(Debug, Default)]
pub(crate) struct OperatorDocuments {
    /// Whether the push removes the operator's other documents from the record. It does so only if the configuration
    /// has a source of documents: otherwise their absence says nothing.
    removes_others: bool,
    names: BTreeSet<RepositoryName>,
    files: BTreeMap<String, Vec<u8>>,
    /// The vendor's image that the push publishes.
    image: Option<RepositoryName>,
}

/// Files of the record by path. `None` removes a file.
type Files = BTreeMap<String, Option<Vec<u8>>>;

impl OperatorDocuments {
    /// Decides which documents are published, before anything is stored.
    pub(crate) fn plan(sources: &Sources, vendor: &Vendor, image: &RepositoryName) -> Result<Self, Failure> {
        let mut planned =
            Self { removes_others: sources.configured, image: Some(image.clone()), ..Self::default() };
        let mut origins: BTreeMap<String, &str> = BTreeMap::new();
        for source in &sources.documents {
            let document = &source.document;
            let name = &document.name;
            // Servers cannot redirect to such a document's URL. Its layers are masked nevertheless.
            if !document.url.starts_with("https://") && !document.url.starts_with("http://") {
                continue;
            }
            let path = match &document.content {
                Content::V1(_) => tree::operators_v1_document(name),
                Content::V2(_) => tree::operators_document(name),
            };
            name.check_publishable()?;
            if let Some(first) = origins.insert(path.clone(), &source.origin) {
                let message = format!("{name} is in both {first} and {}", source.origin);
                return Err(Failure::new(Kind::Usage, message)
                    .hint("remove the repository from one of the two sources in [redhat] of raas.cfg"));
            }
            planned.names.insert(name.clone());
            planned.files.insert(path, document.to_bytes());
            for (digest, bytes) in &source.manifests {
                planned.files.insert(tree::manifest(name, digest), bytes.clone());
            }
        }
        let record = vendor.record();
        let head = if vendor.exists()? { record.head()? } else { None };
        match head {
            Some(head) => drop(planned.check(&record.reader(&head)?)?),
            None => planned.check_image(&[])?,
        }
        Ok(planned)
    }

    /// The files of the record that the publication changes.
    pub(crate) fn changes(&self, publication: &Publication<'_>) -> Result<Files, Failure> {
        let Some(head) = &publication.head else {
            self.check_image(&[])?;
            return Ok(self.new_files());
        };
        let reader = publication.record.reader(head)?;
        // Another push may have published since the plan.
        let published = self.check(&reader)?;
        let mut files = Files::new();
        if self.removes_others {
            files.extend(reader.paths(tree::OPERATOR)?.into_iter().map(|path| (path, None)));
            for name in published {
                files.extend(reader.paths(&tree::manifests(&name))?.into_iter().map(|path| (path, None)));
            }
        }
        files.extend(self.new_files());
        Ok(files)
    }

    fn new_files(&self) -> Files {
        self.files.iter().map(|(path, bytes)| (path.clone(), Some(bytes.clone()))).collect()
    }

    /// Rejects names that both the vendor and the operator publish. Returns the repositories that the operator
    /// publishes now.
    fn check(&self, reader: &Reader<'_>) -> Result<Vec<RepositoryName>, Failure> {
        let published: Vec<RepositoryName> =
            reader.paths(tree::OPERATOR)?.iter().filter_map(|path| name_of(path)).collect();
        self.check_image(&published)?;
        for name in &self.names {
            if reader.has(&tree::document(name))? || reader.has(&tree::v1_document(name))? {
                return Err(taken(name));
            }
        }
        Ok(published)
    }

    fn check_image(&self, published: &[RepositoryName]) -> Result<(), Failure> {
        let Some(image) = &self.image else { return Ok(()) };
        // With `removes_others`, this commit removes the operator's other documents, so they cannot conflict.
        let remains = !self.removes_others && published.contains(image);
        if self.names.contains(image) || remains { Err(taken(image)) } else { Ok(()) }
    }
}

/// The repository of an operator's document with this path.
fn name_of(path: &str) -> Option<RepositoryName> {
    let name = path.strip_prefix(tree::OPERATOR)?.strip_suffix(".json")?;
    name.strip_suffix("/_v1").unwrap_or(name).parse().ok()
}

fn taken(name: &RepositoryName) -> Failure {
    Failure::new(Kind::Refused, format!("both the operator and the vendor publish {name}"))
        .hint("publish the vendor's image under another name, or remove it with `raas unpublish`; nothing was stored")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_document_gives_its_repository() {
        let name: RepositoryName = "a/b".parse().unwrap();
        for path in [tree::operators_document(&name), tree::operators_v1_document(&name)] {
            assert_eq!(name_of(&path), Some(name.clone()), "{path}");
        }
        assert_eq!(name_of("crane/data/a.json"), None);
    }
}
