//! Stores Docker v1 images: their three files, and the blobs that today's clients pull.

use std::collections::BTreeMap;
use std::sync::Mutex;

use raas_image::{
    Content, ImageError, Packed, PackedLayer, Packing, V1Image, V1Set, build_from_v1, fingerprint, pack,
};
use raas_types::crane::{BlobEntry, V1ImageEntry};
use raas_types::{Digest, ImageId, ObjectKey, RepositoryName, V1File};

use super::image_failure::OrFail as _;
use super::masked_layer;
use super::plan::{PublishedImage, V1Action};
use super::transfer::{Stored, StoredV1, Tally, Transfer, add_to, packing};
use crate::traces;
use raas_base::failure::{Failure, Kind};
use raas_base::parallel;
use raas_publish::storage::PutOptions;

/// The result of transferring one image.
struct TransferredImage {
    id: ImageId,
    entry: V1ImageEntry,
    layer: PackedLayer,
    /// The image's json, if it was downloaded because the source does not have it.
    json: Option<Content>,
}

impl Transfer<'_> {
    pub(super) fn v1(
        &self,
        set: &V1Set,
        images: Vec<(ImageId, V1Action)>,
        tally: &Mutex<Tally>,
    ) -> Result<Stored, Failure> {
        let (at_once, workers) = packing(self.storage.capabilities().upload_limits.pairs, images.len());
        let transferred = parallel::each(at_once, images, |(id, action)| {
            self.v1_image(id, &set.images[&id], action, workers, tally)
        })?;
        let transferred: BTreeMap<ImageId, TransferredImage> =
            transferred.into_iter().map(|image| (image.id, image)).collect();
        let mut stored = Stored::default();
        for image in transferred.values() {
            let location =
                image.entry.location.as_ref().map(|folder| format!("{folder}/{}", V1File::Layer.name()));
            let entry = BlobEntry { size: image.layer.size, diff_id: Some(image.layer.diff_id), location };
            stored.blobs.insert(image.layer.digest, entry);
        }
        for (tag, top) in &set.tags {
            let json_of = |id: &ImageId| {
                let json = set.images[id].json.as_ref().or(transferred[id].json.as_ref());
                json.ok_or_else(|| missing_json(id))?.read_all(self.limits.json)
            };
            let built = build_from_v1(set, top, json_of, |id| transferred[id].layer.clone(), self.limits)
                .or_fail()?;
            self.add_built(&mut stored, [tag.clone()], built, tally)?;
        }
        let entries = transferred.into_iter().map(|(id, image)| (id, image.entry)).collect();
        stored.v1 = Some(StoredV1 { tags: set.tags.clone(), images: entries });
        Ok(stored)
    }

    fn v1_image(
        &self,
        id: ImageId,
        image: &V1Image,
        action: V1Action,
        workers: usize,
        tally: &Mutex<Tally>,
    ) -> Result<TransferredImage, Failure> {
        match action {
            V1Action::Elsewhere(folder) => self.v1_masked(id, image, folder),
            V1Action::Reuse(published) => {
                let packed = self.v1_reuse(id, image, &published, workers, tally)?;
                let json = Some(self.v1_small_files(id, image, tally)?);
                let entry = V1ImageEntry { json, ..published.entry };
                Ok(TransferredImage { id, entry, layer: packed, json: None })
            }
            V1Action::Store => {
                let content = image.layer.as_ref().ok_or_else(|| missing_layer(&id)).or_fail()?;
                let store = || self.v1_store(id, content, workers, tally);
                let packed = self.span.stage("pack layer", store)?;
                let json = self.v1_small_files(id, image, tally)?;
                Ok(TransferredImage {
                    id,
                    entry: V1ImageEntry { json: Some(json), ..entry_of(&packed, None) },
                    layer: PackedLayer::stored(&packed),
                    json: None,
                })
            }
        }
    }

    /// Stores a layer as it is and packed. The layer is read once.
    fn v1_store(
        &self,
        id: ImageId,
        content: &Content,
        workers: usize,
        tally: &Mutex<Tally>,
    ) -> Result<Packed, Failure> {
        let bar = self.progress.layer(&id.short(), content.size());
        let key = ObjectKey::V1(self.name.clone(), id, V1File::Layer);
        let mut raw = self.storage.create(PutOptions::of(&key, content.size()))?;
        let mut blob = self.storage.create(PutOptions::default())?;
        let advance = |bytes| bar.advance(bytes);
        let packed = pack(content, Some(&mut raw), &mut blob, workers, self.limits, &advance).or_fail()?;
        traces::set("raas.image_id", id.to_string());
        traces::set("raas.digest", packed.blob.to_string());
        traces::set("raas.bytes", packed.raw_size + packed.blob_size);
        raw.commit(&key)?;
        self.count_stored(&key, packed.raw_size, tally);
        let key = ObjectKey::Blob(self.name.clone(), packed.blob);
        self.commit_new(blob, &key, packed.blob_size, tally)?;
        bar.done();
        Ok(packed)
    }

    /// Uses the layer of an earlier publication. Its bytes are compared first, because the id of a Docker v1 image does
    /// not depend on its content. If the bucket does not hold the objects as the record has them, the layer is stored
    /// anew.
    fn v1_reuse(
        &self,
        id: ImageId,
        image: &V1Image,
        published: &PublishedImage,
        workers: usize,
        tally: &Mutex<Tally>,
    ) -> Result<PackedLayer, Failure> {
        let PublishedImage { repository, entry, blob_size } = published;
        let blob_size = *blob_size;
        let content = image.layer.as_ref().ok_or_else(|| missing_layer(&id)).or_fail()?;
        let bar = self.progress.layer(&id.short(), content.size());
        let found = fingerprint(content, self.limits, &|bytes| bar.advance(bytes)).or_fail()?;
        bar.done();
        if found.raw != entry.layer {
            return Err(id_conflict(&id, repository, "layer"));
        }
        let json = image
            .json
            .as_ref()
            .ok_or_else(|| missing_json(&id))
            .or_fail()?
            .read_all(self.limits.json)
            .or_fail()?;
        if entry.json.is_some_and(|published| published != Digest::of(&json)) {
            return Err(id_conflict(&id, repository, "json"));
        }
        let layer_key = |repository: &RepositoryName| ObjectKey::V1(repository.clone(), id, V1File::Layer);
        let blob_key = |repository: &RepositoryName| ObjectKey::Blob(repository.clone(), entry.blob);
        let is_stored = self.listing.has_to_copy(&blob_key(repository), blob_size, &entry.blob)?
            && self.listing.has_to_copy(&layer_key(repository), entry.size, &entry.layer)?;
        if !is_stored {
            // The bucket has lost or damaged the published objects. Storing the layer again gives the same blob.
            let store = || self.v1_store(id, content, workers, tally);
            return Ok(PackedLayer::stored(&self.span.stage("pack layer", store)?));
        }
        for (from, to, size) in [
            (layer_key(repository), layer_key(self.name), entry.size),
            (blob_key(repository), blob_key(self.name), blob_size),
        ] {
            if self.listing.has(&to, size)? {
                add_to(tally, |tally| tally.present.add(size));
            } else {
                self.copy(&from, &to, size, tally)?;
            }
        }
        Ok(PackedLayer {
            digest: entry.blob,
            size: blob_size,
            diff_id: entry.diff_id,
            packing: Packing::Gzip,
        })
    }

    /// Stores an image's json and ancestry. Returns the digest of the json.
    fn v1_small_files(&self, id: ImageId, image: &V1Image, tally: &Mutex<Tally>) -> Result<Digest, Failure> {
        let json = image
            .json
            .as_ref()
            .ok_or_else(|| missing_json(&id))
            .or_fail()?
            .read_all(self.limits.json)
            .or_fail()?;
        self.put_small(&ObjectKey::V1(self.name.clone(), id, V1File::Json), &json, tally)?;
        let ancestry = image.ancestry_json();
        self.put_small(&ObjectKey::V1(self.name.clone(), id, V1File::Ancestry), &ancestry, tally)?;
        Ok(Digest::of(&json))
    }

    /// Reads a masked layer, whose digest and size are needed for the manifest, and stores nothing.
    fn v1_masked(&self, id: ImageId, image: &V1Image, folder: String) -> Result<TransferredImage, Failure> {
        let download = |file: V1File| {
            masked_layer::download(&format!("{folder}/{}", file.name()), self.spool, self.progress)
        };
        let (layer, json) = match (&image.layer, &image.json) {
            (Some(layer), Some(_)) => (layer.clone(), None),
            // The source does not have the files that the operator serves, so they are downloaded once.
            (layer, json) => {
                let layer = layer.clone().map_or_else(|| download(V1File::Layer), Ok)?;
                (layer, if json.is_some() { None } else { Some(download(V1File::Json)?) })
            }
        };
        let bar = self.progress.layer(&id.short(), layer.size());
        let found = fingerprint(&layer, self.limits, &|bytes| bar.advance(bytes)).or_fail()?;
        bar.done();
        let entry = entry_of(&found, Some(folder));
        Ok(TransferredImage { id, entry, layer: PackedLayer::as_in_source(&found), json })
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

/// The failure for an image whose id is published with a different `file`.
pub(super) fn id_conflict(id: &ImageId, repository: &RepositoryName, file: &str) -> Failure {
    let message = format!(
        "image {id} is published in {repository} with a different {file}, and a Docker v1 image must not change under its id"
    );
    Failure::new(Kind::Refused, message).hint(
        "build the image again, so that it gets a new id, or remove the published image with `raas unpublish`",
    )
}

fn missing_layer(id: &ImageId) -> ImageError {
    missing(id, V1File::Layer)
}

fn missing_json(id: &ImageId) -> ImageError {
    missing(id, V1File::Json)
}

fn missing(id: &ImageId, file: V1File) -> ImageError {
    let rule = raas_image::Rule::Missing("the source does not have it".into());
    ImageError::Refused { member: format!("{id}/{}", file.name()), rule }
}
