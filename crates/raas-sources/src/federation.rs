//! Image federation: what the operator serves itself. Its documents and base images say which layers are masked, and
//! its documents are published in each vendor's registry beside the vendor's own.
//!
//! ```text
//! file, folder ─┐
//! web server   ─┼▶ documents ──▶ complete (manifests, locations) ──┬▶ masks
//! git          ─┘                                                  └▶ the vendor's record, `crane/data/+operator/`
//! registry, layout ──▶ base layers ──────────────────────────────────▶ masks
//! ```

mod base_images;
mod completion;
mod masks;
mod settings;
mod sources;
mod web;

pub use base_images::BaseLayer;
pub use masks::{Mask, MaskedLayerName, Masks};
pub use settings::{BaseImage, DocumentsAddress, FederationSettings};
pub use sources::{OperatorDocument, Sources, Workspace};
