//! Image federation: what the operator serves itself. Its documents say which layers are masked, and are published
//! in each vendor's registry beside the vendor's own.

mod documents;
mod sources;

pub(crate) use documents::OperatorDocuments;
pub(crate) use sources::{OperatorDocument, Sources};
