//! A bucket of Amazon S3, or of a service like it, as a [`Storage`](raas_publish::storage::Storage).
//!
//! ```text
//!   S3Settings, AwsSettings          what the operator sets
//!        │
//!        ▼
//!   S3 ──▶ upload ──▶ multipart      small objects are one request, large objects are parts
//!    │        │           │
//!    │        ▼           ▼
//!    │      pool      upload_notes   memory of all uploads; notes for resuming them
//!    │
//!    ├──▶ reader, copy               reading on after a broken connection; copies inside the service
//!    ├──▶ leftovers                  removing unfinished uploads: after an interruption, and of killed runs
//!    ├──▶ bucket ──▶ policy          making a bucket and setting it up
//!    └──▶ client, errors             retries and timeouts; what a refusal means and what to do
//! ```
//!
//! Without the feature `storage` the crate only finds credentials, for servers that sign URLs.
//!
//! No other crate uses AWS's SDK, and no public function has a type of the SDK.

mod aws;
mod credentials;
mod http_client;
#[cfg(feature = "storage")]
mod s3;
mod settings;

pub use credentials::{AwsCredentials, CredentialChain};
#[cfg(feature = "storage")]
pub use s3::{Retries, S3, S3Options};
pub use settings::{AwsSettings, S3Settings};
