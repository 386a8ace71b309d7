//! What the operator sets for federation: the section `[redhat]` of the configuration.

use std::path::PathBuf;

use raas_base::Secret;

use super::masks::MaskedLayerName;
use crate::registry::ImageReference;

/// `[redhat]`: the layers that are not stored, and where they are served from.
#[derive(Debug, Clone, Default)]
pub struct FederationSettings {
    /// `mask_layers`: image ids and digests.
    pub mask_layers: Vec<MaskedLayerName>,
    /// `layer_url`: the base URL that they are served from, without a slash at the end.
    pub layer_url: Option<String>,
    /// `mask_images`: base images whose layers are all masked.
    pub mask_images: Vec<BaseImage>,
    /// `registry_username`: for the registries of `mask_images` that ask for one.
    pub registry_username: Option<String>,
    /// `registry_password`.
    pub registry_password: Option<Secret>,
    /// `metadata`: the operator's own documents, which name their layers and where they are.
    pub metadata: Option<DocumentsAddress>,
    /// `metadata_repo`: a git repository of such documents.
    pub metadata_repo: Option<String>,
    /// `metadata_relpath`: the folder in it; without one, all of it.
    pub metadata_relpath: Option<String>,
}

/// Where documents are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentsAddress {
    /// A file or a folder.
    Path(PathBuf),
    /// A document, or a folder with an `index.json`, on a web server; without a slash at the end.
    Url(String),
}

/// A base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseImage {
    /// In a registry that runs.
    Registry(ImageReference),
    /// An OCI image layout, a folder or a tar, all images of which are meant.
    Layout(PathBuf),
}
