//! What documents say is stored: against what is stored, both ways.

use std::collections::BTreeMap;

use raas_types::crane::{Content, Document};
use raas_types::{Digest, ImageId, ObjectKey, Reference, RepositoryName, V1File};

use crate::storage::{Storage, StorageError};

/// The two lists compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// How many repositories there are.
    pub repositories: usize,
    /// How many tags they have.
    pub tags: usize,
    /// Layers that are served from elsewhere.
    pub elsewhere: usize,
    /// Objects that are stored as the documents say.
    pub matching: usize,
    /// Objects that are missing or of the wrong length, each with what is wrong.
    pub wrong: Vec<String>,
    /// Stored objects that no document names.
    pub left_over: Vec<String>,
}

impl Compared {
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

/// Compares; with an image, the objects of that repository alone.
pub fn compare(
    documents: &[Document],
    storage: &dyn Storage,
    image: Option<&RepositoryName>,
) -> Result<Compared, StorageError> {
    let mut compared = Compared::default();
    let mut expected = BTreeMap::new();
    for document in documents {
        compared.count(document);
        objects(document, &mut |key, told| {
            expected.insert(key.to_string(), told.size);
        });
    }
    let prefix = image.map(ObjectKey::v1_prefix).unwrap_or_default();
    storage.list(&prefix, &mut |listed| match expected.remove(&listed.key) {
        Some(Some(size)) if size != listed.size => {
            compared
                .wrong
                .push(format!("{}: {} bytes are stored, {size} are published", listed.key, listed.size));
        }
        Some(_) => compared.matching += 1,
        // The storage's own objects, and what others keep in the same bucket.
        None if !ObjectKey::is_content(&listed.key) => {}
        None if image.is_some() && !is_own(&listed.key[prefix.len()..]) => {}
        None => compared.left_over.push(listed.key),
    })?;
    compared.wrong.extend(expected.into_keys().map(|key| format!("{key}: missing")));
    compared.wrong.sort();
    compared.left_over.sort();
    Ok(compared)
}

/// Whether what follows a repository's name is an object of it, and not of one whose name goes on.
fn is_own(rest: &str) -> bool {
    rest.split('/').next().is_some_and(|part| part == "_v2" || part.parse::<ImageId>().is_ok())
}

/// What a document says of an object.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Its length in bytes, where the document says it.
    pub size: Option<u64>,
    /// Its content's digest, where the document says it.
    pub digest: Option<Digest>,
}

impl Told {
    const NOTHING: Self = Self { size: None, digest: None };

    fn content(digest: &Digest, size: u64) -> Self {
        Self { size: Some(size), digest: Some(*digest) }
    }
}

/// The objects that a document names; those that are served from elsewhere are none of the bucket's.
pub fn objects(document: &Document, take: &mut dyn FnMut(ObjectKey, Told)) {
    let name = &document.name;
    match &document.content {
        Content::V1(v1) => {
            let entries = v1.raas.as_ref().map(|raas| &raas.images);
            for id in &v1.images {
                let entry = entries.and_then(|entries| entries.get(id));
                if entry.is_some_and(|entry| entry.location.is_some()) {
                    continue;
                }
                let layer = entry.map_or(Told::NOTHING, |entry| Told::content(&entry.layer, entry.size));
                take(ObjectKey::V1(name.clone(), *id, V1File::Layer), layer);
                take(ObjectKey::V1(name.clone(), *id, V1File::Json), Told::NOTHING);
                take(ObjectKey::V1(name.clone(), *id, V1File::Ancestry), Told::NOTHING);
            }
        }
        Content::V2(v2) => {
            take(ObjectKey::TagsList(name.clone()), Told::NOTHING);
            let Some(raas) = &v2.raas else { return };
            for (digest, entry) in raas.blobs.iter().filter(|(_, entry)| entry.location.is_none()) {
                take(ObjectKey::Blob(name.clone(), *digest), Told::content(digest, entry.size));
            }
            let digests = raas.manifests.keys().map(|digest| (Reference::Digest(*digest), digest));
            let tags = raas.tags.iter().map(|(tag, digest)| (Reference::Tag(tag.clone()), digest));
            for (reference, digest) in digests.chain(tags) {
                if let Some(entry) = raas.manifests.get(digest) {
                    let key = ObjectKey::manifest(name, reference, &entry.media_type);
                    take(key, Told::content(digest, entry.size));
                }
            }
        }
    }
}
