//! Crane metadata documents: what a registry publishes about one repository, in the format of Pulp's Crane. raas adds
//! a `raas` object, which a legacy Crane ignores.

mod deprecation;
mod document;
mod extension;
mod image_facts;
mod lint;
pub mod partition;
pub mod tree;
mod unknown_keys;

pub use deprecation::Deprecation;
pub use document::{Content, Document, DocumentError, V1Content, V2Content};
pub use extension::{BlobEntry, ManifestEntry, V1Extension, V1ImageEntry, V2Extension};
pub use image_facts::{HistoryStep, ImageFacts};
pub use lint::{Finding, Severity, lint};
pub use unknown_keys::keep_unknown_keys;
