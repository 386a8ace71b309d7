//! Comparing the objects that documents name with the objects that the bucket holds.

use std::collections::BTreeMap;

use raas_types::crane::{Content, Document, V2Extension};
use raas_types::{Digest, ImageId, ObjectKey, Reference, RepositoryName, Tag, V1File};
use serde::Serialize;

use crate::storage::{ListedObject, Storage, StorageError};

/// The result of the comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many repositories there are.
    pub repositories: usize,
    /// How many tags they have.
    pub tags: usize,
    /// Layers that the bucket does not serve.
    pub elsewhere: usize,
    /// How many objects are stored as the documents say.
    pub matching: usize,
    /// Objects that are missing or have another length, each with what is wrong.
    pub wrong: Vec<String>,
    /// Stored objects that no document names, in the order of their keys.
    pub unreferenced: Vec<ListedObject>,
}

impl Comparison {
    fn count(&mut self, document: &Document) {
        if let Content::V2(v2) = &document.content {
            self.repositories += 1;
            if let Some(raas) = &v2.raas {
                self.tags += raas.tags.len();
                self.elsewhere += raas.blobs.values().filter(|entry| entry.location.is_some()).count();
            }
        }
    }
}

/// Compares the documents with the bucket, or with `image` only the objects of that repository.
pub fn compare(
    documents: &[Document],
    storage: &dyn Storage,
    image: Option<&RepositoryName>,
) -> Result<Comparison, StorageError> {
    let mut comparison = Comparison::default();
    let mut expected = BTreeMap::new();
    for document in documents {
        comparison.count(document);
        objects(document, &mut |key, object| {
            expected.insert(key.to_string(), object.size);
        });
    }
    let prefix = image.map(ObjectKey::v1_prefix).unwrap_or_default();
    let mut prefixes = vec![prefix.clone()];
    let is_signed = |document: &Document| matches!(&document.content, Content::V2(v2) if v2.raas.as_ref().is_some_and(|raas| !raas.signatures.is_empty()));
    // Signatures lie beside the folder of their repository.
    prefixes.extend(image.filter(|_| documents.iter().any(is_signed)).map(ObjectKey::signatures_prefix));
    let mut each = |listed: ListedObject| match expected.remove(&listed.key) {
        Some(Some(size)) if size != listed.size => {
            comparison
                .wrong
                .push(format!("{}: {} bytes are stored, {size} are published", listed.key, listed.size));
        }
        Some(_) => comparison.matching += 1,
        // The storage's own objects, and objects of other programs in the same bucket.
        None if !ObjectKey::is_content(&listed.key) => {}
        None if image.is_some() && listed.key.strip_prefix(&prefix).is_some_and(|rest| !is_own(rest)) => {}
        None => comparison.unreferenced.push(listed),
    };
    prefixes.iter().try_for_each(|prefix| storage.list(prefix, &mut each))?;
    comparison.wrong.extend(expected.into_keys().map(|key| format!("{key}: missing")));
    comparison.wrong.sort();
    comparison.unreferenced.sort();
    Ok(comparison)
}

/// Whether a key belongs to the repository whose name it begins with, and not to a repository with a longer name.
/// `rest` is the key after that name.
fn is_own(rest: &str) -> bool {
    rest.split('/').next().is_some_and(|part| part == "_v2" || part.parse::<ImageId>().is_ok())
}

/// An object as a document describes it.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedObject {
    /// Its length in bytes, if the document says it.
    pub size: Option<u64>,
    /// The digest of its bytes, if the document says it.
    pub digest: Option<Digest>,
}

impl ExpectedObject {
    const UNKNOWN: Self = Self { size: None, digest: None };

    fn content(digest: &Digest, size: u64) -> Self {
        Self { size: Some(size), digest: Some(*digest) }
    }
}

/// Calls `take` for every object that a document names and that the bucket serves.
pub fn objects(document: &Document, take: &mut dyn FnMut(ObjectKey, ExpectedObject)) {
    let name = &document.name;
    match &document.content {
        Content::V1(v1) => {
            let entries = v1.raas.as_ref().map(|raas| &raas.images);
            for id in &v1.images {
                let entry = entries.and_then(|entries| entries.get(id));
                if entry.is_some_and(|entry| entry.location.is_some()) {
                    continue;
                }
                let layer = entry.map_or(ExpectedObject::UNKNOWN, |entry| {
                    ExpectedObject::content(&entry.layer, entry.size)
                });
                take(ObjectKey::V1(name.clone(), *id, V1File::Layer), layer);
                let json = ExpectedObject { size: None, digest: entry.and_then(|entry| entry.json) };
                take(ObjectKey::V1(name.clone(), *id, V1File::Json), json);
                take(ObjectKey::V1(name.clone(), *id, V1File::Ancestry), ExpectedObject::UNKNOWN);
            }
        }
        Content::V2(v2) => {
            let list_key = ObjectKey::TagsList(name.clone());
            let Some(raas) = &v2.raas else { return take(list_key, ExpectedObject::UNKNOWN) };
            let list = tags_list(name, raas.tags.keys());
            take(list_key, ExpectedObject::content(&Digest::of(&list), list.len() as u64));
            for (key, bytes) in signatures(name, raas) {
                let object = ExpectedObject::content(&Digest::of(&bytes), bytes.len() as u64);
                take(key, object);
            }
            for (digest, entry) in raas.blobs.iter().filter(|(_, entry)| entry.location.is_none()) {
                take(ObjectKey::Blob(name.clone(), *digest), ExpectedObject::content(digest, entry.size));
            }
            let digests = raas.manifests.keys().map(|digest| (Reference::Digest(*digest), digest));
            let tags = raas.tags.iter().map(|(tag, digest)| (Reference::Tag(tag.clone()), digest));
            for (reference, digest) in digests.chain(tags) {
                if let Some(entry) = raas.manifests.get(digest) {
                    let key = ObjectKey::manifest(name, reference, &entry.media_type);
                    take(key, ExpectedObject::content(digest, entry.size));
                }
            }
        }
    }
}

/// The signatures of a repository as objects of the bucket.
pub fn signatures<'a>(
    name: &'a RepositoryName,
    raas: &'a V2Extension,
) -> impl Iterator<Item = (ObjectKey, Vec<u8>)> + 'a {
    raas.signatures.iter().flat_map(move |(digest, signatures)| {
        signatures.iter().enumerate().map(move |(n, signature)| {
            let key = ObjectKey::Signature { repository: name.clone(), digest: *digest, number: n + 1 };
            (key, signature.bytes())
        })
    })
}

/// The content of `tags/list`, as a registry answers it.
pub fn tags_list<'a>(name: &RepositoryName, tags: impl Iterator<Item = &'a Tag>) -> Vec<u8> {
    #[derive(Serialize)]
    struct TagsList<'a> {
        name: &'a RepositoryName,
        tags: Vec<&'a Tag>,
    }
    serde_json::to_vec(&TagsList { name, tags: tags.collect() }).expect("names are text")
}
