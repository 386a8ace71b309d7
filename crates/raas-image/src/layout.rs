//! Writing OCI image layouts, which [`open`](crate::open) reads. Source: OCI image-spec 1.1, image-layout.md.
//!
//! The bytes depend on the content alone: names are in order, and no time or owner is written.

mod index;
mod writer;

pub use index::{LayoutIndex, LayoutName, NamedManifest};
pub(crate) use writer::signature_path;
pub use writer::{LayoutError, LayoutWriter};
