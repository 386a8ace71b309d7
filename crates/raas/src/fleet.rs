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
    /// The vendors by the name of their section. A section that cannot be used may have a name that is no vendor's.
    vendors: Mutex<BTreeMap<String, VendorSite>>,
}

/// A vendor's section and its site. If the section cannot be served, the vendor keeps the site of its earlier section.
#[derive(Debug, Clone, Default)]
struct VendorSite {
    settings: VendorSettings,
    site: Option<SiteConfig>,
    /// Why the section cannot be served. A file that it names may appear later, so it is tried again.
    refusal: Option<String>,
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
        let lacks_bucket =
            |name: &&VendorName| config.refusal(name).is_none() && config.vendor(name).s3_bucket.is_none();
        if let Some(without) = only.iter().find(lacks_bucket) {
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
            let failure = Failure::new(Kind::Usage, "no vendor of the configuration can be served");
            let reasons = fleet.refused();
            if reasons.is_empty() {
                return Err(failure.hint("set `s3_bucket` in the sections of the vendors in raas.cfg"));
            }
            let reasons: Vec<String> = reasons.into_values().collect();
            return Err(failure.caused_by(reasons.join("; ")));
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
        vendors.values().filter_map(|vendor| Some(vendor.site.as_ref()?.vendor.clone())).collect()
    }

    /// The sites of a new configuration. A vendor that cannot be served does not affect the others.
    fn update(&self, config: &Config) -> Vec<SiteConfig> {
        let mut vendors = self.vendors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *vendors);
        let is_wanted =
            |name: &str| self.only.is_empty() || self.only.iter().any(|only| only.as_str() == name);
        for (vendor, settings) in config.with_buckets() {
            if !is_wanted(vendor.as_str()) {
                continue;
            }
            let now = match before.remove(vendor.as_str()) {
                Some(unchanged) if unchanged.settings == *settings && unchanged.refusal.is_none() => {
                    unchanged
                }
                earlier => self.vendor_site(vendor, settings, earlier.unwrap_or_default()),
            };
            vendors.insert(vendor.to_string(), now);
        }
        for (section, reason) in config.refused().into_iter().filter(|(section, _)| is_wanted(section)) {
            // A vendor without a bucket is not served here, whatever its section says.
            let is_named = !self.only.is_empty();
            if !(is_named || before.contains_key(&section) || config.refused_with_bucket(&section)) {
                continue;
            }
            let earlier = before.remove(&section).unwrap_or_default();
            let now = earlier.refused(&section, reason);
            vendors.insert(section, now);
        }
        vendors.values().filter_map(|vendor| vendor.site.clone()).collect()
    }

    fn vendor_site(&self, vendor: &VendorName, settings: &VendorSettings, earlier: VendorSite) -> VendorSite {
        let bucket = settings.s3_bucket.clone().unwrap_or_default();
        let metadata = LocationArgument::S3(bucket, settings.s3_prefix.clone());
        let settings = settings.clone();
        match sites::stateless(vendor, &metadata, None, &settings, &self.buckets) {
            Ok(site) => VendorSite { settings, site: Some(site), refusal: None },
            Err(failure) => {
                let reason = failure.to_string().replace('\n', "; ");
                VendorSite { settings, ..earlier.refused(vendor.as_str(), reason) }
            }
        }
    }
}

impl VendorSite {
    /// The vendor with a section that cannot be served. The same reason is logged once.
    fn refused(self, vendor: &str, reason: String) -> Self {
        if self.refusal.as_ref() != Some(&reason) {
            let serves = if self.site.is_some() { "the site of the earlier section" } else { "nothing" };
            tracing::error!(vendor, serves, reason, "cannot serve the section of a vendor");
        }
        Self { refusal: Some(reason), ..self }
    }
}

impl SiteSource for Fleet {
    fn sites(&self) -> io::Result<Vec<SiteConfig>> {
        match self.latest.load().as_ref() {
            Ok(config) => Ok(self.update(config)),
            Err(reason) => Err(io::Error::other(reason.clone())),
        }
    }

    fn refused(&self) -> BTreeMap<String, String> {
        let vendors = self.vendors.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(name, vendor): (&String, &VendorSite)| Some((name.clone(), vendor.refusal.clone()?));
        vendors.iter().filter_map(of).collect()
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
    use crate::config::NeededSections;
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
            move || {
                let home = || Home::new(Some("/nonexistent".into()));
                Config::load(&asked, &home, NeededSections::Servable)
            }
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
        assert_eq!(fleet.refused().keys().collect::<Vec<_>>(), ["bad"]);
        // A missing file affects its own vendor only, and counts until it is there.
        let key = folder.path().join("key.pem");
        let cdn = format!(
            "access = cdn\ncdn_url = https://c.x\ncdn_cloudfront_key_id = K\ncdn_cloudfront_key = {}\n",
            key.display()
        );
        write(&format!("{first}[late]\ns3_bucket = late\n{cdn}"));
        soon(&|| shown(&fleet.sites().unwrap()) == [acme] && fleet.refused().len() == 1);
        fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        soon(&|| fleet.sites().unwrap().len() == 2 && fleet.refused().is_empty());
        // A section that cannot be read keeps its earlier site, and affects no other vendor.
        write("[acme]\ns3_buckt = a\n[other]\ns3_bucket = ooo\n");
        let other = "other https://ooo.s3.eu-west-1.amazonaws.com ";
        let reason = || fleet.refused().get("acme").cloned().unwrap_or_default();
        soon(&|| shown(&fleet.sites().unwrap()) == [acme, other]);
        assert!(
            reason().contains("line 2: [acme] has no key `s3_buckt`; did you mean `s3_bucket`?"),
            "{}",
            reason()
        );
        // A section that claims the bucket or the host of a vendor takes nothing from it, wherever it stands.
        for claim in ["s3_bucket = aaa\n", "s3_bucket = zzz\nregistry_host = r.acme.com\n"] {
            let claim = format!("[aaa]\n{claim}");
            for text in [format!("{first}{claim}"), format!("{claim}{first}")] {
                write(&format!("{text}[other]\ns3_bucket = ooo\n"));
                let is_refused = |name| fleet.refused().contains_key(name);
                soon(&|| {
                    shown(&fleet.sites().unwrap()) == [acme, other] && is_refused("aaa") && is_refused("acme")
                });
                write(&format!("{first}[other]\ns3_bucket = ooo\n"));
                soon(&|| fleet.sites().is_ok() && fleet.refused().is_empty());
            }
        }
        // The fault of a vendor without a bucket is not one of this server.
        write(&format!(
            "{first}foo_bar = 1\n[other]\ns3_bucket = ooo\n[broken]\ns3_bucket = lll\nno_key = 1\n"
        ));
        soon(&|| fleet.sites().is_ok() && fleet.refused().keys().eq(["broken"]));
        // A fault that concerns all vendors changes nothing.
        write("[redhta]\nmask_layers = x\n");
        soon(&|| {
            fleet.sites().is_err_and(|error| error.to_string().contains("did you mean the section [redhat]?"))
        });
        write(&format!("[acme]\ns3_bucket = aaa\nregistry_host = r.acme.com\n{bad}"));
        soon(&|| fleet.sites().is_ok_and(|sites| shown(&sites) == [acme]));
    }

    #[test]
    fn a_server_starts_without_the_vendors_whose_section_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("raas.cfg");
        let fleet = |text: &str, only: &[&str]| {
            fs::write(&file, text).unwrap();
            let request = ConfigRequest { file: Some(file.clone()), ..ConfigRequest::default() };
            let home = || Home::new(Some("/nonexistent".into()));
            let config = Config::load(&request, &home, NeededSections::Servable);
            let config = config.map_err(|failure| failure.to_string())?;
            let reload = Reload { request, load: Box::new(|| Ok(Config::default())) };
            let only = only.iter().map(|name| name.parse().unwrap()).collect();
            let fleet = Fleet::new(&config, reload, only, Buckets::example());
            let fleet = fleet.map_err(|failure| failure.to_string())?;
            let served: Vec<String> = fleet.served().iter().map(ToString::to_string).collect();
            Ok::<_, String>((served, fleet.refused().into_keys().collect::<Vec<_>>()))
        };
        let good = "[acme]\ns3_bucket = aaa\n";
        let table = [
            "[bad]\ns3_bucket = bbb\nfoo_bar = 1\n",
            "[bad]\ns3_bucket = bbb\naccess = pressigned\n",
            "[bad]\ns3_bucket = bbb\ns3_bucket = bbc\n",
            "[bad]\ns3_bucket = bbb\nno key\n",
            "[bad]\ns3_bucket = bbb\ncdn_akamai_secret = ${NO_SUCH_VARIABLE}\n",
        ];
        for bad in table {
            for only in [[].as_slice(), &["acme", "bad"]] {
                let (served, refused) = fleet(&format!("{good}{bad}"), only).unwrap();
                assert_eq!((served, refused), (vec!["acme".to_owned()], vec!["bad".to_owned()]), "{bad}");
            }
            let failure = fleet(bad, &[]).unwrap_err();
            assert!(failure.contains("no vendor") && failure.contains("raas.cfg, line "), "{failure}");
        }
        // Of two claims to one bucket or one host, the server knows neither for right.
        for both in ["s3_bucket = aaa\n", "s3_bucket = bbb\nregistry_host = r.acme.com\n"] {
            let text = format!("[bad]\n{both}{good}registry_host = r.acme.com\n[other]\ns3_bucket = ooo\n");
            let (served, refused) = fleet(&text, &[]).unwrap();
            assert_eq!(
                (served, refused),
                (vec!["other".to_owned()], vec!["acme".to_owned(), "bad".to_owned()])
            );
        }
        let (served, refused) = fleet(&format!("{good}[Bad]\ns3_bucket = bbb\n"), &[]).unwrap();
        assert_eq!((served.len(), refused), (1, vec!["Bad".to_owned()]));
        // These faults may concern every vendor.
        for wrong in ["[bad\n", "[aws]\nregoin = x\n", "[awss]\nregion = x\n", "x = y\n[bad]\n"] {
            let failure = fleet(&format!("{wrong}{good}"), &[]).unwrap_err();
            assert!(failure.contains("raas.cfg, line "), "{failure}");
        }
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
