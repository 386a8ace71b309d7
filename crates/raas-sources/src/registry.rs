//! Registries that run elsewhere: images in them, the manifests of base images, and whether layers are where they should
//! be.
//!
//! ```text
//! image ──▶ store ──▶ blob, pages ──▶ remote ──▶ connection ──▶ authorization ──▶ challenge, credentials
//!                                                    └──▶ hosts, patience, url
//! client, presence (base images)
//! ```

mod address;
mod authorization;
mod blob;
mod challenge;
mod client;
mod connection;
mod credentials;
mod hosts;
mod image;
mod pages;
mod patience;
mod presence;
mod remote;
mod store;
mod url;

pub use crate::registry_error::RegistryError;
pub use address::RegistryAddress;
pub use authorization::LoginSource;
pub use challenge::Challenge;
pub(crate) use challenge::escaped;
pub use client::Client;
pub(crate) use connection::{Connection, Request};
pub use connection::{RemoteOptions, Transport};
pub use credentials::{Login, find_login, host_key};
pub use image::{WantedImages, read_images};
pub use pages::TagList;
pub use patience::Patience;
pub use presence::{Presence, ask};
pub use raas_types::ImageReference;
pub use remote::Remote;
