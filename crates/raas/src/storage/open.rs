//! Which storage a vendor has.

use std::path::PathBuf;

use aws_config::SdkConfig;
use tokio::runtime::Runtime;

use super::s3::{Place, S3};
use super::{Directory, Storage};
use crate::aws;
use crate::config::{Config, VendorSettings};
use crate::failure::{Context as _, Failure, Kind};
use crate::forwarding::forwards;
use crate::home::Vendor;

/// The vendor's storage: the bucket that its section of the configuration names, or the folder in the home.
///
/// # Errors
/// The configuration contradicts itself. Whether a service answers shows when it is asked.
pub(crate) fn open(vendor: &Vendor, config: &Config) -> Result<Box<dyn Storage>, Failure> {
    let settings = config.vendor(vendor.name());
    Ok(match &settings.s3_bucket {
        Some(bucket) => Box::new(s3(vendor, config, &settings, bucket, S3::new)?),
        None => Box::new(Directory::new(vendor.bucket())),
    })
}

/// As [`open`], for commands that can do without it: they are told soon that a service does not answer.
pub(crate) fn open_to_read(vendor: &Vendor, config: &Config) -> Result<Box<dyn Storage>, Failure> {
    let settings = config.vendor(vendor.name());
    Ok(match &settings.s3_bucket {
        Some(bucket) => Box::new(s3(vendor, config, &settings, bucket, S3::hasty)?),
        None => Box::new(Directory::new(vendor.bucket())),
    })
}

fn s3(
    vendor: &Vendor,
    config: &Config,
    settings: &VendorSettings,
    bucket: &str,
    new: fn(Runtime, &SdkConfig, Place, PathBuf) -> S3,
) -> Result<S3, Failure> {
    let runtime = S3::runtime().context(|| "cannot start threads".into())?;
    let loaded = runtime.block_on(aws::load(&config.aws, settings.s3_region.as_deref()))?;
    let region = loaded.region().map_or("us-east-1", |region| region.as_ref());
    let endpoint = settings.s3_endpoint.as_deref().or(loaded.endpoint_url());
    let place = Place::new(vendor.name(), bucket, settings, region, endpoint);
    for registry in &settings.registry_hosts {
        refuse_below(registry.as_str(), &place)?;
    }
    Ok(new(runtime, &loaded, place, vendor.uploads()))
}

/// Many clients forward the registry's credentials to hosts below the registry's own, and a bucket refuses requests
/// that carry somebody else's. Where the server passes the bytes on, no client is sent there.
fn refuse_below(registry: &str, place: &Place) -> Result<(), Failure> {
    let host = place.host();
    if !place.sends_clients() || !forwards(registry, &host) {
        return Ok(());
    }
    let message = format!(
        "objects are served from {host}, which is below the registry's own host {registry}: docker and other Go \
         clients would send the registry's credentials there, and be refused"
    );
    Err(Failure::new(Kind::Usage, message)
        .hint("serve the objects from a host beside the registry's, and not below it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Access;

    #[test]
    fn no_client_takes_the_registrys_credentials_to_a_bucket() {
        use Access::{Cdn, Presigned, Proxy, Public};
        let (below, same) = ("https://s3.registry.acme.com", "https://registry.acme.com:9000");
        let beside = "https://s3.acme.com";
        let table = [
            (below, Presigned, None, true),
            (below, Public, None, true),
            (same, Presigned, None, true),
            ("https://S3.Registry.Acme.COM", Presigned, None, true),
            ("https://acme.com", Presigned, None, false),
            (beside, Presigned, None, false),
            ("https://badregistry.acme.com", Presigned, None, false),
            // The bytes come from the registry itself.
            (below, Proxy, None, false),
            // Clients are sent to the CDN alone.
            (below, Cdn, Some("https://cdn.acme.com"), false),
            (beside, Cdn, Some("https://cdn.registry.acme.com/x"), true),
        ];
        for (endpoint, access, cdn, refused) in table {
            let settings = VendorSettings {
                access,
                cdn_url: cdn.map(str::to_owned),
                s3_path_style: access != Public,
                ..VendorSettings::default()
            };
            let place = Place::new(&"acme".parse().unwrap(), "b", &settings, "us-east-1", Some(endpoint));
            let found = refuse_below("registry.acme.com", &place);
            assert_eq!(found.is_err(), refused, "{endpoint} {access:?} {cdn:?}");
        }
    }
}
