//! A server of a home: it serves the checkouts of the home's vendors, and other commands find it.

use std::path::PathBuf;

use raas_base::failure::{Context as _, Failure};
use raas_platform::ServerRegistration;
use raas_platform::registration;
use raas_publish::home::{Home, Vendor};
use raas_publish::publication;
use raas_types::VendorName;

use super::bind::bind;
use super::tls::TlsArgs;
use super::{Server, Threads, answer, stop_signal};
use crate::config::Config;
use crate::follow;
use crate::output;
use crate::sites::{Buckets, HomeSites};
use crate::storage::{OpenRegistry, check_storage, say_on_stderr};
use crate::vendors;

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
        follow::others(&home, config, &vendors);
        runtime.block_on(server.serve_home(&home, sites, vendors))
    }
}

/// The sites of a home. Before a vendor is served, what a killed push has left is finished.
fn home_sites(
    home: &Home,
    config: &Config,
    vendors: &[VendorName],
    buckets: Buckets,
) -> Result<HomeSites, Failure> {
    for name in vendors {
        vendors::existing(home, config, name)?;
    }
    home.ensure()?;
    let sites = HomeSites::new(home, config, vendors.to_vec(), buckets)?;
    for vendor in sites.vendors().context(|| format!("cannot read {}", home.root().display()))? {
        // Each request for bytes of this vendor would fail.
        check_storage(&vendor, config)?;
        // A damaged vendor does not keep the others from being served. Its checkout is served as it is.
        if let Err(failure) = recover(&vendor, config) {
            output::error(&format!("Cannot bring vendor {} up to date:\n{failure}", vendor.name()));
        }
    }
    Ok(sites)
}

/// Finishes what a push left that was killed after its commit.
fn recover(vendor: &Vendor, config: &Config) -> Result<(), Failure> {
    let open = OpenRegistry::open(vendor, config, say_on_stderr())?;
    open.remember_storage()?;
    publication::recover(&open.registry())
}

impl Server<'_> {
    /// Serves the vendors of a home. The home has a registration of the server for as long as the server accepts
    /// connections.
    async fn serve_home(self, home: &Home, sites: HomeSites, only: Vec<VendorName>) -> Result<(), Failure> {
        let stop = stop_signal().context(|| "cannot listen for signals".into())?;
        let (listener, address) = bind(self.listen).await?;
        let options = self.observability.options(self.options).await?;
        let (pid, secure) = (std::process::id(), options.is_secure());
        let registration = ServerRegistration { address, pid, vendors: only, secure };
        // Other commands find the server from here on. A connection waits until the metadata is loaded.
        let registered = registration::register(&home.servers(), &registration);
        // The disk may be full, or read-only. Clients do not need the registration.
        let registered = registered.map_err(|error| {
            output::error(&format!(
                "Note: other commands of this machine do not find this server, and a push does not wait for it: \
                 cannot register it in {}: {error}",
                home.servers().display()
            ));
        });
        let vendors = sites.vendors().context(|| format!("cannot read {}", home.root().display()))?;
        say_addresses(&registration, &vendors);
        answer(listener, sites, options, registered.ok(), stop).await
    }
}

fn say_addresses(server: &ServerRegistration, vendors: &[Vendor]) {
    let (address, scheme) = (server.reachable(), registration::scheme(server.secure));
    match vendors {
        [] => {
            output::note(&format!(
                "Serving on {scheme}://{address}; no vendor is set up yet (run raas setup ISV)"
            ));
        }
        [one] => output::note(&format!("Serving {} on {scheme}://{address}", one.name())),
        several => {
            for vendor in several {
                output::note(&format!(
                    "Serving {0} on {scheme}://{0}.localhost:{1}",
                    vendor.name(),
                    address.port()
                ));
            }
        }
    }
}
