//! The place of `kubernetes.rs` in a build without the feature `kubernetes`: each use of a cluster is an error that names the
//! feature.

use raas_base::failure::{Failure, Kind};
use raas_types::VendorName;

use super::{Chosen, Looked};
use crate::config::Config;

pub(super) fn open<'a>(_: &'a Config, vendor: Option<&VendorName>, _: bool) -> Result<Chosen<'a>, Failure> {
    Err(missing(vendor))
}

pub(super) fn check_settings(_: &Config, vendor: Option<&VendorName>) -> Result<(), Failure> {
    Err(missing(vendor))
}

pub(crate) fn preview(_: &Config, vendor: Option<&VendorName>, _: bool) -> Result<Vec<String>, Failure> {
    Err(missing(vendor))
}

pub(crate) fn manifests(_: &Config, vendor: Option<&VendorName>) -> Result<String, Failure> {
    Err(missing(vendor))
}

pub(super) fn made(_: &Config, vendor: Option<&VendorName>) -> Result<Vec<String>, Failure> {
    Err(missing(vendor))
}

pub(super) fn look(_: &Config, vendor: &VendorName) -> Result<Looked, Failure> {
    Err(missing(Some(vendor)))
}

fn missing(vendor: Option<&VendorName>) -> Failure {
    let servers = vendor.map_or("the fleet runs".to_owned(), |vendor| format!("the servers of {vendor} run"));
    Failure::new(Kind::Usage, format!("{servers} in a cluster, but this raas was built without Kubernetes"))
        .hint("build raas with its default features: cargo install --path crates/raas --locked")
}
