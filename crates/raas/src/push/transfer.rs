//! Storing what the plan says, several layers at a time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use raas_image::{
    Blob, BuiltImage, Content, Limits, ManifestSet, PackedLayer, SavedSet, build_manifest, copy, pack,
};
use raas_types::crane::{BlobEntry, V1ImageEntry};
use raas_types::{Digest, ImageId, ObjectKey, Platform, RepositoryName, Tag, media_type};

use super::Progress;
use super::image_failure::{OrFail as _, failure};
use super::plan::{BlobAction, Plan, PlannedImage, SavedAction};
use super::progress::Bar;
use super::report::{Counted, Report};
use raas_base::failure::Failure;
use raas_base::parallel;
use raas_publish::repository_listing::RepositoryListing;
use raas_publish::storage::{OnStored, PutOptions, Storage};

/// Everything that storing needs.
pub(super) struct Transfer<'a> {
    pub(super) name: &'a RepositoryName,
    pub(super) storage: &'a dyn Storage,
    pub(super) held: &'a RepositoryListing<'a>,
    pub(super) limits: &'a Limits,
    pub(super) progress: &'a Progress,
    /// Where what must be read twice is kept in between.
    pub(super) spool: &'a Path,
}

/// What the documents are composed of, every byte of it stored.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) tags: BTreeMap<Tag, Digest>,
    pub(super) manifests: BTreeMap<Digest, StoredManifest>,
    pub(super) blobs: BTreeMap<Digest, BlobEntry>,
    /// Docker v1 content, where the source is such.
    pub(super) v1: Option<StoredV1>,
}

/// A manifest to publish.
#[derive(Debug)]
pub(super) struct StoredManifest {
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: String,
    pub(super) platform: Option<Platform>,
}

/// Docker v1 images to publish.
#[derive(Debug, Default)]
pub(super) struct StoredV1 {
    pub(super) tags: BTreeMap<Tag, ImageId>,
    pub(super) images: BTreeMap<ImageId, V1ImageEntry>,
}

/// What was stored and what was there, counted from several threads.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) stored: Counted,
    pub(super) present: Counted,
}

impl Transfer<'_> {
    /// Stores layers, then what is made of them. Nothing refers to any of it yet.
    pub(super) fn run(&self, plan: Plan, report: &mut Report) -> Result<Stored, Failure> {
        let count = Mutex::new(Count::default());
        let stored = match plan.image {
            PlannedImage::Manifests(set, blobs) => self.manifests(set, blobs, &count),
            PlannedImage::Saved(set, layers) => self.saved(set, layers, &count),
            PlannedImage::V1(set, images) => self.v1(&set, images, &count),
        }?;
        let count = count.into_inner().unwrap_or_else(PoisonError::into_inner);
        (report.stored, report.present) = (count.stored, count.present);
        Ok(stored)
    }

    fn manifests(
        &self,
        set: ManifestSet,
        blobs: Vec<(Blob, BlobAction)>,
        count: &Mutex<Count>,
    ) -> Result<Stored, Failure> {
        let entries =
            parallel::each(self.storage.capabilities().upload_limits.single, blobs, |(blob, action)| {
                let location = match &action {
                    BlobAction::Elsewhere(location) => Some(location.clone()),
                    _ => None,
                };
                self.blob(&blob, &action, count)?;
                Ok((blob.digest, BlobEntry { size: blob.size, diff_id: None, location }))
            })?;
        let manifests = set.manifests.into_iter().map(|(digest, item)| {
            let media_type = item.manifest.media_type;
            (digest, StoredManifest { bytes: item.bytes, media_type, platform: item.platform })
        });
        Ok(Stored {
            tags: set.tags,
            manifests: manifests.collect(),
            blobs: entries.into_iter().collect(),
            v1: None,
        })
    }

    fn blob(&self, blob: &Blob, action: &BlobAction, count: &Mutex<Count>) -> Result<(), Failure> {
        let key = ObjectKey::Blob(self.name.clone(), blob.digest);
        match action {
            BlobAction::Elsewhere(_) => {}
            BlobAction::Present => note(count, |count| count.present.add(blob.size)),
            BlobAction::Copy(from) => {
                self.storage.copy(&ObjectKey::Blob(from.repository.clone(), blob.digest), &key, blob.size)?;
                self.tell_stored(&key, blob.size, count);
            }
            BlobAction::Store(content) => {
                let bar = self.progress.layer(&blob.digest.short(), content.size());
                let bar = Arc::new(bar);
                let draft = PutOptions { on_stored: Some(advance(&bar)), ..PutOptions::of(&key, blob.size) };
                let mut upload = self.storage.create(draft)?;
                copy(content, blob, &mut upload, self.limits, &|_| {}).or_fail()?;
                upload.commit(&key)?;
                bar.done();
                self.tell_stored(&key, blob.size, count);
            }
        }
        Ok(())
    }

    fn saved(
        &self,
        set: SavedSet,
        layers: Vec<(Digest, Content, SavedAction)>,
        count: &Mutex<Count>,
    ) -> Result<Stored, Failure> {
        let (at_once, workers) = packing(self.storage.capabilities().upload_limits.single, layers.len());
        let packed = parallel::each(at_once, layers, |(diff_id, content, action)| {
            let (layer, location) = match action {
                SavedAction::Elsewhere(layer, location) => (layer, Some(location)),
                SavedAction::Reuse(known, how) => {
                    let layer = PackedLayer {
                        digest: known.digest,
                        size: known.size,
                        diff_id,
                        packing: raas_image::Packing::Gzip,
                    };
                    self.place(&known.digest, known.size, &how, count)?;
                    (layer, None)
                }
                SavedAction::Pack => (self.pack(&content, diff_id, workers, count)?, None),
            };
            Ok((diff_id, layer, location))
        })?;
        let mut stored = Stored::default();
        let mut layers = BTreeMap::new();
        for (diff_id, layer, location) in packed {
            let entry = BlobEntry { size: layer.size, diff_id: Some(diff_id), location };
            stored.blobs.insert(layer.digest, entry);
            layers.insert(diff_id, layer);
        }
        for image in set.images {
            let chain: Vec<PackedLayer> = image.diff_ids.iter().map(|id| layers[id].clone()).collect();
            let manifest = build_manifest(&image.config, &chain);
            self.add_image(&mut stored, image.tags, &image.config, manifest, image.platform, count)?;
        }
        Ok(stored)
    }

    /// Packs a layer whose plain digest the image's config says.
    fn pack(
        &self,
        content: &Content,
        diff_id: Digest,
        workers: usize,
        count: &Mutex<Count>,
    ) -> Result<PackedLayer, Failure> {
        let bar = self.progress.layer(&diff_id.short(), content.size());
        let mut upload = self.storage.create(PutOptions::default())?;
        let packed =
            pack(content, None, &mut upload, workers, self.limits, &|bytes| bar.advance(bytes)).or_fail()?;
        if packed.diff_id != diff_id {
            let rule = raas_image::Rule::DiffId { expected: diff_id, found: packed.diff_id };
            return Err(failure(raas_image::ImageError::Refused { member: content.name().to_owned(), rule }));
        }
        let key = ObjectKey::Blob(self.name.clone(), packed.blob);
        self.commit_new(upload, &key, packed.blob_size, count)?;
        bar.done();
        Ok(PackedLayer::stored(&packed))
    }

    /// Puts a packed layer in its place, unless an earlier run did.
    pub(super) fn commit_new(
        &self,
        upload: Box<dyn raas_publish::storage::Upload>,
        key: &ObjectKey,
        size: u64,
        count: &Mutex<Count>,
    ) -> Result<(), Failure> {
        if self.held.has(key, size)? {
            note(count, |count| count.present.add(size));
        } else {
            upload.commit(key)?;
            self.tell_stored(key, size, count);
        }
        Ok(())
    }

    /// Sees to it that a blob of the bucket is in this repository.
    pub(super) fn place(
        &self,
        digest: &Digest,
        size: u64,
        how: &BlobAction,
        count: &Mutex<Count>,
    ) -> Result<(), Failure> {
        let key = ObjectKey::Blob(self.name.clone(), *digest);
        match how {
            BlobAction::Copy(from) => {
                self.storage.copy(&ObjectKey::Blob(from.repository.clone(), *digest), &key, size)?;
                self.tell_stored(&key, size, count);
            }
            _ => note(count, |count| count.present.add(size)),
        }
        Ok(())
    }

    /// Stores a made config and takes up the made manifest under its tags.
    fn add_image(
        &self,
        stored: &mut Stored,
        tags: impl IntoIterator<Item = Tag>,
        config: &[u8],
        manifest: Vec<u8>,
        platform: Option<Platform>,
        count: &Mutex<Count>,
    ) -> Result<(), Failure> {
        let config_digest = Digest::of(config);
        let size = config.len() as u64;
        self.small(&ObjectKey::Blob(self.name.clone(), config_digest), config, count)?;
        stored.blobs.insert(config_digest, BlobEntry { size, diff_id: None, location: None });
        let digest = Digest::of(&manifest);
        stored.tags.extend(tags.into_iter().map(|tag| (tag, digest)));
        let media_type = media_type::DOCKER_MANIFEST.to_owned();
        stored.manifests.insert(digest, StoredManifest { bytes: manifest, media_type, platform });
        Ok(())
    }

    pub(super) fn add_built(
        &self,
        stored: &mut Stored,
        tags: impl IntoIterator<Item = Tag>,
        built: BuiltImage,
        count: &Mutex<Count>,
    ) -> Result<(), Failure> {
        self.add_image(stored, tags, &built.config, built.manifest, Some(built.platform), count)
    }

    /// Stores bytes at hand, unless they are there already.
    pub(super) fn small(&self, key: &ObjectKey, content: &[u8], count: &Mutex<Count>) -> Result<(), Failure> {
        let size = content.len() as u64;
        if self.held.put(key, content)? {
            self.tell_stored(key, size, count);
        } else {
            note(count, |count| count.present.add(size));
        }
        Ok(())
    }

    pub(super) fn tell_stored(&self, key: &ObjectKey, size: u64, count: &Mutex<Count>) {
        note(count, |count| count.stored.add(size));
        self.progress.stored(key, size);
    }
}

/// Moves a bar on by what is stored.
fn advance(bar: &Arc<Bar>) -> OnStored {
    let bar = bar.clone();
    Arc::new(move |bytes| bar.advance(bytes))
}

pub(super) fn note(count: &Mutex<Count>, change: impl FnOnce(&mut Count)) {
    change(&mut count.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Layers that are packed at once. What is slow, packing, uses all cores for each.
const PACKED_AT_ONCE: usize = 3;

/// Threads that pack, in all. Each holds some blocks of its layer in memory, so there is a bound.
const PACKERS: usize = 12;

/// How many of these layers to pack at once, where the storage takes so many, and with how many threads for each.
pub(super) fn packing(in_flight: usize, layers: usize) -> (usize, usize) {
    let at_once = in_flight.min(PACKED_AT_ONCE).min(layers).max(1);
    let cores = thread::available_parallelism().map_or(1, usize::from).min(8);
    (at_once, cores.min(PACKERS / at_once))
}
