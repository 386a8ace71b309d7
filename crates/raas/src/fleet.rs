//! The vendors of `raas.cfg` that have a bucket, as sites of a server without a home, as the file says at any time.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use raas_server::{SiteConfig, SiteSource};
use raas_types::VendorName;

use crate::config::{Config, ConfigRequest, VendorSettings};
use crate::sites::{Buckets, Named, alone};
use raas_base::failure::{Failure, Kind};
use raas_base::interrupt;

/// How often a file is looked at, and how often a repository is asked for its last commit.
const FILE_EVERY: Duration = Duration::from_millis(200);
const REPOSITORY_EVERY: Duration = Duration::from_secs(60);

/// How the configuration is read again.
pub(crate) struct Reload {
    /// Where it is.
    pub(crate) request: ConfigRequest,
    pub(crate) load: Box<dyn Fn() -> Result<Config, Failure> + Send>,
}

/// What was read last: the configuration, or what is wrong with it.
type Latest = Arc<ArcSwap<Result<Config, String>>>;

/// The vendors that have a bucket.
pub(crate) struct Fleet {
    latest: Latest,
    /// Those that are served; all if it is empty.
    only: Vec<VendorName>,
    buckets: Buckets,
    /// What was made of each vendor's section.
    made: Mutex<BTreeMap<VendorName, Made>>,
}

/// A vendor's section and the site of it: of the section before, if nothing can be made of this one.
#[derive(Debug, Clone)]
struct Made {
    settings: VendorSettings,
    site: Option<SiteConfig>,
}

impl Fleet {
    /// Serves these vendors, or all, and follows the configuration from here on.
    ///
    /// # Errors
    /// One of those that are named has no bucket, or nobody has, or nobody can be served.
    pub(crate) fn new(
        config: &Config,
        reload: Reload,
        only: Vec<VendorName>,
        buckets: Buckets,
    ) -> Result<Self, Failure> {
        if let Some(without) = only.iter().find(|name| config.vendor(name).s3_bucket.is_none()) {
            return Err(Failure::new(Kind::Usage, format!("{without} has no bucket in the configuration"))
                .hint(format!("set `s3_bucket` in [{without}] of raas.cfg")));
        }
        let latest: Latest = Arc::new(ArcSwap::from_pointee(Ok(config.clone())));
        let fleet = Self { latest: Arc::clone(&latest), only, buckets, made: Mutex::default() };
        let sites = fleet.make(config);
        if sites.is_empty() {
            return Err(Failure::new(Kind::Usage, "no vendor of the configuration can be served")
                .hint("set `s3_bucket` in the sections of vendors in raas.cfg"));
        }
        // The server ends in its own way, also while a repository is cloned.
        interrupt::caller_exits();
        std::thread::Builder::new()
            .name("configuration".into())
            .spawn(move || follow(&reload, &latest))
            .map_err(|error| Failure::new(Kind::Environment, "cannot start a thread").caused_by(error))?;
        Ok(fleet)
    }

    /// The vendors that are served.
    pub(crate) fn served(&self) -> Vec<VendorName> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().filter(|(_, made)| made.site.is_some()).map(|(vendor, _)| vendor.clone()).collect()
    }

    /// A site for each vendor. One that cannot be served keeps no other from being served.
    fn make(&self, config: &Config) -> Vec<SiteConfig> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *made);
        for (vendor, settings) in config.with_buckets() {
            if !self.only.is_empty() && !self.only.contains(vendor) {
                continue;
            }
            let now = match before.remove(vendor) {
                Some(known) if known.settings == *settings => known,
                known => self.remake(vendor, settings, known.and_then(|made| made.site)),
            };
            made.insert(vendor.clone(), now);
        }
        made.values().filter_map(|made| made.site.clone()).collect()
    }

    fn remake(&self, vendor: &VendorName, settings: &VendorSettings, before: Option<SiteConfig>) -> Made {
        let bucket = settings.s3_bucket.clone().unwrap_or_default();
        let place = Named::S3(bucket, settings.s3_prefix.clone());
        let site = match alone(vendor, &place, None, settings, &self.buckets) {
            Ok(site) => Some(site),
            Err(failure) => {
                let serves = if before.is_some() { "as it was before" } else { "nothing" };
                let reason = failure.to_string().replace('\n', "; ");
                tracing::error!(%vendor, serves, reason, "a vendor's section cannot be served");
                before
            }
        };
        Made { settings: settings.clone(), site }
    }
}

impl SiteSource for Fleet {
    fn sites(&self) -> io::Result<Vec<SiteConfig>> {
        match self.latest.load().as_ref() {
            Ok(config) => Ok(self.make(config)),
            Err(reason) => Err(io::Error::other(reason.clone())),
        }
    }
}

/// Reads the configuration again whenever it has changed, in a thread of its own: a repository may take its time.
fn follow(reload: &Reload, latest: &Latest) {
    let every = if reload.request.is_in_repository() { REPOSITORY_EVERY } else { FILE_EVERY };
    // Not as it was when the server read it first: it may have changed since.
    let mut seen = None;
    loop {
        std::thread::sleep(every);
        let now = reload.request.version();
        if now.is_some() && now == seen {
            continue;
        }
        let loaded = (reload.load)().map(Config::without_source).map_err(|failure| failure.to_string());
        // What could not be had is tried again.
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

    /// Every site's vendor, where clients are sent, and its hosts.
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
    fn vendors_come_and_go_with_the_file_and_a_broken_one_changes_nothing() {
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
        assert_eq!(shown(&fleet.sites().unwrap()), [acme], "one without a bucket needs a home");
        assert_eq!(fleet.served(), ["acme".parse().unwrap()]);
        let soon = |holds: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !holds() {
                assert!(begun.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let bad = "access = cdn\ncdn_url = https://c.x\ncdn_akamai_secret = no hex\n";
        // One that cannot be served is told, and the others are served.
        write(&format!("{first}[bad]\ns3_bucket = bad\n{bad}[other]\ns3_bucket = ooo\n"));
        soon(&|| shown(&fleet.sites().unwrap()) == [acme, "other https://ooo.s3.eu-west-1.amazonaws.com "]);
        assert_eq!(fleet.sites().unwrap(), fleet.sites().unwrap(), "nothing is made anew");
        write("[acme]\ns3_buckt = a\n");
        soon(&|| fleet.sites().is_err_and(|error| error.to_string().contains("did you mean `s3_bucket`?")));
        write(&format!("[acme]\ns3_bucket = aaa\nregistry_host = r.acme.com\n{bad}"));
        soon(&|| fleet.sites().is_ok_and(|sites| shown(&sites) == [acme]));
    }

    #[test]
    fn who_is_named_must_have_a_bucket() {
        let reload =
            || Reload { request: ConfigRequest::default(), load: Box::new(|| Ok(Config::default())) };
        let failure =
            Fleet::new(&Config::default(), reload(), vec!["acme".parse().unwrap()], Buckets::example());
        assert!(failure.err().unwrap().to_string().contains("acme has no bucket"));
        let failure = Fleet::new(&Config::default(), reload(), Vec::new(), Buckets::example());
        assert!(failure.err().unwrap().to_string().contains("no vendor"));
    }
}
