//! Stores the content of a plan, several layers at a time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use raas_image::{
    Blob, BuiltImage, Content, Limits, ManifestSet, PackedLayer, SavedSet, build_manifest, copy, pack,
};
use raas_types::crane::{BlobEntry, ImageFacts, V1ImageEntry};
use raas_types::{Digest, ImageId, Manifest, ObjectKey, Platform, RepositoryName, Tag, media_type};

use super::image_failure::{OrFail as _, failure};
use super::plan::{BlobAction, Plan, PlannedImage, SavedAction};
use super::report::{Counted, Report};
use super::source::Signatures;
use super::untagged::untagged;
use crate::progress::{Bar, Progress};
use crate::traces;
use raas_base::failure::Failure;
use raas_base::parallel;
use raas_publish::repository_listing::RepositoryListing;
use raas_publish::storage::{OnStored, PutOptions, Storage};

/// Stores the content of one push.
pub(super) struct Transfer<'a> {
    pub(super) name: &'a RepositoryName,
    pub(super) storage: &'a dyn Storage,
    pub(super) listing: &'a RepositoryListing<'a>,
    pub(super) limits: &'a Limits,
    pub(super) progress: &'a Progress,
    /// The folder for temporary files.
    pub(super) spool: &'a Path,
    /// The span of the transfer: layers are stored in threads of their own.
    pub(super) span: traces::Parent,
}

/// The stored content, from which the documents are composed.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) tags: BTreeMap<Tag, Digest>,
    pub(super) manifests: BTreeMap<Digest, StoredManifest>,
    pub(super) blobs: BTreeMap<Digest, BlobEntry>,
    /// The atomic signatures of the manifests.
    pub(super) signatures: Signatures,
    /// The Docker v1 content, if the source is a Docker v1 export.
    pub(super) v1: Option<StoredV1>,
}

impl Stored {
    /// The image to pull if no tag names it.
    pub(super) fn untagged(&self) -> Option<Digest> {
        let parse = |stored: &StoredManifest| Manifest::parse(&stored.bytes, Some(&stored.media_type)).ok();
        let parsed: Vec<(Digest, Manifest)> =
            self.manifests.iter().filter_map(|(digest, stored)| Some((*digest, parse(stored)?))).collect();
        let manifests: Vec<_> = parsed.iter().map(|(digest, manifest)| (*digest, manifest)).collect();
        untagged(&manifests, self.tags.values())
    }
}

/// A manifest to publish.
#[derive(Debug)]
pub(super) struct StoredManifest {
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: String,
    pub(super) platform: Option<Platform>,
    /// What pages show of the image's config.
    pub(super) facts: Option<Box<ImageFacts>>,
}

/// Docker v1 images to publish.
#[derive(Debug, Default)]
pub(super) struct StoredV1 {
    pub(super) tags: BTreeMap<Tag, ImageId>,
    pub(super) images: BTreeMap<ImageId, V1ImageEntry>,
}

/// What the push stored, and what the bucket had already. Several threads add to it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) stored: Counted,
    pub(super) present: Counted,
}

impl Transfer<'_> {
    /// Stores the layers, then the configs that raas makes from them. No document refers to them yet.
    pub(super) fn run(&self, plan: Plan, report: &mut Report) -> Result<Stored, Failure> {
        let tally = Mutex::new(Tally::default());
        let stored = match plan.image {
            PlannedImage::Manifests(set, blobs) => self.manifests(set, blobs, &tally),
            PlannedImage::Saved(set, layers) => self.saved(set, layers, &tally),
            PlannedImage::V1(set, images) => self.v1(&set, images, &tally),
        }?;
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        (report.stored, report.present) = (tally.stored, tally.present);
        Ok(stored)
    }

    fn manifests(
        &self,
        set: ManifestSet,
        blobs: Vec<(Blob, BlobAction)>,
        tally: &Mutex<Tally>,
    ) -> Result<Stored, Failure> {
        let entries =
            parallel::each(self.storage.capabilities().upload_limits.single, blobs, |(blob, action)| {
                let location = match &action {
                    BlobAction::Elsewhere(location) => Some(location.clone()),
                    _ => None,
                };
                self.blob(&blob, &action, tally)?;
                Ok((blob.digest, BlobEntry { size: blob.size, diff_id: None, location }))
            })?;
        let manifests = set.manifests.into_iter().map(|(digest, item)| {
            let media_type = item.manifest.media_type;
            let (platform, facts) = (item.platform, item.facts);
            (digest, StoredManifest { bytes: item.bytes, media_type, platform, facts })
        });
        Ok(Stored {
            tags: set.tags,
            manifests: manifests.collect(),
            blobs: entries.into_iter().collect(),
            signatures: Signatures::new(),
            v1: None,
        })
    }

    fn blob(&self, blob: &Blob, action: &BlobAction, tally: &Mutex<Tally>) -> Result<(), Failure> {
        let key = ObjectKey::Blob(self.name.clone(), blob.digest);
        match action {
            BlobAction::Elsewhere(_) => {}
            BlobAction::Present => add_to(tally, |tally| tally.present.add(blob.size)),
            BlobAction::Copy(from) => {
                let from = ObjectKey::Blob(from.repository.clone(), blob.digest);
                self.copy(&from, &key, blob.size, tally)?;
            }
            BlobAction::Store(content) => self.span.stage("store blob", || {
                traces::set("raas.digest", blob.digest.to_string());
                traces::set("raas.bytes", blob.size);
                let bar = self.progress.layer(&blob.digest.short(), content.size());
                let bar = Arc::new(bar);
                let options =
                    PutOptions { on_stored: Some(advance(&bar)), ..PutOptions::of(&key, blob.size) };
                let mut upload = self.storage.create(options)?;
                copy(content, blob, &mut upload, self.limits, &|_| {}).or_fail()?;
                upload.commit(&key)?;
                bar.done();
                self.count_stored(&key, blob.size, tally);
                Ok(())
            })?,
        }
        Ok(())
    }

    fn saved(
        &self,
        set: SavedSet,
        layers: Vec<(Digest, Content, SavedAction)>,
        tally: &Mutex<Tally>,
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
                    self.reuse(&known.digest, known.size, &how, tally)?;
                    (layer, None)
                }
                SavedAction::Pack => {
                    let pack = || self.pack(&content, diff_id, workers, tally);
                    (self.span.stage("pack layer", pack)?, None)
                }
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
            self.add_image(&mut stored, image.tags, &image.config, manifest, image.platform, tally)?;
        }
        Ok(stored)
    }

    /// Packs a layer and stores it. Fails if the unpacked layer does not have the digest `diff_id`, which the image's
    /// config names.
    fn pack(
        &self,
        content: &Content,
        diff_id: Digest,
        workers: usize,
        tally: &Mutex<Tally>,
    ) -> Result<PackedLayer, Failure> {
        traces::set("raas.diff_id", diff_id.to_string());
        let bar = self.progress.layer(&diff_id.short(), content.size());
        let mut upload = self.storage.create(PutOptions::default())?;
        let packed =
            pack(content, None, &mut upload, workers, self.limits, &|bytes| bar.advance(bytes)).or_fail()?;
        traces::set("raas.digest", packed.blob.to_string());
        traces::set("raas.bytes", packed.blob_size);
        if packed.diff_id != diff_id {
            let rule = raas_image::Rule::DiffId { expected: diff_id, found: packed.diff_id };
            return Err(failure(raas_image::ImageError::Refused { member: content.name().to_owned(), rule }));
        }
        let key = ObjectKey::Blob(self.name.clone(), packed.blob);
        self.commit_new(upload, &key, packed.blob_size, tally)?;
        bar.done();
        Ok(PackedLayer::stored(&packed))
    }

    /// Finishes the upload of a packed layer, unless the repository has the blob.
    pub(super) fn commit_new(
        &self,
        upload: Box<dyn raas_publish::storage::Upload>,
        key: &ObjectKey,
        size: u64,
        tally: &Mutex<Tally>,
    ) -> Result<(), Failure> {
        if self.listing.has(key, size)? {
            add_to(tally, |tally| tally.present.add(size));
        } else {
            upload.commit(key)?;
            self.count_stored(key, size, tally);
        }
        Ok(())
    }

    /// Copies an object within the bucket.
    pub(super) fn copy(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        size: u64,
        tally: &Mutex<Tally>,
    ) -> Result<(), Failure> {
        self.span.stage("copy object", || {
            traces::set("raas.object", to.to_string());
            traces::set("raas.bytes", size);
            self.storage.copy(from, to, size)?;
            self.count_stored(to, size, tally);
            Ok(())
        })
    }

    /// Makes sure that this repository has a blob that is in the bucket.
    fn reuse(
        &self,
        digest: &Digest,
        size: u64,
        how: &BlobAction,
        tally: &Mutex<Tally>,
    ) -> Result<(), Failure> {
        let key = ObjectKey::Blob(self.name.clone(), *digest);
        match how {
            BlobAction::Copy(from) => {
                self.copy(&ObjectKey::Blob(from.repository.clone(), *digest), &key, size, tally)?;
            }
            _ => add_to(tally, |tally| tally.present.add(size)),
        }
        Ok(())
    }

    /// Stores the config of an image, and adds the manifest that raas made for it under the tags.
    fn add_image(
        &self,
        stored: &mut Stored,
        tags: impl IntoIterator<Item = Tag>,
        config: &[u8],
        manifest: Vec<u8>,
        platform: Option<Platform>,
        tally: &Mutex<Tally>,
    ) -> Result<(), Failure> {
        let config_digest = Digest::of(config);
        let size = config.len() as u64;
        self.put_small(&ObjectKey::Blob(self.name.clone(), config_digest), config, tally)?;
        stored.blobs.insert(config_digest, BlobEntry { size, diff_id: None, location: None });
        let digest = Digest::of(&manifest);
        stored.tags.extend(tags.into_iter().map(|tag| (tag, digest)));
        let media_type = media_type::DOCKER_MANIFEST.to_owned();
        let facts = ImageFacts::of_config(config).map(Box::new);
        stored.manifests.insert(digest, StoredManifest { bytes: manifest, media_type, platform, facts });
        Ok(())
    }

    pub(super) fn add_built(
        &self,
        stored: &mut Stored,
        tags: impl IntoIterator<Item = Tag>,
        built: BuiltImage,
        tally: &Mutex<Tally>,
    ) -> Result<(), Failure> {
        self.add_image(stored, tags, &built.config, built.manifest, Some(built.platform), tally)
    }

    /// Stores a small object, unless the repository has it.
    pub(super) fn put_small(
        &self,
        key: &ObjectKey,
        content: &[u8],
        tally: &Mutex<Tally>,
    ) -> Result<(), Failure> {
        let size = content.len() as u64;
        if self.listing.put(key, content)? {
            self.count_stored(key, size, tally);
        } else {
            add_to(tally, |tally| tally.present.add(size));
        }
        Ok(())
    }

    pub(super) fn count_stored(&self, key: &ObjectKey, size: u64, tally: &Mutex<Tally>) {
        add_to(tally, |tally| tally.stored.add(size));
        self.progress.stored(key, size);
    }
}

/// A callback that advances the bar by the stored bytes.
fn advance(bar: &Arc<Bar>) -> OnStored {
    let bar = bar.clone();
    Arc::new(move |bytes| bar.advance(bytes))
}

pub(super) fn add_to(tally: &Mutex<Tally>, change: impl FnOnce(&mut Tally)) {
    change(&mut tally.lock().unwrap_or_else(PoisonError::into_inner));
}

/// The most layers that are packed at once. Packing one layer already uses several cores.
const PACKED_AT_ONCE: usize = 3;

/// The most threads that pack, for all layers together. The limit bounds memory, since each thread holds blocks of its
/// layer.
const PACKERS: usize = 12;

/// How many layers to pack at once, and with how many threads for each layer. `in_flight` is the storage's limit of
/// concurrent uploads.
pub(super) fn packing(in_flight: usize, layers: usize) -> (usize, usize) {
    let at_once = in_flight.min(PACKED_AT_ONCE).min(layers).max(1);
    let cores = thread::available_parallelism().map_or(1, usize::from).min(8);
    (at_once, cores.min(PACKERS / at_once))
}
