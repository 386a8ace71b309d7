//! Registries that run elsewhere, as far as raas reads them: the manifests of base images, and whether layers are
//! where they should be.

mod challenge;
mod client;
mod presence;

pub use challenge::Challenge;
pub use client::Client;
pub use presence::{Presence, ask};
pub use raas_types::ImageReference;
