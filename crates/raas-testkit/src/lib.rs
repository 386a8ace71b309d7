//! What the tests of raas are made of: images in every source format, whole or broken in a chosen way, and small
//! servers that stand in for real ones.
//!
//! A helper that cannot do its work panics, since the test that called it cannot go on either.

pub mod docker_save;
pub mod files;
pub mod fixtures;
pub mod http;
pub mod layers;
pub mod oci;
pub mod pulp2;
pub mod s3;
pub mod snapshot;
pub mod tar;

pub use files::Files;
pub use snapshot::Snapshot;
pub use tar::TarBuilder;
