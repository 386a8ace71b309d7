//! Types for the terms of raas: digests, names, tags, media types, manifests, object keys and Crane documents.
//!
//! raas parses text from outside (a command line, an archive, a document, a request) once, at its entry; a value of one
//! of these types is proof that the text was valid. This crate does no input or output.
//!
//! [`url`] takes URLs apart, and [`forwarding`] says what clients do on a redirect.

pub mod access;
mod bucket_access;
mod certificate;
mod checksum_policy;
pub mod crane;
mod digest;
pub mod forwarding;
mod host_name;
mod image_id;
mod image_reference;
mod location;
mod manifest;
pub mod media_type;
mod name;
mod null;
mod object_key;
mod pointer;
pub mod pulls;
mod reference;
mod repository_pattern;
mod signature;
mod static_key;
mod tag_order;
mod text_type;
pub mod url;
mod utc;

pub use bucket_access::BucketAccess;
pub use certificate::{CertificateExtension, Validity};
pub use checksum_policy::ChecksumPolicy;
pub use digest::{Digest, DigestError, Sha256};
pub use host_name::{HostName, HostNameError};
pub use image_id::{ImageId, ImageIdError};
pub use image_reference::{ImageReference, ImageReferenceError};
pub use location::{Location, LocationError};
pub use manifest::{Descriptor, Manifest, ManifestBody, ManifestError, Platform, PlatformError};
pub use name::{NameError, RepositoryName, VendorName};
pub use null::null_as_default;
pub use object_key::{ObjectKey, V1File};
pub use pointer::{HistoryPiece, Part, Pointer, PointerError};
pub use reference::{ImageArgument, ImageArgumentError, Reference, ReferenceError, Tag, TagError};
pub use repository_pattern::{RepositoryPattern, RepositoryPatternError};
pub use signature::{AtomicSignature, SignatureError};
pub use static_key::StaticKey;
pub use tag_order::{DatedTag, TagVersion, preferred_tag, tag_order};
pub use utc::{Utc, UtcError};
