//! Protected repositories need private content: a login is of no use if everybody can read the bucket.

use std::fmt::Display;

use raas_base::failure::{Failure, Kind};
use raas_types::{BucketAccess, VendorName};

use crate::config::Config;

/// Checks that nobody can read a vendor's content without the registry. `what` is what shall be protected.
///
/// # Errors
/// The bucket is public, or its CDN requires no tokens.
pub(crate) fn check(config: &Config, vendor: &VendorName, what: &dyn Display) -> Result<(), Failure> {
    let settings = config.vendor(vendor);
    if !settings.is_content_public() {
        return Ok(());
    }
    let (why, hint) = match settings.access {
        BucketAccess::Cdn => (
            "the CDN of `access = cdn` requires no tokens",
            format!(
                "set `access = presigned` or the keys of a CDN with tokens in section [{vendor}] of raas.cfg"
            ),
        ),
        _ => (
            "`access = public` lets everybody read the bucket",
            format!(
                "set `access = presigned` or `proxy` in section [{vendor}] of raas.cfg, and take the public read access from the bucket"
            ),
        ),
    };
    Err(Failure::new(Kind::Usage, format!("cannot protect {what}: {why}")).hint(hint))
}
