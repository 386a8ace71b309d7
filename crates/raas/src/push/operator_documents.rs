//! The operator's documents in a vendor's registry.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::RepositoryName;
use raas_types::crane::{Content, tree};

use raas_base::failure::{Failure, Kind};
use raas_git::Reader;
use raas_publish::home::Vendor;
use raas_publish::publication::Publication;
use raas_sources::federation::Sources;

/// The operator's documents as they are to be published.
#[derive(Debug, Default)]
pub(crate) struct OperatorDocuments {
    /// Whether the record is to have just these; without a place of documents in the configuration it is left alone.
    mirror: bool,
    names: BTreeSet<RepositoryName>,
    files: BTreeMap<String, Vec<u8>>,
    /// The vendor's image that is published beside them.
    image: Option<RepositoryName>,
}

/// A record's files: path to content, or to nothing for one that goes.
type Files = BTreeMap<String, Option<Vec<u8>>>;

impl OperatorDocuments {
    /// Decides what is published, before anything is stored.
    pub(crate) fn plan(sources: &Sources, vendor: &Vendor, image: &RepositoryName) -> Result<Self, Failure> {
        let mut planned = Self { mirror: sources.configured, image: Some(image.clone()), ..Self::default() };
        let mut origins: BTreeMap<String, &str> = BTreeMap::new();
        for found in &sources.documents {
            let document = &found.document;
            let name = &document.name;
            // What cannot be redirected to cannot be served; its layers are masked all the same.
            if !document.url.starts_with("https://") && !document.url.starts_with("http://") {
                continue;
            }
            let path = match &document.content {
                Content::V1(_) => tree::operators_v1_document(name),
                // One without layers is served by redirects alone.
                Content::V2(_) => tree::operators_document(name),
            };
            name.check_publishable()?;
            if let Some(first) = origins.insert(path.clone(), &found.origin) {
                let message = format!("both {first} and {} publish {name}", found.origin);
                return Err(Failure::new(Kind::Usage, message).hint("each name can be published once"));
            }
            planned.names.insert(name.clone());
            planned.files.insert(path, document.to_bytes());
            for (digest, bytes) in &found.manifests {
                planned.files.insert(tree::manifest(name, digest), bytes.clone());
            }
        }
        let record = vendor.record();
        let head = if vendor.exists() { record.head()? } else { None };
        match head {
            Some(head) => drop(planned.check(&record.reader(&head, tree::DATA)?)?),
            None => planned.check_image(&[])?,
        }
        Ok(planned)
    }

    /// The files of the record that are to change.
    pub(crate) fn changes(&self, publication: &Publication<'_>) -> Result<Files, Failure> {
        let Some(head) = &publication.head else {
            self.check_image(&[])?;
            return Ok(self.new_files());
        };
        let reader = publication.record.reader(head, tree::DATA)?;
        // Another push may have come in between.
        let so_far = self.check(&reader)?;
        let mut files = Files::new();
        if self.mirror {
            files.extend(reader.paths(tree::OPERATOR).map(|path| (path.to_owned(), None)));
            for name in so_far {
                files.extend(reader.paths(&tree::manifests(&name)).map(|path| (path.to_owned(), None)));
            }
        }
        files.extend(self.new_files());
        Ok(files)
    }

    fn new_files(&self) -> Files {
        self.files.iter().map(|(path, bytes)| (path.clone(), Some(bytes.clone()))).collect()
    }

    /// Refuses names that both the vendor and the operator publish; gives those that the operator publishes so far.
    fn check(&self, reader: &Reader<'_>) -> Result<Vec<RepositoryName>, Failure> {
        let so_far: Vec<RepositoryName> = reader.paths(tree::OPERATOR).filter_map(name_of).collect();
        self.check_image(&so_far)?;
        let is_vendors = |name: &&RepositoryName| {
            reader.has(&tree::document(name)) || reader.has(&tree::v1_document(name))
        };
        match self.names.iter().find(is_vendors) {
            Some(name) => Err(taken(name)),
            None => Ok(so_far),
        }
    }

    fn check_image(&self, so_far: &[RepositoryName]) -> Result<(), Failure> {
        let Some(image) = &self.image else { return Ok(()) };
        // What the operator publishes no more goes with this very commit.
        let stays = !self.mirror && so_far.contains(image);
        if self.names.contains(image) || stays { Err(taken(image)) } else { Ok(()) }
    }
}

/// The repository of an operator's document, by its path.
fn name_of(path: &str) -> Option<RepositoryName> {
    let name = path.strip_prefix(tree::OPERATOR)?.strip_suffix(".json")?;
    name.strip_suffix("/_v1").unwrap_or(name).parse().ok()
}

fn taken(name: &RepositoryName) -> Failure {
    Failure::new(Kind::Refused, format!("{name} is published by the operator and by the vendor"))
        .hint("publish the vendor's image under another name, or take it out with `raas unpublish`; nothing was stored")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_in_the_path() {
        let name: RepositoryName = "a/b".parse().unwrap();
        for path in [tree::operators_document(&name), tree::operators_v1_document(&name)] {
            assert_eq!(name_of(&path), Some(name.clone()), "{path}");
        }
        assert_eq!(name_of("crane/data/a.json"), None);
    }
}
