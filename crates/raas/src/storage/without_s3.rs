//! The place of `s3.rs` in a build without the feature `s3`: each use of a bucket is an error that names the feature.

use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Vendor;
use raas_publish::storage::Storage;

use crate::config::Config;

/// Whether the command can do without the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurry {
    Yes,
    No,
}

pub(crate) fn open(
    vendor: &Vendor,
    _config: &Config,
    _say: &Say,
    _hurry: Hurry,
) -> Result<Box<dyn Storage>, Failure> {
    Err(missing(&format!("the objects of {} are in an S3 bucket", vendor.name())))
}

/// The failure for a use of a bucket in a build without S3.
pub(crate) fn missing(what: &str) -> Failure {
    Failure::new(Kind::Usage, format!("{what}, but this raas was built without S3"))
        .hint("build raas with its default features: cargo install --path crates/raas --locked")
}
