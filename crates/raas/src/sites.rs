//! From what the operator has set to the sites that the server serves.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use raas_server::{
    AddressError, BaseUrl, Bucket, CredentialSource, Metadata, Origin, S3Location, Signer, SiteConfig,
    SiteSource,
};
use raas_types::VendorName;

use crate::config::{Access, Aws, Config, VendorSettings};
use crate::failure::{Failure, Kind};
use crate::home::{Home, Vendor};

/// The file of a vendor's folder that holds its users, as `htpasswd -B` writes it.
const USERS: &str = "htpasswd";

/// The vendors of a home, as sites of the server.
pub(crate) struct HomeSites {
    home: Home,
    config: Config,
    /// Those that are served; all if it is empty.
    only: Vec<VendorName>,
    buckets: Buckets,
}

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
        let sites = Self { home: home.clone(), config: config.clone(), only, buckets };
        for name in &sites.only {
            sites.buckets.bucket(&sites.config.vendor(name)).map_err(|error| wrong(name, &error))?;
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
        let bucket = self.buckets.bucket(&settings);
        let bucket = bucket.map_err(|error| io::Error::other(wrong(vendor.name(), &error).to_string()))?;
        Ok(SiteConfig {
            vendor: vendor.name().clone(),
            metadata: Metadata::Folder(vendor.checkout().folder().to_owned()),
            bucket: bucket.unwrap_or_else(|| Bucket::Folder(vendor.bucket())),
            users: Some(vendor.folder().join(USERS)).filter(|file| file.is_file()),
            issuer: settings.token_issuer,
            client_ca: settings.client_ca,
        })
    }
}

impl SiteSource for HomeSites {
    fn sites(&self) -> io::Result<Vec<SiteConfig>> {
        self.vendors()?.iter().map(|vendor| self.site(vendor)).collect()
    }
}

fn wrong(vendor: &VendorName, error: &AddressError) -> Failure {
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
    let site = || {
        let bucket = match objects {
            Some(Named::Folder(folder)) => Some(Bucket::Folder(folder.clone())),
            Some(Named::Url(url)) if settings.access == Access::Proxy => Some(Bucket::Proxy(open(url)?)),
            Some(Named::Url(url)) => Some(Bucket::Redirect(open(url)?)),
            Some(Named::S3(bucket, prefix)) => buckets.bucket(&at(settings, bucket, prefix))?,
            None => buckets.bucket(settings)?,
        };
        let metadata = match metadata {
            Named::Folder(folder) => Metadata::Folder(folder.clone()),
            Named::Url(url) => Metadata::Snapshots(open(url)?),
            Named::S3(bucket, prefix) => {
                Metadata::Snapshots(buckets.origin(&at(settings, bucket, prefix), bucket)?)
            }
        };
        Ok((metadata, bucket))
    };
    let (metadata, bucket) = site().map_err(|error| wrong(vendor, &error))?;
    let bucket = bucket.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("nobody says where the objects of {vendor} are"))
            .hint(format!("name them with --bucket, or set `s3_bucket` in [{vendor}] of raas.cfg"))
    })?;
    Ok(SiteConfig { vendor: vendor.clone(), metadata, bucket, users: None, issuer: None, client_ca: None })
}

fn open(url: &str) -> Result<Origin, AddressError> {
    BaseUrl::parse(url).map(Origin::Open)
}

fn at(settings: &VendorSettings, bucket: &str, prefix: &Option<String>) -> VendorSettings {
    VendorSettings { s3_bucket: Some(bucket.to_owned()), s3_prefix: prefix.clone(), ..settings.clone() }
}

/// Makes buckets of settings.
pub(crate) struct Buckets {
    aws: Aws,
    credentials: Arc<dyn CredentialSource>,
}

impl Buckets {
    /// With what `[aws]` says, and these credentials for all of them.
    pub(crate) fn new(aws: &Aws, credentials: Arc<dyn CredentialSource>) -> Self {
        Self { aws: aws.clone(), credentials }
    }

    /// The vendor's bucket; nothing if it has none.
    fn bucket(&self, settings: &VendorSettings) -> Result<Option<Bucket>, AddressError> {
        let Some(bucket) = &settings.s3_bucket else { return Ok(None) };
        let location = self.location(settings, bucket);
        Ok(Some(match settings.access {
            Access::Presigned => Bucket::Redirect(Origin::Signed(self.signer(&location)?)),
            Access::Public => Bucket::Redirect(Origin::Open(location.base_url()?)),
            Access::Cdn => Bucket::Redirect(Origin::Open(cdn(settings)?)),
            Access::Proxy => Bucket::Proxy(Origin::Signed(self.signer(&location)?)),
        }))
    }

    /// How this machine itself reads the bucket.
    fn origin(&self, settings: &VendorSettings, bucket: &str) -> Result<Origin, AddressError> {
        let location = self.location(settings, bucket);
        Ok(match settings.access {
            Access::Public => Origin::Open(location.base_url()?),
            Access::Presigned | Access::Cdn | Access::Proxy => Origin::Signed(self.signer(&location)?),
        })
    }

    fn location(&self, settings: &VendorSettings, bucket: &str) -> S3Location {
        let environment = || {
            let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
            set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"))
        };
        let region = settings.s3_region.clone().or_else(|| self.aws.region.clone()).or_else(environment);
        S3Location {
            endpoint: settings.s3_endpoint.clone(),
            // The one that services without regions go by.
            region: region.unwrap_or_else(|| "us-east-1".to_owned()),
            bucket: bucket.to_owned(),
            prefix: settings.s3_prefix.clone(),
            path_style: settings.s3_path_style,
        }
    }

    fn signer(&self, location: &S3Location) -> Result<Arc<Signer>, AddressError> {
        Ok(Arc::new(Signer::new(location, Arc::clone(&self.credentials))?))
    }
}

/// The CDN stands before the bucket, so the bucket's keys are its paths, with the prefix.
fn cdn(settings: &VendorSettings) -> Result<BaseUrl, AddressError> {
    let base = settings.cdn_url.as_deref().unwrap_or_default();
    match settings.s3_prefix.as_deref() {
        Some(prefix) if !prefix.is_empty() => BaseUrl::parse(&format!("{base}/{prefix}")),
        _ => BaseUrl::parse(base),
    }
}

#[cfg(test)]
mod tests {
    use raas_server::Credentials;

    use super::*;

    fn buckets() -> Buckets {
        let key = Credentials {
            access_key_id: "KEY".into(),
            secret_access_key: "secret".into(),
            session_token: None,
            expires: None,
        };
        Buckets::new(&Aws { region: Some("eu-west-1".into()), ..Aws::default() }, Arc::new(Arc::new(key)))
    }

    fn settings(access: Access) -> VendorSettings {
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
        };
        match bucket {
            Bucket::Folder(folder) => format!("folder {}", folder.display()),
            Bucket::Redirect(to) => format!("redirect {}", origin(to)),
            Bucket::Proxy(from) => format!("proxy {}", origin(from)),
        }
    }

    #[test]
    fn every_access_has_its_bucket() {
        let table = [
            (Access::Presigned, "redirect signed http://minio:9000/b/x/y"),
            (Access::Public, "redirect open http://minio:9000/b/x/y"),
            (Access::Cdn, "redirect open https://cdn.example.com/x/y"),
            (Access::Proxy, "proxy signed http://minio:9000/b/x/y"),
        ];
        for (access, expected) in table {
            let bucket = buckets().bucket(&settings(access)).unwrap().unwrap();
            assert_eq!(shown(&bucket), expected);
        }
        assert_eq!(buckets().bucket(&VendorSettings::default()).unwrap(), None);
    }

    #[test]
    fn a_site_that_is_asked_for_again_is_the_same() {
        let (buckets, settings) = (buckets(), settings(Access::Presigned));
        assert_eq!(buckets.bucket(&settings).unwrap(), buckets.bucket(&settings).unwrap());
    }

    #[test]
    fn what_is_not_named_follows_from_what_is() {
        let vendor = "acme".parse().unwrap();
        let none = VendorSettings::default();
        let cfg = settings(Access::Proxy);
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
            let site = alone(&vendor, &parse(metadata), objects.as_ref(), settings, &buckets()).unwrap();
            let at = match &site.metadata {
                Metadata::Folder(folder) => folder.display().to_string(),
                Metadata::Snapshots(Origin::Open(base)) => base.as_str().to_owned(),
                Metadata::Snapshots(Origin::Signed(signer)) => signer.address().as_str().to_owned(),
            };
            assert_eq!((at.as_str(), shown(&site.bucket).as_str()), (from, bucket), "{metadata} {objects:?}");
        }
        let folder = Named::parse("m").unwrap();
        assert!(
            alone(&vendor, &folder, None, &none, &buckets()).unwrap_err().to_string().contains("--bucket")
        );
        assert!(Named::parse("ftp://x").unwrap_err().contains("s3://"));
        let wrong = Named::parse("s3://a?b").unwrap();
        assert!(alone(&vendor, &wrong, None, &none, &buckets()).is_err());
    }
}
