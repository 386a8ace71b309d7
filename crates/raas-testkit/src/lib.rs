//! Building blocks for the tests of raas: images in every source format, whole or broken in a chosen way, and small
//! servers in place of real ones.
//!
//! A helper that fails panics, because the test cannot continue either.

pub mod docker_save;
pub mod files;
pub mod fixtures;
pub mod generated;
pub mod gpg;
pub mod http;
pub mod kubernetes;
pub mod layers;
pub mod notation;
pub mod oci;
pub mod openshift2;
pub mod otlp;
pub mod pulp2;
pub mod pulp2_server;
pub mod pulp3;
pub mod registry;
pub mod s3;
pub mod schema;
pub mod sigstore;
pub mod snapshot;
pub mod tar;

pub use files::Files;
pub use snapshot::Snapshot;
pub use tar::TarBuilder;
