//! From what the operator has set to the sites that the server serves.

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

/// The file of a vendor's folder that holds its users, as `htpasswd -B` writes it.
pub(crate) const USERS: &str = "htpasswd";

/// The vendors of a home, as sites of the server.
pub(crate) struct HomeSites {
    home: Home,
    config: Config,
    /// Those that are served; all if it is empty.
    only: Vec<VendorName>,
    buckets: Buckets,
    /// What was made of the vendors' sections.
    made: Mutex<BTreeMap<VendorName, Made>>,
}

/// A vendor's bucket, if it has one, and what is passed on.
type Made = (Option<Bucket>, Option<ProxyRules>);

impl HomeSites {
    /// The named vendors of a home, or all.
    ///
    /// # Errors
    /// One of them has a bucket that cannot be one.
    pub(crate) fn new(
        home: &Home,
        config: &Config,
        only: Vec<VendorName>,
        buckets: Buckets,
    ) -> Result<Self, Failure> {
        let made = Mutex::default();
        let sites = Self { home: home.clone(), config: config.clone(), only, buckets, made };
        for name in &sites.only {
            sites.made(name)?;
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
        let (bucket, passing) =
            self.made(vendor.name()).map_err(|failure| io::Error::other(failure.to_string()))?;
        let site = SiteConfig::new(
            vendor.name().clone(),
            Metadata::Folder(vendor.checkout().folder().to_owned()),
            bucket.unwrap_or_else(|| Bucket::Folder(vendor.bucket())),
        );
        Ok(SiteConfig {
            users: Some(vendor.folder().join(USERS)).filter(|file| file.is_file()),
            proxy_rules: passing,
            ..as_set(site, &settings)
        })
    }

    /// The vendor's bucket and what of it is passed on. It is asked for at every poll, and made once: the key of a
    /// CDN takes its time to read, and the configuration stays as it was read.
    fn made(&self, vendor: &VendorName) -> Result<Made, Failure> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(vendor) {
            return Ok(known.clone());
        }
        let settings = self.config.vendor(vendor);
        let make = || Ok((self.buckets.bucket(&settings)?, self.buckets.own(&settings)?));
        let (bucket, own) = make().map_err(|error: SiteError| wrong(vendor, &error))?;
        let new = (bucket, delivery::passing(&settings, own));
        made.insert(vendor.clone(), new.clone());
        Ok(new)
    }
}

impl SiteSource for HomeSites {
    fn sites(&self) -> io::Result<Vec<SiteConfig>> {
        self.vendors()?.iter().map(|vendor| self.site(vendor)).collect()
    }
}

/// Why a vendor's bytes cannot be served as its section says.
#[derive(Debug, thiserror::Error)]
enum SiteError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Cdn(#[from] CdnError),
    #[error("the key of the CDN, {path}, cannot be read: {error}")]
    Key { path: String, error: io::Error },
}

fn wrong(vendor: &VendorName, error: &SiteError) -> Failure {
    Failure::new(Kind::Usage, format!("the bucket of {vendor} cannot be served from"))
        .caused_by(error.to_string())
        .hint(format!("correct [{vendor}] in raas.cfg"))
}

/// Where the metadata or the objects of a vendor are, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// `s3://<bucket>[/<prefix>]`
    S3(String, Option<String>),
    /// `http://…` or `https://…`
    Url(String),
    /// A folder.
    Folder(PathBuf),
}

impl Named {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            return Ok(Named::S3(bucket.to_owned(), (!prefix.is_empty()).then(|| prefix.to_owned())));
        }
        if text.contains("://") {
            return match BaseUrl::parse(text) {
                Ok(url) => Ok(Named::Url(url.as_str().to_owned())),
                Err(error) => Err(format!("{error}; or s3://BUCKET[/PREFIX], or a folder")),
            };
        }
        Ok(Named::Folder(text.into()))
    }
}

/// One vendor, wherever its metadata and its objects are, without a home. Objects that nobody names the place of are
/// where the vendor's section says, or else where the metadata is.
pub(crate) fn alone(
    vendor: &VendorName,
    metadata: &Named,
    objects: Option<&Named>,
    settings: &VendorSettings,
    buckets: &Buckets,
) -> Result<SiteConfig, Failure> {
    let objects = match (objects, metadata) {
        (Some(named), _) => Some(named),
        (None, Named::S3(..)) => Some(metadata),
        (None, Named::Url(_)) if settings.s3_bucket.is_none() => Some(metadata),
        (None, _) => None,
    };
    let site = || -> Result<_, SiteError> {
        let mut own = None;
        let bucket = match objects {
            Some(Named::Folder(folder)) => Some(Bucket::Folder(folder.clone())),
            Some(Named::Url(url)) => {
                own = Some(open(url)?);
                Some(match settings.access {
                    BucketAccess::Proxy => Bucket::Proxy(open(url)?),
                    BucketAccess::Cdn => {
                        Bucket::Redirect(delivery::cdn(BaseUrl::parse(url)?, &settings.delivery)?)
                    }
                    BucketAccess::Presigned | BucketAccess::Public => Bucket::Redirect(open(url)?),
                })
            }
            Some(Named::S3(bucket, prefix)) => {
                let settings = at(settings, bucket, prefix);
                own = Some(buckets.origin(&settings, bucket)?);
                buckets.bucket(&settings)?
            }
            None => {
                own = buckets.own(settings)?;
                buckets.bucket(settings)?
            }
        };
        let metadata = match metadata {
            Named::Folder(folder) => Metadata::Folder(folder.clone()),
            Named::Url(url) => Metadata::Snapshots(open(url)?),
            Named::S3(bucket, prefix) => {
                Metadata::Snapshots(buckets.origin(&at(settings, bucket, prefix), bucket)?)
            }
        };
        Ok((metadata, bucket, own))
    };
    let (metadata, bucket, own) = site().map_err(|error| wrong(vendor, &error))?;
    let bucket = bucket.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("nobody says where the objects of {vendor} are"))
            .hint(format!("name them with --bucket, or set `s3_bucket` in [{vendor}] of raas.cfg"))
    })?;
    let site = SiteConfig::new(vendor.clone(), metadata, bucket);
    Ok(SiteConfig { proxy_rules: delivery::passing(settings, own), ..as_set(site, settings) })
}

/// A site that stands in for a legacy Crane.
pub(crate) fn crane(vendor: &VendorName, conf: &CraneConf, settings: &VendorSettings) -> SiteConfig {
    let metadata = Metadata::Crane(conf.data_dir.clone(), conf.every);
    let site = SiteConfig::new(vendor.clone(), metadata, Bucket::Nowhere);
    SiteConfig { crane: Some(conf.rules.clone()), ..as_set(site, settings) }
}

/// The site with its hosts, and with those whom the vendor's section lets in.
fn as_set(site: SiteConfig, settings: &VendorSettings) -> SiteConfig {
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

fn at(settings: &VendorSettings, bucket: &str, prefix: &Option<String>) -> VendorSettings {
    VendorSettings { s3_bucket: Some(bucket.to_owned()), s3_prefix: prefix.clone(), ..settings.clone() }
}

/// Where clients are sent for what is in the vendor's bucket; nothing if the registry itself answers.
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

/// Whether a vendor's section says how a CDN is asked, as far as this machine can tell: its key, above all.
pub(crate) fn check(vendor: &VendorName, settings: &VendorSettings) -> Result<(), Failure> {
    if settings.access != BucketAccess::Cdn {
        return Ok(());
    }
    let made =
        cdn(settings).map_err(SiteError::from).and_then(|base| delivery::cdn(base, &settings.delivery));
    made.map(drop).map_err(|error| wrong(vendor, &error))
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

    /// What kind of bucket, and where.
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
    fn every_access_has_its_bucket() {
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
            let told = expected.strip_prefix("redirect ").and_then(|rest| rest.split(' ').nth(1));
            assert_eq!(clients.as_deref(), told);
        }
        assert_eq!(Buckets::example().bucket(&VendorSettings::default()).unwrap(), None);
    }

    #[test]
    fn a_site_that_is_asked_for_again_is_the_same() {
        let (buckets, settings) = (Buckets::example(), settings(BucketAccess::Presigned));
        assert_eq!(buckets.bucket(&settings).unwrap(), buckets.bucket(&settings).unwrap());
    }

    #[test]
    fn what_is_not_named_follows_from_what_is() {
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
            let parse = |text: &str| Named::parse(text).unwrap();
            let objects = objects.map(parse);
            let site =
                alone(&vendor, &parse(metadata), objects.as_ref(), settings, &Buckets::example()).unwrap();
            let at = match &site.metadata {
                Metadata::Folder(folder) => folder.display().to_string(),
                Metadata::Snapshots(Origin::Open(base)) => base.as_str().to_owned(),
                Metadata::Snapshots(Origin::Signed(signer)) => signer.address().as_str().to_owned(),
                other => panic!("{other:?}"),
            };
            assert_eq!((at.as_str(), shown(&site.bucket).as_str()), (from, bucket), "{metadata} {objects:?}");
        }
        let folder = Named::parse("m").unwrap();
        assert!(
            alone(&vendor, &folder, None, &none, &Buckets::example())
                .unwrap_err()
                .to_string()
                .contains("--bucket")
        );
        assert!(Named::parse("ftp://x").unwrap_err().contains("s3://"));
        let wrong = Named::parse("s3://a?b").unwrap();
        assert!(alone(&vendor, &wrong, None, &none, &Buckets::example()).is_err());
    }
}
