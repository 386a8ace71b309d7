//! Federation: the documents and base images of the operator say which layers are masked, and the location of each. The
//! operator's documents are also published in each vendor's registry.
//!
//! ```text
//! file, folder ─┐
//! web server   ─┼▶ documents ──▶ completion (manifests, locations) ─┬▶ masks
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
pub use settings::{BaseImage, DocumentsAddress, FederationSettings, MaskedWithoutLocation};
pub use sources::{OperatorDocument, Sources, Workspace};
