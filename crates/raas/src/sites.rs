//! Makes the sites of the server from the operator's configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use raas_server::{AddressError, Bucket, CdnError, Metadata, Origin, ProxyRules, SiteConfig, SiteSource};
use raas_types::VendorName;

use crate::config::{Aws, Config, CraneConf, VendorSettings};
use crate::storage::{check_storage, other_storage};
use raas_base::failure::{Failure, Kind};
use raas_publish::home::{Home, Vendor};
use raas_publish::reading::Reading;
use raas_types::BucketAccess;

mod buckets;
mod delivery;
mod served_vendors;
mod stateless;

pub(crate) use buckets::Buckets;
use buckets::cdn;
use served_vendors::{ServedVendors, is_gone};
pub(crate) use stateless::{LocationArgument, stateless};

/// The file of users in a vendor's folder, as `htpasswd -B` writes it.
pub(crate) const USERS: &str = "htpasswd";

/// The vendors of a home as sites of the server.
pub(crate) struct HomeSites {
    home: Home,
    config: Config,
    /// The vendors to serve. If it is empty, all vendors are served.
    only: Vec<VendorName>,
    buckets: Buckets,
    /// The deliveries, kept after the first use: see [`delivery`](Self::delivery).
    deliveries: Mutex<BTreeMap<VendorName, VendorDelivery>>,
    /// The vendors that are not served as they are configured, with the reasons, which the log has.
    refused: Mutex<BTreeMap<String, String>>,
    /// The vendors whose documents name another storage than the configuration. An older raas has not noted their storage.
    elsewhere: Mutex<BTreeSet<VendorName>>,
    served: Mutex<ServedVendors>,
    /// The vendors that cannot be read, each with the reason that the log has already.
    unreadable: Mutex<BTreeMap<VendorName, String>>,
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
    pub(crate) fn new(home: &Home, config: &Config, only: Vec<VendorName>, buckets: Buckets) -> Self {
        let (home, config, deliveries) = (home.clone(), config.clone(), Mutex::default());
        let (refused, elsewhere) = (Mutex::default(), Mutex::default());
        let (served, unreadable) = (Mutex::default(), Mutex::default());
        Self { home, config, only, buckets, deliveries, refused, elsewhere, served, unreadable }
    }

    pub(crate) fn vendors(&self) -> io::Result<Vec<Vendor>> {
        if self.only.is_empty() {
            return self.home.vendors();
        }
        Ok(self.only.iter().map(|name| self.home.vendor(name)).collect())
    }

    /// Checks that a vendor can be served, more thoroughly than a server does at each poll.
    ///
    /// # Errors
    /// The vendor's section cannot be served, or its objects are in another storage than the section says.
    pub(crate) fn check(&self, vendor: &Vendor) -> Result<(), Failure> {
        self.check_section(vendor.name())?;
        // Each request for bytes of this vendor would fail.
        if let Err(failure) = check_storage(vendor, &self.config) {
            if matches!(other_storage(vendor, &self.config), Ok(None)) {
                self.elsewhere().insert(vendor.name().clone());
            }
            return Err(failure);
        }
        self.delivery(vendor.name()).map(drop)
    }

    fn elsewhere(&self) -> MutexGuard<'_, BTreeSet<VendorName>> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_section(&self, vendor: &VendorName) -> Result<(), Failure> {
        match self.config.refusal(vendor) {
            Some(reason) => Err(Failure::new(Kind::Usage, reason)),
            None => Ok(()),
        }
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs once that a vendor cannot be served.
    fn log_refused(&self, refused: BTreeMap<String, String>) {
        let mut before = self.refusals();
        for (vendor, reason) in &refused {
            if before.get(vendor) != Some(reason) {
                tracing::error!(vendor, reason, "cannot serve a vendor as it is configured");
            }
        }
        for vendor in before.keys().filter(|vendor| !refused.contains_key(*vendor)) {
            tracing::info!(vendor, "a vendor can be served as it is configured again");
        }
        *before = refused;
    }

    fn unreadable(&self) -> MutexGuard<'_, BTreeMap<VendorName, String>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs once that a vendor cannot be read.
    fn log_unreadable(&self, vendor: &VendorName, failure: &Failure) {
        let reason = failure.to_string();
        if self.unreadable().get(vendor) != Some(&reason) {
            tracing::error!(%vendor, reason, "cannot read a vendor; serving what was last read of it");
            self.unreadable().insert(vendor.clone(), reason);
        }
    }

    fn site(&self, vendor: &Vendor) -> Result<SiteConfig, Failure> {
        self.check_section(vendor.name())?;
        let was_elsewhere = self.elsewhere().contains(vendor.name());
        if was_elsewhere {
            check_storage(vendor, &self.config)?;
            self.elsewhere().remove(vendor.name());
        }
        // The vendor may have been set up with another configuration while the server runs.
        if let Some(other) = other_storage(vendor, &self.config)? {
            let message = format!(
                "the objects of {} are in {other}, and the server's configuration, {}, names another storage",
                vendor.name(),
                self.config.origin
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        let settings = self.config.vendor(vendor.name());
        let VendorDelivery { bucket, proxy_rules } = self.delivery(vendor.name())?;
        let site = SiteConfig::new(
            vendor.name().clone(),
            Metadata::Folder(vendor.checkout().folder().to_owned()),
            bucket.unwrap_or_else(|| Bucket::Folder(vendor.bucket())),
        );
        Ok(SiteConfig {
            users: Some(vendor.folder().join(USERS)).filter(|file| !is_gone(file)),
            proxy_rules,
            ..with_access(site, &settings)
        })
    }

    /// The vendor's delivery. The server asks at every poll, but the delivery is made only once: reading the key of a
    /// CDN is slow, and the configuration does not change.
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
        let mut found = Vec::new();
        let mut refused = BTreeMap::new();
        for vendor in self.vendors()? {
            // A vendor that cannot be read stays a site, which serves what was last read of it. Without that it is not
            // ready, and answers 503: a 404 would say that its images are not published.
            let is_unreadable = match vendor.presence() {
                Reading::Absent => continue,
                Reading::There(()) => {
                    if self.unreadable().remove(vendor.name()).is_some() {
                        tracing::info!(vendor = %vendor.name(), "a vendor can be read again");
                    }
                    false
                }
                Reading::Unreadable(failure) => {
                    self.log_unreadable(vendor.name(), &failure);
                    true
                }
            };
            match self.site(&vendor) {
                Ok(site) => found.push(SiteConfig { is_unreadable, ..site }),
                Err(failure) => {
                    refused.insert(vendor.name().to_string(), failure.to_string().replace('\n', "; "));
                }
            }
        }
        self.log_refused(refused);
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(served.update(self.home.root(), found))
    }

    fn refused(&self) -> BTreeMap<String, String> {
        self.refusals().clone()
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
        client_entitlements: settings.client_entitlements,
        ..site
    }
}

/// The base URL that clients are redirected to for objects. `None` if the server itself sends the objects.
pub(crate) fn object_url(aws: &Aws, settings: &VendorSettings) -> Result<Option<String>, AddressError> {
    let Some(bucket) = &settings.s3_bucket else { return Ok(None) };
    let base = match settings.access {
        BucketAccess::Proxy => return Ok(None),
        BucketAccess::Cdn => cdn(settings)?,
        BucketAccess::Presigned | BucketAccess::Public => {
            buckets::location(aws.region.as_deref(), settings, bucket).base_url()?
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

    pub(super) fn settings(access: BucketAccess) -> VendorSettings {
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
    pub(super) fn shown(bucket: &Bucket) -> String {
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
}
