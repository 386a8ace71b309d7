//! Where images and base layers come from: registries, web servers, git repositories.
//!
//! ```text
//! federation ──▶ registry ──▶ http, credentials, image_failure ──▶ registry_error
//! pulp ─────────────┘        └ location
//! ```
//!
//! The crate knows neither the record nor the storage: it finds and reads, and never stores.

pub mod credentials;
pub mod federation;
pub mod http;
mod image_failure;
mod location;
pub mod pulp;
pub mod registry;
mod registry_error;

pub use image_failure::image_failure;
pub use location::LocationReader;
