//! The repositories that a commit publishes, with their tags, manifests and layers.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::{Content, Document, V1Content, V2Extension, tree};
use raas_types::{Digest, Manifest, ManifestBody, RepositoryName, Tag};

use raas_base::failure::Failure;
use raas_git::Reader;

/// A repository of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// Content for today's clients.
    pub v2: Option<V2Extension>,
    /// Docker v1 content.
    pub v1: Option<V1Content>,
    /// Whether it is one of the operator's repositories, which are published beside the vendor's own.
    pub operator: bool,
    /// Whether only users and customers may see the repository.
    pub protected: bool,
}

/// Repositories by name.
pub type Repositories = BTreeMap<RepositoryName, Repository>;

/// Reads the repositories of a commit. A document that does not parse is left out; `raas status` reports it.
pub fn repositories(reader: &Reader<'_>) -> Result<Repositories, Failure> {
    let mut repositories = Repositories::new();
    for path in reader.paths(tree::DATA)?.into_iter().filter(|path| path.ends_with(".json")) {
        let bytes = reader.read(&path)?.unwrap_or_default();
        let Ok(document) = Document::parse(&bytes) else { continue };
        let repository = repositories.entry(document.name).or_default();
        repository.operator |= tree::is_operators(&path);
        repository.protected |= document.protected;
        match document.content {
            Content::V1(v1) => repository.v1 = Some(v1),
            Content::V2(v2) => repository.v2 = Some(v2.raas.unwrap_or_default()),
        }
    }
    Ok(repositories)
}

/// The manifests of a repository by digest. A manifest that is missing or does not parse is left out.
pub fn manifests(
    reader: &Reader<'_>,
    name: &RepositoryName,
    v2: &V2Extension,
) -> Result<BTreeMap<Digest, Manifest>, Failure> {
    let mut manifests = BTreeMap::new();
    for (digest, entry) in &v2.manifests {
        let Some(bytes) = reader.read(&tree::manifest(name, digest))? else { continue };
        let manifest = Manifest::parse(&bytes, Some(&entry.media_type)).ok();
        manifests.extend(manifest.map(|manifest| (*digest, manifest)));
    }
    Ok(manifests)
}

/// The digests of a manifest and of all manifests that it leads to, as an index leads to those that it lists.
pub fn reachable(manifests: &BTreeMap<Digest, Manifest>, from: &Digest) -> BTreeSet<Digest> {
    let mut seen = BTreeSet::new();
    let mut left = vec![*from];
    while let Some(digest) = left.pop() {
        if seen.insert(digest) {
            let children = manifests.get(&digest).map(Manifest::children).unwrap_or_default();
            left.extend(children.iter().map(|child| child.digest));
        }
    }
    seen
}

/// The layers that these tags lead to, with the size of each in bytes.
pub fn layers<'a>(
    manifests: &BTreeMap<Digest, Manifest>,
    tags: impl Iterator<Item = (&'a Tag, &'a Digest)>,
) -> BTreeMap<Digest, u64> {
    let mut found = BTreeMap::new();
    for digest in tags.flat_map(|(_, digest)| reachable(manifests, digest)) {
        if let Some(Manifest { body: ManifestBody::Image { layers, .. }, .. }) = manifests.get(&digest) {
            found.extend(layers.iter().map(|layer| (layer.digest, layer.size)));
        }
    }
    found
}

/// The bytes of the configs and layers that a manifest leads to, each counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// All bytes.
    pub all: u64,
    /// The bytes that the vendor's bucket does not serve.
    pub elsewhere: u64,
}

/// The size of everything that a manifest leads to.
pub fn size(manifests: &BTreeMap<Digest, Manifest>, v2: &V2Extension, from: &Digest) -> Size {
    let digests = reachable(manifests, from);
    let found = digests.iter().filter_map(|digest| manifests.get(digest));
    let blobs: BTreeMap<Digest, u64> =
        found.flat_map(Manifest::blobs).map(|blob| (blob.digest, blob.size)).collect();
    let mut size = Size::default();
    for (digest, bytes) in blobs {
        size.all += bytes;
        if v2.blobs.get(&digest).is_some_and(|entry| entry.location.is_some()) {
            size.elsewhere += bytes;
        }
    }
    size
}
