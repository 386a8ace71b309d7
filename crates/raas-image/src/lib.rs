//! Reads container images of every format that raas accepts into one model, and verifies them while the bytes stream.
//!
//! [`open`] recognises a source by its content and indexes it. [`Archive::choose`] decides which image of the source is
//! meant. [`Archive::read`] reads and checks the metadata of that image. The layers stay in the source, as [`Content`],
//! until [`copy`] or [`pack`] streams them to their destination. Nothing is extracted, and memory does not grow with
//! the image.
//!
//! A [`LayoutWriter`] goes the other way: it writes an OCI image layout, and verifies the blobs as they pass.
//!
//! This crate never prints: notes for the user are part of an [`Image`]. It takes every source for hostile: see
//! [`Limits`] and [`Rule`].

mod archive;
mod assemble;
mod bytes;
mod config_facts;
mod descriptions;
mod diff_id;
mod dir;
mod docker_save;
mod docker_v1;
mod entries;
mod error;
mod gzip;
mod inflate;
mod json;
mod kind;
mod layer_walk;
mod layout;
mod limits;
mod manifests;
mod model;
mod oci;
mod platforms;
mod pulp2;
mod pulp3;
mod recognise;
mod roots;
mod schema2;
mod select;
mod source_name;
mod store;
mod stream;
mod tar_index;
mod tree;
mod v1;

pub use archive::{Archive, Input, open};
pub use assemble::{Attachment, read_store};
pub use bytes::content::{Content, Reopen};
pub use error::{ImageError, Rule};
pub use kind::SourceKind;
pub use layer_walk::{LayerDigest, LayerEntry, LayerEntryKind, walk_layer};
pub use layout::{LayoutError, LayoutIndex, LayoutName, LayoutWriter, NamedManifest};
pub use limits::Limits;
pub use model::{Blob, Image, ManifestItem, ManifestSet, SavedImage, SavedSet, V1Image, V1Set};
pub use roots::cosign_subject;
pub use schema2::{BuiltImage, PackedLayer, build_from_v1, build_manifest};
pub use select::{Selection, Wanted};
pub use store::{Store, StoredManifest};
pub use stream::{Packed, Packing, copy, fingerprint, pack};
