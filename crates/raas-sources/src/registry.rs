//! Registries that run elsewhere: images in them, the manifests of base images, and whether layers are where they should
//! be.
//!
//! ```text
//! image ──▶ store ──▶ blob, pages ──▶ remote ──▶ connection ──▶ authorization ──▶ challenge
//!                                                    └──▶ hosts, patience, url
//! endpoint ──▶ registries, remote
//! upload, signatures ──▶ remote
//! client, presence (base images)
//! ```

mod address;
mod authorization;
mod blob;
mod challenge;
mod client;
mod connection;
mod endpoint;
mod hosts;
mod image;
mod pages;
mod patience;
mod presence;
mod registries;
mod remote;
mod signatures;
mod store;
mod upload;
mod url;

pub use crate::credentials::{Login, PasswordLogin};
pub use crate::registry_error::{RegistryError, said};
pub use address::RegistryAddress;
pub use authorization::LoginSource;
pub use challenge::Challenge;
pub(crate) use challenge::escaped;
pub use client::Client;
pub(crate) use connection::{Connection, Document, JSON, Payload, Repeat, Request};
pub use connection::{RemoteOptions, Transport};
pub use hosts::certificate_folders;
pub use image::{ReadOptions, WantedAttachments, WantedImages, read_images};
pub use pages::TagList;
pub use patience::Patience;
pub use presence::{Presence, ask};
pub use raas_types::ImageReference;
pub use remote::Remote;
pub use signatures::atomic_signatures;
