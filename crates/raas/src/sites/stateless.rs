//! The sites of a stateless server, from locations that the command line names.

use std::path::PathBuf;

use raas_base::failure::{Failure, Kind};
use raas_server::{AddressError, BaseUrl, Bucket, Metadata, Origin, SiteConfig};
use raas_types::{BucketAccess, VendorName};

use super::{Buckets, Objects, SiteError, cannot_serve, configured_objects, delivery, with_access};
use crate::config::VendorSettings;

/// The location of a vendor's metadata or objects, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocationArgument {
    /// `s3://<bucket>[/<prefix>]`
    S3(String, Option<String>),
    /// `http://…` or `https://…`
    Url(String),
    /// A folder.
    Folder(PathBuf),
}

impl LocationArgument {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            return Ok(LocationArgument::S3(
                bucket.to_owned(),
                (!prefix.is_empty()).then(|| prefix.to_owned()),
            ));
        }
        if text.contains("://") {
            return match BaseUrl::parse(text) {
                Ok(url) => Ok(LocationArgument::Url(url.as_str().to_owned())),
                Err(error) => Err(format!("{error}; expected a URL, s3://BUCKET[/PREFIX] or a folder")),
            };
        }
        Ok(LocationArgument::Folder(text.into()))
    }
}

/// The site of one vendor without a home. If `objects` is missing, the objects are where the vendor's section says, or
/// else where the metadata is.
///
/// # Errors
/// The settings contradict themselves, or the objects have no known location.
pub(crate) fn stateless(
    vendor: &VendorName,
    metadata: &LocationArgument,
    objects: Option<&LocationArgument>,
    settings: &VendorSettings,
    buckets: &Buckets,
) -> Result<SiteConfig, Failure> {
    let objects = match objects.or_else(|| metadata_as_objects(metadata, settings)) {
        Some(location) => objects_at(location, settings, buckets),
        None => configured_objects(settings, buckets),
    };
    let objects = objects.map_err(|error| cannot_serve(vendor, &error))?.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("the objects of {vendor} have no known location"))
            .hint(format!("name it with --bucket, or set `s3_bucket` in [{vendor}] of raas.cfg"))
    })?;
    let metadata =
        metadata_at(metadata, settings, buckets).map_err(|error| cannot_serve(vendor, &error.into()))?;
    let site = SiteConfig::new(vendor.clone(), metadata, objects.bucket);
    Ok(SiteConfig {
        proxy_rules: delivery::proxy_rules(settings, objects.own),
        ..with_access(site, settings)
    })
}

/// The location of the metadata, if the objects are there too because nothing else is set.
fn metadata_as_objects<'a>(
    metadata: &'a LocationArgument,
    settings: &VendorSettings,
) -> Option<&'a LocationArgument> {
    match metadata {
        LocationArgument::S3(..) => Some(metadata),
        LocationArgument::Url(_) if settings.s3_bucket.is_none() => Some(metadata),
        LocationArgument::Url(_) | LocationArgument::Folder(_) => None,
    }
}

/// The objects at a location of the command line.
fn objects_at(
    location: &LocationArgument,
    settings: &VendorSettings,
    buckets: &Buckets,
) -> Result<Option<Objects>, SiteError> {
    match location {
        LocationArgument::Folder(folder) => {
            Ok(Some(Objects { bucket: Bucket::Folder(folder.clone()), own: None }))
        }
        LocationArgument::Url(url) => {
            let bucket = match settings.access {
                BucketAccess::Proxy => Bucket::Proxy(open(url)?),
                BucketAccess::Cdn => {
                    Bucket::Redirect(delivery::cdn(BaseUrl::parse(url)?, &settings.delivery)?)
                }
                BucketAccess::Presigned | BucketAccess::Public => Bucket::Redirect(open(url)?),
            };
            Ok(Some(Objects { bucket, own: Some(open(url)?) }))
        }
        LocationArgument::S3(bucket, prefix) => {
            configured_objects(&with_bucket(settings, bucket, prefix), buckets)
        }
    }
}

/// The metadata at a location of the command line.
fn metadata_at(
    location: &LocationArgument,
    settings: &VendorSettings,
    buckets: &Buckets,
) -> Result<Metadata, AddressError> {
    Ok(match location {
        LocationArgument::Folder(folder) => Metadata::Folder(folder.clone()),
        LocationArgument::Url(url) => Metadata::Snapshots(open(url)?),
        LocationArgument::S3(bucket, prefix) => {
            Metadata::Snapshots(buckets.metadata(&with_bucket(settings, bucket, prefix), bucket)?)
        }
    })
}

fn open(url: &str) -> Result<Origin, AddressError> {
    BaseUrl::parse(url).map(Origin::Open)
}

fn with_bucket(settings: &VendorSettings, bucket: &str, prefix: &Option<String>) -> VendorSettings {
    VendorSettings { s3_bucket: Some(bucket.to_owned()), s3_prefix: prefix.clone(), ..settings.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{settings, shown};
    use super::*;

    #[test]
    fn missing_locations_are_derived_from_the_given_ones() {
        let vendor = "acme".parse().unwrap();
        let none = VendorSettings::default();
        let cfg = settings(BucketAccess::Proxy);
        let table: [(&str, Option<&str>, &VendorSettings, &str, &str); 7] = [
            (
                "s3://m/p",
                None,
                &none,
                "https://m.s3.eu-west-1.amazonaws.com/p",
                "redirect signed https://m.s3.eu-west-1.amazonaws.com/p",
            ),
            ("s3://m/p/", None, &cfg, "http://minio:9000/m/p", "proxy signed http://minio:9000/m/p"),
            ("s3://m", Some("s3://o/q"), &cfg, "http://minio:9000/m", "proxy signed http://minio:9000/o/q"),
            ("https://h/m", None, &none, "https://h/m", "redirect open https://h/m"),
            ("https://h/m", None, &cfg, "https://h/m", "proxy signed http://minio:9000/b/x/y"),
            ("https://h/m", Some("/srv/b"), &cfg, "https://h/m", "folder /srv/b"),
            ("/srv/m", Some("https://h/o"), &cfg, "/srv/m", "proxy open https://h/o"),
        ];
        for (metadata, objects, settings, from, bucket) in table {
            let parse = |text: &str| LocationArgument::parse(text).unwrap();
            let objects = objects.map(parse);
            let site = stateless(&vendor, &parse(metadata), objects.as_ref(), settings, &Buckets::example())
                .unwrap();
            let at = match &site.metadata {
                Metadata::Folder(folder) => folder.display().to_string(),
                Metadata::Snapshots(Origin::Open(base)) => base.as_str().to_owned(),
                Metadata::Snapshots(Origin::Signed(signer)) => signer.address().as_str().to_owned(),
                other => panic!("{other:?}"),
            };
            assert_eq!((at.as_str(), shown(&site.bucket).as_str()), (from, bucket), "{metadata} {objects:?}");
        }
        let folder = LocationArgument::parse("m").unwrap();
        assert!(
            stateless(&vendor, &folder, None, &none, &Buckets::example())
                .unwrap_err()
                .to_string()
                .contains("--bucket")
        );
        assert!(LocationArgument::parse("ftp://x").unwrap_err().contains("s3://"));
        let wrong = LocationArgument::parse("s3://a?b").unwrap();
        assert!(stateless(&vendor, &wrong, None, &none, &Buckets::example()).is_err());
    }
}
