//! The `raas` object of a document: what a server needs to answer from memory, and Crane's own keys do not say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AtomicSignature, Digest, ImageId, Platform, Tag};

/// What raas adds to a document of version 4.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2Extension {
    /// Each tag's manifest.
    pub tags: BTreeMap<Tag, Digest>,
    /// Every manifest of the repository, tagged or not.
    pub manifests: BTreeMap<Digest, ManifestEntry>,
    /// Every config and layer that a manifest names.
    pub blobs: BTreeMap<Digest, BlobEntry>,
    /// The atomic signatures of manifests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signatures: BTreeMap<Digest, Vec<AtomicSignature>>,
}

/// A manifest of the repository; its bytes lie beside the document, under its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// The media type to serve it with.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// What the image runs on, if its config or its index says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// A blob of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobEntry {
    /// Its length in bytes.
    pub size: u64,
    /// For a layer that raas packed: the digest of the plain tar. A later push recognises the layer by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<Digest>,
    /// For a blob that is not in the vendor's bucket (a masked or foreign layer): the URL of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// What raas adds to a document of version 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1Extension {
    /// For each image, the other identities of its layer.
    pub images: BTreeMap<ImageId, V1ImageEntry>,
}

/// A Docker v1 image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1ImageEntry {
    /// Digest of the `layer` file as the source has it.
    pub layer: Digest,
    /// Length of the `layer` file in bytes.
    pub size: u64,
    /// Digest of the layer's plain tar.
    pub diff_id: Digest,
    /// The blob that today's clients pull in place of the layer.
    pub blob: Digest,
    /// Digest of the `json` file, if the bucket has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Digest>,
    /// For a masked image: the URL of the folder with its `layer`, `json` and `ancestry`, without a slash at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}
