//! The place of `from_home.rs` in a raas that only serves, which has no home.

use std::path::PathBuf;

use raas_base::failure::{Failure, Kind};
use raas_types::VendorName;

use super::tls::TlsArgs;
use super::{Server, Threads};
use crate::config::Config;
use crate::sites::Buckets;

/// A server without a home has no registration.
pub(super) enum KeptRegistration {}

impl KeptRegistration {
    pub(super) fn end(self) {
        match self {}
    }
}

/// What a server of a home would be made of.
pub(super) struct FromHome<'a> {
    pub(super) home: Option<PathBuf>,
    pub(super) config: &'a Config,
    pub(super) vendors: Vec<VendorName>,
    pub(super) buckets: Buckets,
    pub(super) tls: &'a TlsArgs,
}

impl FromHome<'_> {
    pub(super) fn serve(self, _: Server<'_>, _: &Threads) -> Result<(), Failure> {
        Err(Failure::new(
            Kind::Usage,
            "this raas only serves what others publish, and nothing says where that is",
        )
        .hint(
            "serve the vendors of a configuration with --from-config, or one place with --metadata ISV=PLACE",
        ))
    }
}
