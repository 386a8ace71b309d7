//! A server of a home: it serves the checkouts of the home's vendors, and other commands find it.

use std::path::PathBuf;
use std::time::Duration;

use raas_base::failure::{Context as _, Failure};
use raas_platform::ServerRegistration;
use raas_platform::registration;
use raas_publish::home::{Home, Vendor};
use raas_publish::reading::Reading;
use raas_server::SiteSource as _;
use raas_types::VendorName;
use tokio::time::timeout;

use super::auth;
use super::bind::bind_for_clients;
use super::tls::TlsArgs;
use super::{Listening, Server, Threads, answer, stop_signal};
use crate::config::Config;
use crate::follow;
use crate::output;
use crate::sites::{Buckets, HomeSites};
use crate::vendors;

mod kept_registration;
mod recovery;

pub(super) use kept_registration::KeptRegistration;

/// How long the server waits at its start until every vendor is up to date. A bucket that works answers sooner.
const RECOVERY: Duration = Duration::from_secs(2);

/// What a server of a home is made of.
pub(super) struct FromHome<'a> {
    pub(super) home: Option<PathBuf>,
    pub(super) config: &'a Config,
    pub(super) vendors: Vec<VendorName>,
    pub(super) buckets: Buckets,
    pub(super) tls: &'a TlsArgs,
}

impl FromHome<'_> {
    /// Serves until a signal.
    ///
    /// # Errors
    /// The home or a named vendor cannot be used, or the server cannot listen.
    pub(super) fn serve(self, mut server: Server<'_>, runtime: &Threads) -> Result<(), Failure> {
        let Self { home, config, vendors, buckets, tls } = self;
        let home = Home::new(home)?;
        let sites = home_sites(&home, config, &vendors, buckets)?;
        let token_key = server.options.token_key.clone();
        server.options.token_key = tls.token_key_in(home.root(), token_key)?;
        runtime.block_on(server.serve_home(&home, sites, config, vendors))
    }
}

/// The sites of a home.
///
/// # Errors
/// A named vendor does not exist, or no vendor can be served.
fn home_sites(
    home: &Home,
    config: &Config,
    vendors: &[VendorName],
    buckets: Buckets,
) -> Result<HomeSites, Failure> {
    for name in vendors.iter().filter(|name| home.vendor(name).is_absent()) {
        vendors::existing(home, config, name)?;
    }
    home.ensure()?;
    let sites = HomeSites::new(home, config, vendors.to_vec(), buckets);
    let all = sites.vendors().context(|| format!("cannot read {}", home.root().display()))?;
    let is_here = |section: &str| all.iter().any(|vendor| vendor.name().as_str() == section);
    for (section, reason) in config.refused().into_iter().filter(|(section, _)| !is_here(section)) {
        tracing::warn!(section, reason, "a section of the configuration cannot be used");
    }
    let mut wrong = Vec::new();
    for vendor in &all {
        if let Reading::Unreadable(failure) = vendor.presence() {
            // The others are served, and this one as soon as it can be read.
            output::error(&format!("Cannot serve vendor {} yet:\n{failure}", vendor.name()));
            continue;
        }
        if let Err(failure) = sites.check(vendor) {
            wrong.push(failure);
        }
    }
    // A fault of one vendor stops no other vendor: the log has it.
    if wrong.len() == all.len()
        && let Some(failure) = wrong.pop()
    {
        wrong.iter().for_each(|failure| output::error(&failure.to_string()));
        return Err(failure);
    }
    let found = sites.sites().context(|| format!("cannot read {}", home.root().display()))?;
    for site in &found {
        match auth::check(site) {
            // The server counts the file, and nobody gets in by it.
            Err(failure) if found.len() > 1 => output::error(&failure.to_string()),
            checked => checked?,
        }
    }
    Ok(sites)
}

impl Server<'_> {
    /// Serves the vendors of a home. The home has a registration of the server for as long as the server accepts
    /// connections.
    async fn serve_home(
        self,
        home: &Home,
        sites: HomeSites,
        config: &Config,
        only: Vec<VendorName>,
    ) -> Result<(), Failure> {
        let mut stop = Box::pin(stop_signal().context(|| "cannot listen for signals".into())?);
        let (listener, address) = bind_for_clients(self.listen).await?;
        let options = self.observability.options(self.options).await?;
        let (pid, secure) = (std::process::id(), options.is_secure());
        let registration = ServerRegistration { address, pid, vendors: only.clone(), secure };
        // Other commands find the server from here on. A connection waits until the metadata is loaded.
        let registered = KeptRegistration::begin(home, registration.clone());
        let mut vendors = sites.vendors().context(|| format!("cannot read {}", home.root().display()))?;
        let refused = sites.refused();
        vendors.retain(|vendor| !refused.contains_key(vendor.name().as_str()));
        let recovered = recovery::begin(vendors.clone(), config);
        tokio::select! {
            // A bucket that does not answer must keep nobody away. Its vendor's checkout is served as it is.
            _ = timeout(RECOVERY, recovered) => {}
            () = &mut stop => return Ok(()),
        }
        follow::others(home, config, &only);
        let what = say_addresses(&registration, &vendors);
        answer(Listening { listener, what, registered: Some(registered) }, sites, options, stop).await
    }
}

/// Says where clients find the vendors. Returns it in one line.
fn say_addresses(server: &ServerRegistration, vendors: &[Vendor]) -> String {
    let (address, scheme) = (server.reachable(), registration::scheme(server.secure));
    let what = match vendors {
        [] => format!("Serving on {scheme}://{address}; no vendor is set up yet (run raas setup ISV)"),
        [one] => format!("Serving {} on {scheme}://{address}", one.name()),
        several => {
            for vendor in several {
                output::note(&format!(
                    "Serving {0} on {scheme}://{0}.localhost:{1}",
                    vendor.name(),
                    address.port()
                ));
            }
            return format!("Serving {} vendors on {scheme}://{address}", several.len());
        }
    };
    output::note(&what);
    what
}
