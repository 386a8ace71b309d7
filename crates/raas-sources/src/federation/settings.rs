//! The operator's settings for federation: the section `[redhat]` of the configuration.

use std::path::PathBuf;

use raas_base::Secret;

use super::masks::MaskedLayerName;
use crate::registry::ImageReference;

/// `[redhat]`: the masked layers, and their locations.
#[derive(Debug, Clone, Default)]
pub struct FederationSettings {
    /// `mask_layers`: image ids and digests of masked layers.
    pub mask_layers: Vec<MaskedLayerName>,
    /// `layer_url`: the base URL of masked layers, without a slash at the end.
    pub layer_url: Option<String>,
    /// `masked_without_location`: what a push does with a masked layer without a location.
    pub masked_without_location: MaskedWithoutLocation,
    /// `mask_images`: base images, all of whose layers are masked.
    pub mask_images: Vec<BaseImage>,
    /// `registry_username`: the user name for registries of `mask_images` that require a login.
    pub registry_username: Option<String>,
    /// `registry_password`: the password of that user.
    pub registry_password: Option<Secret>,
    /// `metadata`: the operator's documents.
    pub metadata: Option<DocumentsAddress>,
    /// `metadata_repo`: the address of a git repository with documents of the operator.
    pub metadata_repo: Option<String>,
    /// `metadata_relpath`: the folder in that repository; without it, the whole repository.
    pub metadata_relpath: Option<String>,
}

/// What a push does with a masked layer without a location.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MaskedWithoutLocation {
    /// It rejects the image.
    #[default]
    Refuse,
    /// It publishes the image with a warning: clients cannot pull the image until the location is known.
    Warn,
}

/// Where documents are read from.
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
    /// An image in a registry.
    Registry(ImageReference),
    /// All images of an OCI image layout, which is a folder or a tar.
    Layout(PathBuf),
}
