//! Registries that run elsewhere, as far as raas reads them: the manifests of base images, and whether layers are
//! where they should be.

mod challenge;
mod client;
mod presence;

pub(crate) use challenge::Challenge;
pub(crate) use client::Client;
pub(crate) use presence::{Presence, ask};
pub(crate) use raas_types::ImageReference;
