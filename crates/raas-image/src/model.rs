//! The images of a source, in the three shapes of the formats.

use std::collections::BTreeMap;

use raas_types::crane::ImageFacts;
use raas_types::{Digest, ImageId, Manifest, Platform, Tag};

use crate::Content;

/// The images that were chosen of a source. Their metadata has been read and checked; the layers are still in the
/// source.
#[derive(Debug)]
pub enum Image {
    /// The source has manifests, which are published byte for byte (OCI layout, Pulp 3, a docker save of packed
    /// layers).
    Manifests(ManifestSet),
    /// The source has configs and layer tars, from which raas makes manifests (docker save).
    Saved(SavedSet),
    /// The source has Docker v1 images, from which raas makes configs and manifests (Pulp 2, the oldest docker save).
    V1(V1Set),
}

impl Image {
    /// What the user should know about the source.
    pub fn notes(&self) -> &[String] {
        match self {
            Image::Manifests(set) => &set.notes,
            Image::Saved(set) => &set.notes,
            Image::V1(set) => &set.notes,
        }
    }

    pub(crate) fn notes_mut(&mut self) -> &mut Vec<String> {
        match self {
            Image::Manifests(set) => &mut set.notes,
            Image::Saved(set) => &mut set.notes,
            Image::V1(set) => &mut set.notes,
        }
    }

    /// Whether the source says that only users may see the repository.
    pub fn is_protected(&self) -> bool {
        matches!(self, Image::V1(set) if set.protected)
    }

    /// Gives a tag another name. The image must not have the new name yet.
    pub fn rename_tag(&mut self, from: &Tag, to: &Tag) {
        match self {
            Image::Manifests(set) => rename(&mut set.tags, from, to),
            Image::Saved(set) => {
                for tag in set.images.iter_mut().flat_map(|image| &mut image.tags) {
                    if tag == from {
                        tag.clone_from(to);
                    }
                }
            }
            Image::V1(set) => rename(&mut set.tags, from, to),
        }
    }

    /// The tags to publish.
    pub fn tags(&self) -> Vec<Tag> {
        match self {
            Image::Manifests(set) => set.tags.keys().cloned().collect(),
            Image::Saved(set) => set.images.iter().flat_map(|image| image.tags.iter().cloned()).collect(),
            Image::V1(set) => set.tags.keys().cloned().collect(),
        }
    }
}

fn rename<T>(tags: &mut BTreeMap<Tag, T>, from: &Tag, to: &Tag) {
    if let Some(target) = tags.remove(from) {
        tags.insert(to.clone(), target);
    }
}

/// Manifests and their blobs.
#[derive(Debug, Default)]
pub struct ManifestSet {
    /// Each tag's manifest.
    pub tags: BTreeMap<Tag, Digest>,
    /// Every manifest: those of the tags, the manifests that they list, and the attachments of all of these.
    pub manifests: BTreeMap<Digest, ManifestItem>,
    /// The configs and layers of all manifests.
    pub blobs: BTreeMap<Digest, Blob>,
    /// The publication whose layers the source leaves out, if it is an incremental bundle of raas.
    pub since: Option<String>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// A manifest with the right digest.
#[derive(Debug)]
pub struct ManifestItem {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// The bytes, parsed.
    pub manifest: Manifest,
    /// What the image runs on, by its index or its config.
    pub platform: Option<Platform>,
    /// What pages show of the image's config, if the source has the config.
    pub facts: Option<Box<ImageFacts>>,
}

/// A config or layer, as its manifests describe it.
#[derive(Debug, Clone)]
pub struct Blob {
    /// The digest.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
    /// The media type.
    pub media_type: String,
    /// For a layer: the digest of its plain tar in the image's config.
    pub diff_id: Option<Digest>,
    /// Whether all manifests use it as a layer. Only layers can be masked.
    pub layer: bool,
    /// Its URLs outside the registry, for a layer that must not be redistributed.
    pub urls: Vec<String>,
    /// The bytes; `None` if the source does not have them.
    pub content: Option<Content>,
}

/// Images of a docker save archive, whose layers are usually plain tars.
#[derive(Debug, Default)]
pub struct SavedSet {
    /// The images.
    pub images: Vec<SavedImage>,
    /// The layers, by the digests of their plain tars.
    pub layers: BTreeMap<Digest, Content>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// One image of a docker save archive.
#[derive(Debug)]
pub struct SavedImage {
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Its config, byte for byte.
    pub config: Vec<u8>,
    /// The diff ids of its layers, the base first.
    pub diff_ids: Vec<Digest>,
    /// What it runs on.
    pub platform: Option<Platform>,
}

/// Docker v1 images.
#[derive(Debug, Default)]
pub struct V1Set {
    /// Each tag's image.
    pub tags: BTreeMap<Tag, ImageId>,
    /// Every image in the chains of the tags.
    pub images: BTreeMap<ImageId, V1Image>,
    /// Whether the source says that only users may see the repository.
    pub protected: bool,
    /// The URL in the source's own document, below which each image has a folder.
    pub url: Option<String>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// A Docker v1 image: one layer.
#[derive(Debug)]
pub struct V1Image {
    /// The ids from this image to its base.
    pub ancestry: Vec<ImageId>,
    /// Its json file; `None` if the archive does not have it.
    pub json: Option<Content>,
    /// Its layer; `None` if the archive does not have it.
    pub layer: Option<Content>,
}

impl V1Image {
    /// The bytes of the `ancestry` file, as Pulp writes them.
    pub fn ancestry_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.ancestry).expect("ids are text")
    }
}

impl V1Set {
    /// The images of a tag, the base first.
    pub fn chain(&self, top: &ImageId) -> Vec<ImageId> {
        self.images.get(top).map(|image| image.ancestry.iter().rev().copied().collect()).unwrap_or_default()
    }
}
