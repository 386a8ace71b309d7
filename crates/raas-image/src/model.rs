//! What a source turns out to hold, in the three shapes that formats have.

use std::collections::BTreeMap;

use raas_types::{Digest, ImageId, Manifest, Platform, Tag};

use crate::Content;

/// The image of a source: its metadata read and checked, its layers still where they are.
#[derive(Debug)]
pub enum Image {
    /// Manifests exist and are published byte for byte (OCI layout, Pulp 3, a docker save of packed layers).
    Manifests(ManifestSet),
    /// Configs exist, layers are tars, manifests are made (docker save).
    Saved(SavedSet),
    /// Docker v1 images, of which everything is made (Pulp 2, the oldest docker save).
    V1(V1Set),
}

impl Image {
    /// What people should be told of the source beside its content.
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

    /// The tags that are to be published.
    pub fn tags(&self) -> Vec<Tag> {
        match self {
            Image::Manifests(set) => set.tags.keys().cloned().collect(),
            Image::Saved(set) => set.images.iter().flat_map(|image| image.tags.iter().cloned()).collect(),
            Image::V1(set) => set.tags.keys().cloned().collect(),
        }
    }
}

/// Manifests and the blobs that they name.
#[derive(Debug, Default)]
pub struct ManifestSet {
    /// Each tag's manifest.
    pub tags: BTreeMap<Tag, Digest>,
    /// Every manifest: those of the tags, what they list, and what is attached to them.
    pub manifests: BTreeMap<Digest, ManifestItem>,
    /// Every config and layer that a manifest names.
    pub blobs: BTreeMap<Digest, Blob>,
    /// What people should be told.
    pub notes: Vec<String>,
}

/// A manifest, its digest checked.
#[derive(Debug)]
pub struct ManifestItem {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub manifest: Manifest,
    /// What the image runs on, as its config says.
    pub platform: Option<Platform>,
}

/// A config or layer, as manifests describe it.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// For a layer: the digest that its plain tar must have, as the config says.
    pub diff_id: Option<Digest>,
    /// Whether a manifest names it as a layer: only layers are masked.
    pub layer: bool,
    /// Where else it can be had, for layers that must not be redistributed.
    pub urls: Vec<String>,
    /// Its bytes; `None` where the source does not have them.
    pub content: Option<Content>,
}

/// Images of a docker save archive, whose layers are plain tars as a rule.
#[derive(Debug, Default)]
pub struct SavedSet {
    /// The images.
    pub images: Vec<SavedImage>,
    /// The layers, by the digest of their plain tar.
    pub layers: BTreeMap<Digest, Content>,
    /// What people should be told.
    pub notes: Vec<String>,
}

/// One image of a docker save archive.
#[derive(Debug)]
pub struct SavedImage {
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Its config, byte for byte.
    pub config: Vec<u8>,
    /// Its layers' diff ids, the base first.
    pub diff_ids: Vec<Digest>,
    /// What it runs on.
    pub platform: Option<Platform>,
}

/// Docker v1 images.
#[derive(Debug, Default)]
pub struct V1Set {
    /// Each tag's image.
    pub tags: BTreeMap<Tag, ImageId>,
    /// Every image that a tag leads to.
    pub images: BTreeMap<ImageId, V1Image>,
    /// What people should be told.
    pub notes: Vec<String>,
}

/// A Docker v1 image: one layer.
#[derive(Debug)]
pub struct V1Image {
    /// The ids from this image to its base.
    pub ancestry: Vec<ImageId>,
    /// Its json file; `None` where the archive does not have it.
    pub json: Option<Content>,
    /// Its layer; `None` where the archive does not have it.
    pub layer: Option<Content>,
}

impl V1Image {
    /// The `ancestry` file's bytes, as Pulp writes it.
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
