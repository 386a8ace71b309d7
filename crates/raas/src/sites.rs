//! Makes the sites of the server from the operator's configuration.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use raas_server::{
    AddressError, BaseUrl, Bucket, CdnError, Metadata, Origin, ProxyRules, SiteConfig, SiteSource,
};
use raas_types::VendorName;

use crate::config::{Aws, Config, CraneConf, VendorSettings};
use raas_base::failure::{Failure, Kind};
use raas_publish::home::{Home, Vendor};
use raas_types::BucketAccess;

mod buckets;
mod delivery;

pub(crate) use buckets::Buckets;
use buckets::cdn;

/// The file of users in a vendor's folder, as `htpasswd -B` writes it.
pub(crate) const USERS: &str = "htpasswd";

/// The vendors of a home as sites of the server.
pub(crate) struct HomeSites {
    home: Home,
    config: Config,
    /// The vendors to serve. If it is empty, all vendors are served.
    only: Vec<VendorName>,
    buckets: Buckets,
    /// The deliveries that were made from the vendors' sections.
    deliveries: Mutex<BTreeMap<VendorName, VendorDelivery>>,
}

/// How a vendor's bytes reach its clients.
#[derive(Debug, Clone)]
struct VendorDelivery {
    /// `None` for a vendor whose objects are in the home.
    bucket: Option<Bucket>,
    proxy_rules: Option<ProxyRules>,
}

impl HomeSites {
    /// The named vendors of a home, or all if none is named.
    ///
    /// # Errors
    /// The section of a named vendor describes no usable bucket.
    pub(crate) fn new(
        home: &Home,
        config: &Config,
        only: Vec<VendorName>,
        buckets: Buckets,
    ) -> Result<Self, Failure> {
        let (home, config, deliveries) = (home.clone(), config.clone(), Mutex::default());
        let sites = Self { home, config, only, buckets, deliveries };
        for name in &sites.only {
            sites.delivery(name)?;
        }
        Ok(sites)
    }

    pub(crate) fn vendors(&self) -> io::Result<Vec<Vendor>> {
        if self.only.is_empty() {
            return self.home.vendors();
        }
        Ok(self.only.iter().map(|name| self.home.vendor(name)).collect())
    }

    fn site(&self, vendor: &Vendor) -> io::Result<SiteConfig> {
        let settings = self.config.vendor(vendor.name());
        let VendorDelivery { bucket, proxy_rules } =
            self.delivery(vendor.name()).map_err(|failure| io::Error::other(failure.to_string()))?;
        let site = SiteConfig::new(
            vendor.name().clone(),
            Metadata::Folder(vendor.checkout().folder().to_owned()),
            bucket.unwrap_or_else(|| Bucket::Folder(vendor.bucket())),
        );
        Ok(SiteConfig {
            users: Some(vendor.folder().join(USERS)).filter(|file| file.is_file()),
            proxy_rules,
            ..with_access(site, &settings)
        })
    }

    /// The vendor's delivery. The server asks at every poll, but the delivery is made only once: reading the key of a CDN
    /// is slow, and the configuration does not change.
    fn delivery(&self, vendor: &VendorName) -> Result<VendorDelivery, Failure> {
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(delivery) = deliveries.get(vendor) {
            return Ok(delivery.clone());
        }
        let settings = self.config.vendor(vendor);
        let objects =
            configured_objects(&settings, &self.buckets).map_err(|error| cannot_serve(vendor, &error))?;
        let (bucket, own) = objects.map_or((None, None), |objects| (Some(objects.bucket), objects.own));
        let delivery = VendorDelivery { bucket, proxy_rules: delivery::proxy_rules(&settings, own) };
        deliveries.insert(vendor.clone(), delivery.clone());
        Ok(delivery)
    }
}

impl SiteSource for HomeSites {
    fn sites(&self) -> io::Result<Vec<SiteConfig>> {
        self.vendors()?.iter().map(|vendor| self.site(vendor)).collect()
    }
}

/// Why the objects of a vendor cannot be served as its section says.
#[derive(Debug, thiserror::Error)]
enum SiteError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Cdn(#[from] CdnError),
    #[error("cannot read the key of the CDN, {path}: {error}")]
    Key { path: String, error: io::Error },
}

fn cannot_serve(vendor: &VendorName, error: &SiteError) -> Failure {
    Failure::new(Kind::Usage, format!("cannot serve the objects of {vendor}"))
        .caused_by(error.to_string())
        .hint(format!("correct [{vendor}] in raas.cfg"))
}

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

/// A vendor's objects: the bucket as clients reach it, and the origin from which this machine reads the bucket.
struct Objects {
    bucket: Bucket,
    own: Option<Origin>,
}

/// The objects in the bucket of the vendor's section. `None` if the section has no bucket.
fn configured_objects(settings: &VendorSettings, buckets: &Buckets) -> Result<Option<Objects>, SiteError> {
    let Some(bucket) = buckets.bucket(settings)? else { return Ok(None) };
    Ok(Some(Objects { bucket, own: buckets.own(settings)? }))
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
            Metadata::Snapshots(buckets.origin(&with_bucket(settings, bucket, prefix), bucket)?)
        }
    })
}

/// A site that replaces a legacy Crane.
pub(crate) fn crane(vendor: &VendorName, conf: &CraneConf, settings: &VendorSettings) -> SiteConfig {
    let metadata = Metadata::Crane(conf.data_dir.clone(), conf.every);
    let site = SiteConfig::new(vendor.clone(), metadata, Bucket::Nowhere);
    SiteConfig { crane: Some(conf.rules.clone()), ..with_access(site, settings) }
}

/// Adds the hosts and the access policy of the vendor's section to a site.
fn with_access(site: SiteConfig, settings: &VendorSettings) -> SiteConfig {
    SiteConfig {
        hosts: settings.registry_hosts.clone(),
        users: settings.htpasswd.clone(),
        issuer: settings.token_issuer.clone(),
        client_ca: settings.client_ca.clone(),
        ..site
    }
}

fn open(url: &str) -> Result<Origin, AddressError> {
    BaseUrl::parse(url).map(Origin::Open)
}

fn with_bucket(settings: &VendorSettings, bucket: &str, prefix: &Option<String>) -> VendorSettings {
    VendorSettings { s3_bucket: Some(bucket.to_owned()), s3_prefix: prefix.clone(), ..settings.clone() }
}

/// The base URL that clients are redirected to for objects. `None` if the server itself sends the objects.
pub(crate) fn object_url(aws: &Aws, settings: &VendorSettings) -> Result<Option<String>, AddressError> {
    let Some(bucket) = &settings.s3_bucket else { return Ok(None) };
    let base = match settings.access {
        BucketAccess::Proxy => return Ok(None),
        BucketAccess::Cdn => cdn(settings)?,
        BucketAccess::Presigned | BucketAccess::Public => {
            buckets::location(aws, settings, bucket).base_url()?
        }
    };
    Ok(Some(base.as_str().to_owned()))
}

/// Checks the CDN settings of a vendor's section, above all its key, without asking the CDN.
pub(crate) fn check(vendor: &VendorName, settings: &VendorSettings) -> Result<(), Failure> {
    if settings.access != BucketAccess::Cdn {
        return Ok(());
    }
    let origin =
        cdn(settings).map_err(SiteError::from).and_then(|base| delivery::cdn(base, &settings.delivery));
    origin.map(drop).map_err(|error| cannot_serve(vendor, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Aws;

    fn settings(access: BucketAccess) -> VendorSettings {
        VendorSettings {
            s3_bucket: Some("b".into()),
            s3_prefix: Some("x/y".into()),
            s3_endpoint: Some("http://minio:9000".into()),
            s3_path_style: true,
            cdn_url: Some("https://cdn.example.com".into()),
            access,
            ..VendorSettings::default()
        }
    }

    /// The kind of a bucket and its address.
    fn shown(bucket: &Bucket) -> String {
        let origin = |origin: &Origin| match origin {
            Origin::Open(base) => format!("open {}", base.as_str()),
            Origin::Signed(signer) => format!("signed {}", signer.address().as_str()),
            Origin::Cdn(cdn) => format!("cdn {}", cdn.base().as_str()),
        };
        match bucket {
            Bucket::Folder(folder) => format!("folder {}", folder.display()),
            Bucket::Redirect(to) => format!("redirect {}", origin(to)),
            Bucket::Proxy(from) => format!("proxy {}", origin(from)),
            Bucket::Nowhere => "nowhere".to_owned(),
        }
    }

    #[test]
    fn each_kind_of_access_makes_its_bucket() {
        let table = [
            (BucketAccess::Presigned, "redirect signed http://minio:9000/b/x/y"),
            (BucketAccess::Public, "redirect open http://minio:9000/b/x/y"),
            (BucketAccess::Cdn, "redirect open https://cdn.example.com/x/y"),
            (BucketAccess::Proxy, "proxy signed http://minio:9000/b/x/y"),
        ];
        for (access, expected) in table {
            let bucket = Buckets::example().bucket(&settings(access)).unwrap().unwrap();
            assert_eq!(shown(&bucket), expected);
            let clients = object_url(&Aws::default(), &settings(access)).unwrap();
            let redirect = expected.strip_prefix("redirect ").and_then(|rest| rest.split(' ').nth(1));
            assert_eq!(clients.as_deref(), redirect);
        }
        assert_eq!(Buckets::example().bucket(&VendorSettings::default()).unwrap(), None);
    }

    #[test]
    fn the_same_settings_make_an_equal_bucket() {
        let (buckets, settings) = (Buckets::example(), settings(BucketAccess::Presigned));
        assert_eq!(buckets.bucket(&settings).unwrap(), buckets.bucket(&settings).unwrap());
    }

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
