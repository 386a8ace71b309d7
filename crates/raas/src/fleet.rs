//! The vendors of `raas.cfg` that have a bucket, as sites of a stateless server. The sites follow the file.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use raas_server::{SiteConfig, SiteSource};
use raas_types::VendorName;

use crate::config::{Config, ConfigRequest, VendorSettings};
use crate::sites::{self, Buckets, LocationArgument};
use raas_base::failure::{Failure, Kind};

/// How often the server checks a file for changes.
const FILE_EVERY: Duration = Duration::from_millis(200);
/// How often the server checks a repository for a new commit.
const REPOSITORY_EVERY: Duration = Duration::from_secs(60);

/// Reads the configuration again.
pub(crate) struct Reload {
    /// Which configuration to follow.
    pub(crate) request: ConfigRequest,
    pub(crate) load: Box<dyn Fn() -> Result<Config, Failure> + Send>,
}

/// The configuration as last read, or the reason why it cannot be used.
type Latest = Arc<ArcSwap<Result<Config, String>>>;

/// The sites of the vendors that have a bucket.
pub(crate) struct Fleet {
    latest: Latest,
    /// The vendors to serve. If it is empty, all vendors are served.
    only: Vec<VendorName>,
    buckets: Buckets,
    vendors: Mutex<BTreeMap<VendorName, VendorSite>>,
}

/// A vendor's section and its site. If the section cannot be served, the vendor keeps the site of its earlier section.
#[derive(Debug, Clone)]
struct VendorSite {
    settings: VendorSettings,
    site: Option<SiteConfig>,
}

impl Fleet {
    /// Serves the vendors in `only`, or all if it is empty, and starts to follow the configuration.
    ///
    /// # Errors
    /// A vendor in `only` has no bucket, or no vendor can be served.
    pub(crate) fn new(
        config: &Config,
        reload: Reload,
        only: Vec<VendorName>,
        buckets: Buckets,
    ) -> Result<Self, Failure> {
        if let Some(without) = only.iter().find(|name| config.vendor(name).s3_bucket.is_none()) {
            return Err(Failure::new(
                Kind::Usage,
                format!("vendor {without} has no bucket in the configuration"),
            )
            .hint(format!("set `s3_bucket` in [{without}] of raas.cfg")));
        }
        let latest: Latest = Arc::new(ArcSwap::from_pointee(Ok(config.clone())));
        let fleet = Self { latest: Arc::clone(&latest), only, buckets, vendors: Mutex::default() };
        let sites = fleet.update(config);
        if sites.is_empty() {
            return Err(Failure::new(Kind::Usage, "no vendor of the configuration can be served")
                .hint("set `s3_bucket` in the sections of the vendors in raas.cfg"));
        }
        std::thread::Builder::new()
            .name("configuration".into())
            .spawn(move || follow(&reload, &latest))
            .map_err(|error| {
                Failure::new(Kind::Environment, "cannot start the thread that follows the configuration")
                    .caused_by(error)
            })?;
        Ok(fleet)
    }

    /// The vendors that are served.
    pub(crate) fn served(&self) -> Vec<VendorName> {
        let vendors = self.vendors.lock().unwrap_or_else(PoisonError::into_inner);
        vendors.iter().filter(|(_, vendor)| vendor.site.is_some()).map(|(vendor, _)| vendor.clone()).collect()
    }

    /// The sites of a new configuration. A vendor that cannot be served does not affect the others.
    fn update(&self, config: &Config) -> Vec<SiteConfig> {
        let mut vendors = self.vendors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *vendors);
        for (vendor, settings) in config.with_buckets() {
            if !self.only.is_empty() && !self.only.contains(vendor) {
                continue;
            }
            let now = match before.remove(vendor) {
                Some(unchanged) if unchanged.settings == *settings => unchanged,
                earlier => self.vendor_site(vendor, settings, earlier.and_then(|earlier| earlier.site)),
            };
            vendors.insert(vendor.clone(), now);
        }
        vendors.values().filter_map(|vendor| vendor.site.clone()).collect()
    }

    fn vendor_site(
        &self,
        vendor: &VendorName,
        settings: &VendorSettings,
        earlier: Option<SiteConfig>,
    ) -> VendorSite {
        let bucket = settings.s3_bucket.clone().unwrap_or_default();
        let metadata = LocationArgument::S3(bucket, settings.s3_prefix.clone());
        let site = match sites::stateless(vendor, &metadata, None, settings, &self.buckets) {
            Ok(site) => Some(site),
            Err(failure) => {
                let serves = if earlier.is_some() { "the site of the earlier section" } else { "nothing" };
                let reason = failure.to_string().replace('\n', "; ");
                tracing::error!(%vendor, serves, reason, "cannot serve the section of a vendor");
                earlier
            }
        };
        VendorSite { settings: settings.clone(), site }
    }
}

impl SiteSource for Fleet {
    fn sites(&self) -> io::Result<Vec<SiteConfig>> {
        match self.latest.load().as_ref() {
            Ok(config) => Ok(self.update(config)),
            Err(reason) => Err(io::Error::other(reason.clone())),
        }
    }
}

/// Reads the configuration again after each change. This runs in a thread of its own, since a repository may be slow.
fn follow(reload: &Reload, latest: &Latest) {
    let every = if reload.request.is_in_repository() { REPOSITORY_EVERY } else { FILE_EVERY };
    // The first round always reads: the configuration may have changed since the server read it.
    let mut seen = None;
    loop {
        std::thread::sleep(every);
        let now = reload.request.version();
        if now.is_some() && now == seen {
            continue;
        }
        let loaded = (reload.load)().map(Config::without_source).map_err(|failure| failure.to_string());
        // After an error, a repository is read again even without a new commit: the network may have failed.
        // A file is not: only a change can mend it.
        seen = now.filter(|_| loaded.is_ok() || !reload.request.is_in_repository());
        latest.store(Arc::new(loaded));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use raas_server::{Bucket, Origin};

    use super::*;
    use raas_publish::home::Home;

    /// For each site: the vendor, the address that clients are sent to, and the hosts.
    fn shown(sites: &[SiteConfig]) -> Vec<String> {
        let of = |site: &SiteConfig| {
            let hosts: Vec<&str> = site.hosts.iter().map(|host| host.as_str()).collect();
            let bucket = match &site.bucket {
                Bucket::Redirect(Origin::Signed(signer)) => signer.address().as_str().to_owned(),
                other => format!("{other:?}"),
            };
            format!("{} {bucket} {}", site.vendor, hosts.join(","))
        };
        sites.iter().map(of).collect()
    }

    #[test]
    fn sites_follow_the_file_and_a_broken_section_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("raas.cfg");
        let write = |text: &str| {
            let new = folder.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, &file).unwrap();
        };
        let asked = ConfigRequest { file: Some(file.clone()), ..ConfigRequest::default() };
        let load = {
            let asked = asked.clone();
            move || Config::load(&asked, &|| Home::new(Some("/nonexistent".into())))
        };
        let first = "[acme]\ns3_bucket = aaa\nregistry_host = r.acme.com\n[folder]\nregistry_host = f.com\n";
        write(first);
        let reload = Reload { request: asked, load: Box::new(load.clone()) };
        let fleet = Fleet::new(&load().unwrap(), reload, Vec::new(), Buckets::example()).unwrap();
        let acme = "acme https://aaa.s3.eu-west-1.amazonaws.com r.acme.com";
        assert_eq!(
            shown(&fleet.sites().unwrap()),
            [acme],
            "a vendor without a bucket is not served without a home"
        );
        assert_eq!(fleet.served(), ["acme".parse().unwrap()]);
        let soon = |holds: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !holds() {
                assert!(begun.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let bad = "access = cdn\ncdn_url = https://c.x\ncdn_akamai_secret = no hex\n";
        // A section that cannot be served does not affect the others.
        write(&format!("{first}[bad]\ns3_bucket = bad\n{bad}[other]\ns3_bucket = ooo\n"));
        soon(&|| shown(&fleet.sites().unwrap()) == [acme, "other https://ooo.s3.eu-west-1.amazonaws.com "]);
        assert_eq!(fleet.sites().unwrap(), fleet.sites().unwrap(), "unchanged sections keep their sites");
        write("[acme]\ns3_buckt = a\n");
        soon(&|| fleet.sites().is_err_and(|error| error.to_string().contains("did you mean `s3_bucket`?")));
        write(&format!("[acme]\ns3_bucket = aaa\nregistry_host = r.acme.com\n{bad}"));
        soon(&|| fleet.sites().is_ok_and(|sites| shown(&sites) == [acme]));
    }

    #[test]
    fn a_named_vendor_needs_a_bucket() {
        let reload =
            || Reload { request: ConfigRequest::default(), load: Box::new(|| Ok(Config::default())) };
        let failure =
            Fleet::new(&Config::default(), reload(), vec!["acme".parse().unwrap()], Buckets::example());
        assert!(failure.err().unwrap().to_string().contains("acme has no bucket"));
        let failure = Fleet::new(&Config::default(), reload(), Vec::new(), Buckets::example());
        assert!(failure.err().unwrap().to_string().contains("no vendor"));
    }
}
