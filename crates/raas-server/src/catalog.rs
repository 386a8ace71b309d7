//! What a site publishes, in memory. A catalog is immutable: the watcher builds the next one beside it and swaps them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use raas_types::{ImageId, RepositoryName, Utc};

mod budget;
mod customers;
mod details;
mod facts;
mod legacy;
mod load;
mod manifest;
mod pool;
mod repository;
mod tag_notes;
mod v1;
mod view;

pub(crate) use budget::{MemoryBudget, MemoryCharge, OverBudget};
pub(crate) use customers::{Customers, FoundSecret, ServedCustomer};
pub(crate) use details::Details;
pub(crate) use facts::{Child, Facts};
pub(crate) use legacy::{AcceptedSchemas, LegacyRepository};
pub(crate) use load::{Fault, LoadedDocument, Loader, MetadataFiles, load, load_as_crane};
pub(crate) use manifest::{Manifest, Referrer, digest_header, digest_headers};
pub(crate) use pool::ManifestPool;
pub(crate) use repository::{Blob, Repository};
pub(crate) use tag_notes::{EVENTS, Event, EventKind, TagNotes};
pub(crate) use v1::{V1Image, V1Repository, V1Source};
pub(crate) use view::RepositoryKind;

/// The repositories of a site.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// The commit of the metadata. Empty if the folder has no `revision` file.
    pub(crate) revision: Bytes,
    /// The time of the publication, if it is known.
    pub(crate) published: Option<Utc>,
    /// The repositories of the v2 API.
    pub(crate) repositories: BTreeMap<RepositoryName, Arc<Repository>>,
    /// The repositories of the v2 API from documents that raas did not write, such as Pulp's.
    pub(crate) legacy: BTreeMap<RepositoryName, Arc<LegacyRepository>>,
    /// The repositories of the v1 API.
    pub(crate) v1: BTreeMap<RepositoryName, Arc<V1Repository>>,
    /// For every v1 image the repository that serves it.
    images: BTreeMap<ImageId, Arc<V1Repository>>,
    /// Whether a repository has atomic signatures.
    is_signed: bool,
    /// The catalog with the protected repositories. None if no repository is protected.
    whole: Option<Arc<Catalog>>,
    /// The customers of the site.
    pub(crate) customers: Arc<Customers>,
}

/// A document that is not served because another document has the same name.
#[derive(Debug)]
pub(crate) struct NameConflict<K> {
    /// The key of the document that is not served.
    pub(crate) document: K,
    /// The name that both documents have.
    pub(crate) name: RepositoryName,
}

impl Catalog {
    /// Builds a catalog from documents. Of two documents with the same name and kind the first is served, and the other
    /// one is returned. A repository is protected if any of its documents says so.
    pub(crate) fn new<'a, K: Copy>(
        revision: Bytes,
        published: Option<Utc>,
        documents: impl Iterator<Item = (K, &'a LoadedDocument)> + Clone,
    ) -> (Self, Vec<NameConflict<K>>) {
        let hidden: BTreeSet<&RepositoryName> = documents
            .clone()
            .filter(|(_, loaded)| matches!(loaded, LoadedDocument::Protected(..)))
            .filter_map(|(_, loaded)| loaded.name())
            .collect();
        let mut catalog = Self { revision, published, ..Self::default() };
        let is_hidden = |loaded: &LoadedDocument| loaded.name().is_some_and(|name| hidden.contains(name));
        let public = documents.clone().filter(|(_, loaded)| !is_hidden(loaded));
        let mut conflicts = catalog.add_all(public);
        if !hidden.is_empty() {
            let mut whole = Self { revision: catalog.revision.clone(), published, ..Self::default() };
            let visible = documents.filter_map(|(document, loaded)| match loaded {
                LoadedDocument::Protected(_, loaded) => Some((document, loaded.as_deref()?)),
                loaded => Some((document, loaded)),
            });
            conflicts = whole.add_all(visible);
            catalog.whole = Some(Arc::new(whole));
        }
        (catalog, conflicts)
    }

    fn add_all<'a, K: Copy>(
        &mut self,
        documents: impl Iterator<Item = (K, &'a LoadedDocument)>,
    ) -> Vec<NameConflict<K>> {
        let mut conflicts = Vec::new();
        for (document, loaded) in documents {
            let Some(name) = loaded.name() else { continue };
            let taken = match loaded {
                LoadedDocument::V2(repository) => !insert(&mut self.repositories, name, repository),
                LoadedDocument::V1(repository) => !insert(&mut self.v1, name, repository),
                LoadedDocument::Legacy(repository) => !insert(&mut self.legacy, name, repository),
                LoadedDocument::Protected(..) | LoadedDocument::Customer(_) => false,
            };
            if taken {
                conflicts.push(NameConflict { document, name: name.clone() });
            }
        }
        // A document of raas knows more about a repository than another one does.
        self.legacy.retain(|name, _| !self.repositories.contains_key(name));
        self.is_signed = self.repositories.values().any(|repository| repository.is_signed());
        self.index_images();
        conflicts
    }

    /// Whether a repository has atomic signatures, a protected one too. Then clients are told to ask for them.
    pub(crate) fn is_signed(&self) -> bool {
        self.whole().is_signed
    }

    /// The number of repositories, with the protected ones.
    pub(crate) fn repository_count(&self) -> usize {
        let whole = self.whole();
        whole.repositories.len() + whole.legacy.len() + whole.v1.len()
    }

    /// The catalog that users see.
    pub(crate) fn whole(&self) -> &Self {
        self.whole.as_deref().unwrap_or(self)
    }

    /// Whether a repository is protected. `self` is the public catalog.
    pub(crate) fn is_protected(&self, repository: &RepositoryName) -> bool {
        self.whole.is_some()
            && !self.repositories.contains_key(repository)
            && !self.legacy.contains_key(repository)
            && !self.v1.contains_key(repository)
    }

    /// Decides which repository serves a v1 image. Requests name only the image's id, and several repositories may have
    /// it. A repository whose bucket has the image comes before one that has only its location. The first by name wins.
    fn index_images(&mut self) {
        for repository in self.v1.values() {
            for (id, image) in repository.images() {
                let better = self
                    .images
                    .get(id)
                    .and_then(|other| other.image(id))
                    .is_none_or(|other| image.source.rank() < other.source.rank());
                if better {
                    self.images.insert(*id, Arc::clone(repository));
                }
            }
        }
    }

    /// The names of the v2 repositories after `last`, in order.
    pub(crate) fn names_after(&self, last: Option<&str>) -> impl Iterator<Item = &str> {
        let after = (last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut known = self.repositories.range::<str, _>(after).map(|(name, _)| name.as_str()).peekable();
        let mut legacy = self.legacy.range::<str, _>(after).map(|(name, _)| name.as_str()).peekable();
        std::iter::from_fn(move || match (known.peek(), legacy.peek()) {
            (Some(a), Some(b)) if b < a => legacy.next(),
            (Some(_), _) => known.next(),
            (None, _) => legacy.next(),
        })
    }

    /// The repository of a document that raas did not write. `library/` is handled as in
    /// [`repository`](Self::repository).
    pub(crate) fn legacy(&self, name: &str) -> Option<&LegacyRepository> {
        let found = self.legacy.get(name);
        found.or_else(|| self.legacy.get(name.strip_prefix("library/")?)).map(AsRef::as_ref)
    }

    /// The repository with that name. As in Crane, `library/NAME` also finds `NAME`.
    pub(crate) fn repository(&self, name: &str) -> Option<&Arc<Repository>> {
        let found = self.repositories.get(name);
        found.or_else(|| self.repositories.get(name.strip_prefix("library/")?))
    }

    /// The v1 image with this id, and the repository that serves it.
    pub(crate) fn v1_image(&self, id: &ImageId) -> Option<(&V1Repository, &V1Image)> {
        let repository = self.images.get(id)?;
        Some((repository, repository.image(id)?))
    }
}

fn insert<T>(map: &mut BTreeMap<RepositoryName, Arc<T>>, name: &RepositoryName, value: &Arc<T>) -> bool {
    let vacant = !map.contains_key(name);
    if vacant {
        map.insert(name.clone(), Arc::clone(value));
    }
    vacant
}
