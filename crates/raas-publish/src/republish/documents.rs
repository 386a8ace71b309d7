//! The documents of a repository whose content does not change, but whose tags do.

use std::collections::BTreeMap;

use raas_types::crane::{Content, Document, V1Content, V2Content, V2Extension, tree};
use raas_types::{Digest, Manifest, RepositoryName};

use super::Files;
use crate::registry::Registry;

/// A repository to publish.
pub(super) struct NewRepository<'a> {
    pub(super) name: &'a RepositoryName,
    pub(super) protected: bool,
    pub(super) v2: V2Extension,
    pub(super) v1: Option<V1Content>,
    /// The published manifests of the repository.
    pub(super) manifests: &'a BTreeMap<Digest, Manifest>,
}

impl NewRepository<'_> {
    /// The documents by path. Without Docker v1 content, the document of that content is removed.
    pub(super) fn files(self, registry: &Registry<'_>) -> Files {
        let Self { name, protected, mut v2, v1, manifests } = self;
        v2.forget_removed_tags();
        let document = |url: String, content| Document {
            repository: Document::repository_id(registry.vendor.name(), name),
            name: name.clone(),
            url,
            protected,
            content,
        };
        let amd64 = |digest: &Digest| manifests.get(digest)?.amd64_child();
        let base = format!("{}/{name}", registry.storage.base_url());
        let content = Content::V2(V2Content::new(v2, amd64));
        let v2 = document(format!("{base}/_v2/"), content).to_bytes();
        let v1 = v1.map(|v1| document(format!("{base}/"), Content::V1(v1)).to_bytes());
        [(tree::document(name), Some(v2)), (tree::v1_document(name), v1)].into()
    }
}
