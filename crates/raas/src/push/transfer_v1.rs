//! Storing Docker v1 images: their own three files, and what today's clients pull made of them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use raas_image::{
    Content, ImageError, Packed, PackedLayer, Packing, V1Image, V1Set, build_from_v1, fingerprint, pack,
};
use raas_types::crane::{BlobEntry, V1ImageEntry};
use raas_types::{Digest, ImageId, ObjectKey, RepositoryName, V1File};

use super::image_failure::OrFail as _;
use super::plan::V1Action;
use super::remote;
use super::transfer::{Count, Stored, StoredV1, Transfer, note, packing};
use raas_base::failure::{Failure, Kind};
use raas_base::parallel;
use raas_publish::storage::PutOptions;

/// A layer that has been dealt with.
struct Done {
    id: ImageId,
    entry: V1ImageEntry,
    layer: PackedLayer,
    /// The image's json, where it is not in the source.
    json: Option<Content>,
}

impl Transfer<'_> {
    pub(super) fn v1(
        &self,
        set: &V1Set,
        images: Vec<(ImageId, V1Action)>,
        count: &Mutex<Count>,
    ) -> Result<Stored, Failure> {
        let (at_once, workers) = packing(self.storage.capabilities().upload_limits.pairs, images.len());
        let done = parallel::each(at_once, images, |(id, action)| {
            self.v1_image(id, &set.images[&id], action, workers, count)
        })?;
        let done: BTreeMap<ImageId, Done> = done.into_iter().map(|done| (done.id, done)).collect();
        let mut stored = Stored::default();
        for one in done.values() {
            let location =
                one.entry.location.as_ref().map(|folder| format!("{folder}/{}", V1File::Layer.name()));
            let entry = BlobEntry { size: one.layer.size, diff_id: Some(one.layer.diff_id), location };
            stored.blobs.insert(one.layer.digest, entry);
        }
        for (tag, top) in &set.tags {
            let json_of = |id: &ImageId| {
                let json = set.images[id].json.as_ref().or(done[id].json.as_ref());
                json.ok_or_else(|| missing_json(id))?.read_all(self.limits.json)
            };
            let built =
                build_from_v1(set, top, json_of, |id| done[id].layer.clone(), self.limits).or_fail()?;
            self.add_built(&mut stored, [tag.clone()], built, count)?;
        }
        let entries = done.into_iter().map(|(id, done)| (id, done.entry)).collect();
        stored.v1 = Some(StoredV1 { tags: set.tags.clone(), images: entries });
        Ok(stored)
    }

    fn v1_image(
        &self,
        id: ImageId,
        image: &V1Image,
        action: V1Action,
        workers: usize,
        count: &Mutex<Count>,
    ) -> Result<Done, Failure> {
        match action {
            V1Action::Elsewhere(folder) => self.v1_masked(id, image, folder),
            V1Action::Reuse(repository, entry) => {
                let packed = self.v1_reuse(id, image, &repository, &entry, workers, count)?;
                let entry = V1ImageEntry { json: Some(self.v1_small_files(id, image, count)?), ..entry };
                Ok(Done { id, entry, layer: packed, json: None })
            }
            V1Action::Store => {
                let content = image.layer.as_ref().ok_or_else(|| missing_layer(&id)).or_fail()?;
                let packed = self.v1_store(id, content, workers, count)?;
                let json = self.v1_small_files(id, image, count)?;
                Ok(Done {
                    id,
                    entry: V1ImageEntry { json: Some(json), ..entry_of(&packed, None) },
                    layer: PackedLayer::stored(&packed),
                    json: None,
                })
            }
        }
    }

    /// Stores a layer as it is and packed, reading it once.
    fn v1_store(
        &self,
        id: ImageId,
        content: &Content,
        workers: usize,
        count: &Mutex<Count>,
    ) -> Result<Packed, Failure> {
        let bar = self.progress.layer(&id.short(), content.size());
        let key = ObjectKey::V1(self.name.clone(), id, V1File::Layer);
        let mut raw = self.storage.create(PutOptions::of(&key, content.size()))?;
        let mut blob = self.storage.create(PutOptions::default())?;
        let advance = |bytes| bar.advance(bytes);
        let packed = pack(content, Some(&mut raw), &mut blob, workers, self.limits, &advance).or_fail()?;
        raw.commit(&key)?;
        self.tell_stored(&key, packed.raw_size, count);
        let key = ObjectKey::Blob(self.name.clone(), packed.blob);
        self.commit_new(blob, &key, packed.blob_size, count)?;
        bar.done();
        Ok(packed)
    }

    /// Uses what was published of this image before, after a look at whether it is the same: an id says nothing of
    /// the content.
    fn v1_reuse(
        &self,
        id: ImageId,
        image: &V1Image,
        repository: &RepositoryName,
        entry: &V1ImageEntry,
        workers: usize,
        count: &Mutex<Count>,
    ) -> Result<PackedLayer, Failure> {
        let content = image.layer.as_ref().ok_or_else(|| missing_layer(&id)).or_fail()?;
        let bar = self.progress.layer(&id.short(), content.size());
        let found = fingerprint(content, self.limits, &|bytes| bar.advance(bytes)).or_fail()?;
        bar.done();
        if found.raw != entry.layer {
            return Err(another(&id, repository, "layer"));
        }
        let json = image
            .json
            .as_ref()
            .ok_or_else(|| missing_json(&id))
            .or_fail()?
            .read_all(self.limits.json)
            .or_fail()?;
        if entry.json.is_some_and(|published| published != Digest::of(&json)) {
            return Err(another(&id, repository, "json"));
        }
        let layer_key = |repository: &RepositoryName| ObjectKey::V1(repository.clone(), id, V1File::Layer);
        let blob_key = |repository: &RepositoryName| ObjectKey::Blob(repository.clone(), entry.blob);
        let blob_size = self.held.size(&blob_key(repository))?;
        let layer_there = self.held.has(&layer_key(repository), entry.size)?;
        let (Some(blob_size), true) = (blob_size, layer_there) else {
            // The bucket has lost what the record says: it is stored anew, which gives the same blob.
            return Ok(PackedLayer::stored(&self.v1_store(id, content, workers, count)?));
        };
        for (from, to, size) in [
            (layer_key(repository), layer_key(self.name), entry.size),
            (blob_key(repository), blob_key(self.name), blob_size),
        ] {
            if self.held.has(&to, size)? {
                note(count, |count| count.present.add(size));
            } else {
                self.storage.copy(&from, &to, size)?;
                self.tell_stored(&to, size, count);
            }
        }
        Ok(PackedLayer {
            digest: entry.blob,
            size: blob_size,
            diff_id: entry.diff_id,
            packing: Packing::Gzip,
        })
    }

    /// Stores an image's json and ancestry; gives the json's digest.
    fn v1_small_files(&self, id: ImageId, image: &V1Image, count: &Mutex<Count>) -> Result<Digest, Failure> {
        let json = image
            .json
            .as_ref()
            .ok_or_else(|| missing_json(&id))
            .or_fail()?
            .read_all(self.limits.json)
            .or_fail()?;
        self.small(&ObjectKey::V1(self.name.clone(), id, V1File::Json), &json, count)?;
        let ancestry = image.ancestry_json();
        self.small(&ObjectKey::V1(self.name.clone(), id, V1File::Ancestry), &ancestry, count)?;
        Ok(Digest::of(&json))
    }

    /// A masked layer is read, for what today's clients must be told of it, and not stored.
    fn v1_masked(&self, id: ImageId, image: &V1Image, folder: String) -> Result<Done, Failure> {
        let fetch =
            |file: V1File| remote::fetch(&format!("{folder}/{}", file.name()), self.spool, self.progress);
        let (layer, json) = match (&image.layer, &image.json) {
            (Some(layer), Some(_)) => (layer.clone(), None),
            // The source leaves out what the operator serves: that is asked for its bytes, once.
            (layer, json) => {
                let layer = layer.clone().map_or_else(|| fetch(V1File::Layer), Ok)?;
                (layer, if json.is_some() { None } else { Some(fetch(V1File::Json)?) })
            }
        };
        let bar = self.progress.layer(&id.short(), layer.size());
        let found = fingerprint(&layer, self.limits, &|bytes| bar.advance(bytes)).or_fail()?;
        bar.done();
        let entry = entry_of(&found, Some(folder));
        Ok(Done { id, entry, layer: PackedLayer::as_in_source(&found), json })
    }
}

fn entry_of(packed: &Packed, location: Option<String>) -> V1ImageEntry {
    let blob = if location.is_some() { packed.raw } else { packed.blob };
    V1ImageEntry {
        layer: packed.raw,
        size: packed.raw_size,
        diff_id: packed.diff_id,
        blob,
        json: None,
        location,
    }
}

/// Two images of one id, of which one is published.
pub(super) fn another(id: &ImageId, repository: &RepositoryName, file: &str) -> Failure {
    let message = format!(
        "image {id} is published in {repository} with another {file}; a Docker v1 image never changes under its id"
    );
    Failure::new(Kind::Refused, message).hint(
        "build the image anew, so that it gets an id of its own; or take the other one out first: raas unpublish",
    )
}

fn missing_layer(id: &ImageId) -> ImageError {
    missing(id, V1File::Layer)
}

fn missing_json(id: &ImageId) -> ImageError {
    missing(id, V1File::Json)
}

fn missing(id: &ImageId, file: V1File) -> ImageError {
    let rule = raas_image::Rule::Missing("it is not in the source".into());
    ImageError::Refused { member: format!("{id}/{}", file.name()), rule }
}
