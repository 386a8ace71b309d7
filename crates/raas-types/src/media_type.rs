//! Media types of the OCI image-spec 1.1 and of Docker's image manifest version 2, schemas 1 and 2.
//!
//! ```
//! use raas_types::media_type::{self, LayerPacking};
//!
//! assert!(media_type::is_index(media_type::DOCKER_LIST));
//! let layer = "application/vnd.oci.image.layer.v1.tar+zstd";
//! assert_eq!(media_type::layer_packing(layer), Some(LayerPacking::Zstd));
//! ```

/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest, schema 1, signed. raas rejects it.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker's manifest, schema 1, without signature. raas rejects it.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker's image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's layer, a gzipped tar.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's layer, a plain tar.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Whether a manifest of this type lists other manifests.
pub fn is_index(media_type: &str) -> bool {
    media_type == OCI_INDEX || media_type == DOCKER_LIST
}

/// Whether a manifest of this type has a config and layers.
pub fn is_image_manifest(media_type: &str) -> bool {
    media_type == OCI_MANIFEST || media_type == DOCKER_MANIFEST
}

/// Whether the type is that of Docker's schema 1, which today's clients do not pull.
pub fn is_schema1(media_type: &str) -> bool {
    media_type == DOCKER_SCHEMA1 || media_type == DOCKER_SCHEMA1_SIGNED
}

/// Whether a config of this type holds the diff ids of the image's layers.
pub fn is_image_config(media_type: &str) -> bool {
    media_type == OCI_CONFIG || media_type == DOCKER_CONFIG
}

/// The packing of a layer, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerPacking {
    /// A plain tar.
    Plain,
    /// A gzipped tar.
    Gzip,
    /// A tar in Zstandard.
    Zstd,
}

/// The packing of a file system layer of this type; `None` for other content (files of an artifact, an encrypted
/// layer), which raas does not unpack.
pub fn layer_packing(media_type: &str) -> Option<LayerPacking> {
    let docker = media_type.strip_prefix("application/vnd.docker.image.rootfs.");
    let oci = media_type.strip_prefix("application/vnd.oci.image.layer.");
    match (docker, oci) {
        (Some("diff.tar.gzip" | "foreign.diff.tar.gzip"), _)
        | (_, Some("v1.tar+gzip" | "nondistributable.v1.tar+gzip")) => Some(LayerPacking::Gzip),
        (Some("diff.tar" | "foreign.diff.tar"), _) | (_, Some("v1.tar" | "nondistributable.v1.tar")) => {
            Some(LayerPacking::Plain)
        }
        (Some("diff.tar.zstd"), _) | (_, Some("v1.tar+zstd" | "nondistributable.v1.tar+zstd")) => {
            Some(LayerPacking::Zstd)
        }
        _ => None,
    }
}

/// Whether a layer of this type must not be redistributed: clients fetch it from a URL in its manifest.
pub fn is_nondistributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
        || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
}

/// Whether the text is a valid media type for a `Content-Type` header.
///
/// Source: RFC 6838, section 4.2, `type-name "/" subtype-name`.
pub fn is_well_formed(media_type: &str) -> bool {
    let name = |part: &str| {
        (1..=127).contains(&part.len())
            && part.as_bytes()[0].is_ascii_alphanumeric()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    media_type.split_once('/').is_some_and(|(kind, subtype)| name(kind) && name(subtype))
}
