//! A bucket of Amazon S3, or of a service like it, as a [`Storage`](raas_publish::storage::Storage).
//!
//! This is the one crate of raas that knows the cloud's SDK: its types leave by no function.

mod aws;
mod credentials;
mod s3;
mod settings;

pub use credentials::{AwsCredentials, CredentialChain};
pub use s3::S3;
pub use settings::{AwsSettings, S3Settings};
