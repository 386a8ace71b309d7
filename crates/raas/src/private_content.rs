//! Protected repositories need private content: a login is of no use if everybody can read the bucket.

use std::fmt::Display;

use raas_base::failure::{Failure, Kind};
use raas_publish::home::Vendor;
use raas_types::crane::tree;
use raas_types::{BucketAccess, VendorName};

use crate::config::Config;

/// Checks that a vendor with customers has private content. Everybody could read the metadata of a public bucket, and so
/// the names of the customers.
///
/// # Errors
/// The vendor has customers, and the bucket is public.
pub(crate) fn check_customers(config: &Config, vendor: &Vendor) -> Result<(), Failure> {
    if !vendor.exists() || !config.vendor(vendor.name()).is_content_public() {
        return Ok(());
    }
    let record = vendor.record();
    let Some(head) = record.head()? else { return Ok(()) };
    if record.files(&head, tree::CUSTOMERS)?.is_empty() {
        return Ok(());
    }
    check(config, vendor.name(), &"the names of customers")
}

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
