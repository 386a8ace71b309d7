//! The place of `kubernetes.rs` in a build without the feature `kubernetes`: each use of a cluster is an error that names the
//! feature.

use raas_base::failure::{Failure, Kind};
use raas_types::VendorName;

use super::{Chosen, Replica};
use crate::config::Config;

pub(super) fn open<'a>(_: &'a Config, vendor: &'a VendorName, _: bool) -> Result<Chosen<'a>, Failure> {
    Err(missing(vendor))
}

pub(super) fn check_settings(_: &Config, vendor: &VendorName) -> Result<(), Failure> {
    Err(missing(vendor))
}

pub(crate) fn preview(_: &Config, vendor: &VendorName, _: bool) -> Result<Vec<String>, Failure> {
    Err(missing(vendor))
}

pub(crate) fn manifests(_: &Config, vendor: &VendorName) -> Result<String, Failure> {
    Err(missing(vendor))
}

pub(crate) fn made(_: &Config, vendor: &VendorName) -> Result<Vec<String>, Failure> {
    Err(missing(vendor))
}

pub(super) fn replicas(_: &Config, vendor: &VendorName) -> Result<Vec<Replica>, Failure> {
    Err(missing(vendor))
}

fn missing(vendor: &VendorName) -> Failure {
    let message =
        format!("the servers of {vendor} run in a cluster, but this raas was built without Kubernetes");
    Failure::new(Kind::Usage, message)
        .hint("build raas with its default features: cargo install --path crates/raas --locked")
}
