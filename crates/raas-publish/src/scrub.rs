//! Reading stored content, and comparing every byte with what is published.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Arc;

use raas_types::crane::{Content, Document};
use raas_types::{Digest, ImageId, ObjectKey, Sha256, V1File};
use serde_json::Value;

use crate::inventory;
use crate::storage::{Storage, StorageError};

/// The longest `json` or `ancestry` of a Docker v1 image that is read, in bytes. A push takes none that is longer.
const MAX_SMALL: u64 = 16 << 20;

/// The objects of documents by their keys as text, each with what its content must be.
pub type Expectations = BTreeMap<String, Expectation>;

/// What the content of an object must be.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The object's key.
    pub key: ObjectKey,
    /// Its length in bytes; 0 if the documents do not say it.
    pub size: u64,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    /// It has this digest.
    Digest(Digest),
    /// It is the json of this image. Older versions did not publish its digest.
    Json(ImageId),
    /// It is a list of ids of these images, this image first, as raas writes it.
    Ancestry(ImageId, Arc<BTreeSet<ImageId>>),
}

/// What the documents say about their objects.
pub fn expectations<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Expectations {
    let mut expectations = Expectations::new();
    for document in documents {
        let images = match &document.content {
            Content::V1(v1) => Arc::new(v1.images.iter().copied().collect()),
            Content::V2(_) => Arc::default(),
        };
        inventory::objects(document, &mut |key, object| {
            let rule = match (object.digest, &key) {
                (Some(digest), _) => Rule::Digest(digest),
                (None, ObjectKey::V1(_, id, V1File::Json)) => Rule::Json(*id),
                (None, ObjectKey::V1(_, id, V1File::Ancestry)) => Rule::Ancestry(*id, Arc::clone(&images)),
                // A document of another program names objects without a digest.
                (None, _) => return,
            };
            let size = object.size.unwrap_or(0);
            expectations.insert(key.to_string(), Expectation { key, size, rule });
        });
    }
    expectations
}

impl Expectation {
    /// An object that must have this digest.
    pub fn of(key: ObjectKey, size: u64, digest: Digest) -> Self {
        Self { key, size, rule: Rule::Digest(digest) }
    }

    /// The digest that the content must have, if the documents say it.
    pub fn digest(&self) -> Option<Digest> {
        match self.rule {
            Rule::Digest(digest) => Some(digest),
            Rule::Json(_) | Rule::Ancestry(..) => None,
        }
    }

    /// Reads the object. Returns what is wrong with it, or `None`. `passed` is called with the number of bytes that were read.
    ///
    /// # Errors
    /// The storage fails. That says nothing about the object.
    pub fn check(
        &self,
        storage: &dyn Storage,
        passed: &mut dyn FnMut(u64),
    ) -> Result<Option<String>, StorageError> {
        let Some(mut stream) = storage.read(&self.key)? else { return Ok(Some("missing".to_owned())) };
        let cannot = |error| StorageError::reading(&self.key, error);
        let (images, id) = match &self.rule {
            Rule::Digest(expected) => {
                let mut hash = Sha256::default();
                let mut buffer = vec![0; 256 * 1024];
                loop {
                    match stream.read(&mut buffer).map_err(cannot)? {
                        0 => break,
                        got => {
                            hash.update(&buffer[..got]);
                            passed(got as u64);
                        }
                    }
                }
                let found = hash.finish();
                return Ok((found != *expected).then(|| format!("its content has the digest {found}")));
            }
            Rule::Json(id) => (None, id),
            Rule::Ancestry(id, images) => (Some(images), id),
        };
        let mut bytes = Vec::new();
        stream.take(MAX_SMALL).read_to_end(&mut bytes).map_err(cannot)?;
        passed(bytes.len() as u64);
        let sound = match images {
            Some(images) => is_ancestry(&bytes, id, images),
            None => is_json(&bytes, id),
        };
        Ok((!sound).then(|| "its content is damaged".to_owned()))
    }
}

fn is_json(bytes: &[u8], id: &ImageId) -> bool {
    let json: Result<Value, _> = serde_json::from_slice(bytes);
    json.is_ok_and(|json| json["id"] == id.to_string())
}

fn is_ancestry(bytes: &[u8], id: &ImageId, images: &BTreeSet<ImageId>) -> bool {
    let Ok(ids) = serde_json::from_slice::<Vec<ImageId>>(bytes) else { return false };
    ids.first() == Some(id)
        && ids.iter().all(|id| images.contains(id))
        && serde_json::to_vec(&ids).is_ok_and(|written| written == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_an_ancestry_is_found() {
        let ids: Vec<ImageId> =
            ["a", "b"].map(|seed| Digest::of(seed.as_bytes()).hex().parse().unwrap()).into();
        let images: BTreeSet<ImageId> = ids.iter().copied().collect();
        let good = serde_json::to_vec(&ids).unwrap();
        assert!(is_ancestry(&good, &ids[0], &images) && !is_ancestry(&good, &ids[1], &images));
        for at in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(!is_ancestry(&flipped, &ids[0], &images), "bit {at}");
        }
    }
}
