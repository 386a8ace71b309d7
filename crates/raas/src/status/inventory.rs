//! What the documents say is stored, against what is stored, both ways.

use std::collections::BTreeMap;

use raas_types::crane::{Content, Document};
use raas_types::{ImageId, ObjectKey, Reference, RepositoryName, V1File};

use crate::storage::{Storage, StorageError};

/// The two lists compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) repositories: usize,
    pub(super) tags: usize,
    /// Layers that are served from elsewhere.
    pub(super) elsewhere: usize,
    /// Objects that are stored as the documents say.
    pub(super) matching: usize,
    /// Objects that are missing or of the wrong length, each with what is wrong.
    pub(super) wrong: Vec<String>,
    /// Stored objects that no document names.
    pub(super) left_over: Vec<String>,
}

/// Compares; with an image, the objects of that repository alone.
pub(super) fn compare(
    documents: &[Document],
    storage: &dyn Storage,
    image: Option<&RepositoryName>,
) -> Result<Compared, StorageError> {
    let mut compared = Compared::default();
    let mut expected = BTreeMap::new();
    for document in documents {
        expect(document, &mut expected, &mut compared);
    }
    let prefix = image.map(ObjectKey::v1_prefix).unwrap_or_default();
    storage.list(&prefix, &mut |listed| match expected.remove(&listed.key) {
        Some(Some(size)) if size != listed.size => {
            compared
                .wrong
                .push(format!("{}: {} bytes are stored, {size} are published", listed.key, listed.size));
        }
        Some(_) => compared.matching += 1,
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

/// Adds the objects of a document, with the length of each where the document says it.
fn expect(document: &Document, expected: &mut BTreeMap<String, Option<u64>>, compared: &mut Compared) {
    let name = &document.name;
    let mut add = |key: ObjectKey, size| {
        expected.insert(key.to_string(), size);
    };
    match &document.content {
        Content::V1(v1) => {
            let entries = v1.raas.as_ref().map(|raas| &raas.images);
            for id in &v1.images {
                let entry = entries.and_then(|entries| entries.get(id));
                if entry.is_some_and(|entry| entry.location.is_some()) {
                    continue;
                }
                add(ObjectKey::V1(name.clone(), *id, V1File::Layer), entry.map(|entry| entry.size));
                add(ObjectKey::V1(name.clone(), *id, V1File::Json), None);
                add(ObjectKey::V1(name.clone(), *id, V1File::Ancestry), None);
            }
        }
        Content::V2(v2) => {
            compared.repositories += 1;
            add(ObjectKey::TagsList(name.clone()), None);
            let Some(raas) = &v2.raas else { return };
            compared.tags += raas.tags.len();
            for (digest, entry) in &raas.blobs {
                if entry.location.is_some() {
                    compared.elsewhere += 1;
                } else {
                    add(ObjectKey::Blob(name.clone(), *digest), Some(entry.size));
                }
            }
            for (digest, entry) in &raas.manifests {
                let reference = Reference::Digest(*digest);
                add(ObjectKey::manifest(name, reference, &entry.media_type), Some(entry.size));
            }
            for (tag, digest) in &raas.tags {
                if let Some(entry) = raas.manifests.get(digest) {
                    let reference = Reference::Tag(tag.clone());
                    add(ObjectKey::manifest(name, reference, &entry.media_type), Some(entry.size));
                }
            }
        }
    }
}
