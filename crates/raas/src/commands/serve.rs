//! `raas serve`.

mod address;
mod bind;
mod doors;
mod front;
mod of_vendor;
mod watched;
mod without_home;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use raas_server::{Options, SiteSource};
use raas_types::VendorName;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::credentials;
use crate::fleet::{Fleet, Reload};
use crate::follow;
use crate::log::{self, LogFormat};
use crate::output;
use crate::sites::{Buckets, HomeSites};
use crate::storage::{OpenRegistry, say_on_stderr};
use bind::bind;
use doors::Doors;
use front::Front;
use raas_base::failure::{Context as _, Failure};
use raas_platform::ServerRegistration;
use raas_platform::registration::{self, Registered};
use raas_publish::home::{Home, Vendor};
use raas_publish::publication;
use without_home::WithoutHome;

/// Serve the registries of vendors.
///
/// One vendor is served under any host name; several are told apart by it: the `registry_host` of raas.cfg, or
/// `ISV.localhost`. New publications, and with no vendor named new vendors too, appear within a second.
///
/// With --metadata the server needs no home, no git and no volume: it follows what is published in a bucket or a
/// folder, so that any number of them serve a vendor on any platform. With --from-config it does so for every vendor
/// of raas.cfg that has a bucket, as the file says today.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendors [default: all]
    #[arg(value_name = "ISV")]
    vendors: Vec<VendorName>,

    /// The address and port to listen on, or a port of this machine alone; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000", value_parser = address::parse)]
    listen: SocketAddr,

    #[command(flatten)]
    watched: watched::Watched,

    /// How the log is written, to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: LogFormat,

    /// Write no line for each request
    #[arg(long)]
    no_access_log: bool,

    #[command(flatten)]
    front: Front,

    #[command(flatten)]
    without_home: WithoutHome,

    #[command(flatten)]
    doors: Doors,
}

pub(crate) fn run(
    home: Option<PathBuf>,
    config: &Config,
    reload: Reload,
    arguments: Arguments,
) -> Result<ExitCode, Failure> {
    arguments.watched.check()?;
    let mut options = arguments.front.options()?;
    let log = log::start(arguments.log, !arguments.no_access_log);
    options.lost_log_lines = log.lost();
    output::wait_briefly();
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Threads that read files, as many as a disk can use, and that look names up, where hundreds of buckets may
        // all be at names that nobody answers for.
        .max_blocking_threads(256)
        .enable_all()
        .build()
        .context(|| "cannot start the server's threads".into())?;
    let runtime = Threads(Some(runtime));
    let without_home = arguments.without_home;
    // A section that nobody serves costs a question at most.
    let needed = without_home.needs_credentials(config.has_buckets());
    let buckets = Buckets::new(&config.aws, runtime.block_on(credentials::source(&config.aws, needed))?);
    let (listen, watched) = (arguments.listen, &arguments.watched);
    if without_home.from_config {
        let fleet = Fleet::new(config, reload, arguments.vendors, buckets)?;
        let said = said(&fleet.served());
        runtime.block_on(serve_alone(fleet, &said, options, listen, watched))?;
        return Ok(ExitCode::SUCCESS);
    }
    if without_home.is_asked() {
        let mut sites = without_home.sites(&arguments.vendors, config, &buckets)?;
        arguments.doors.open(&mut sites)?;
        let said = said(&sites.iter().map(|site| site.vendor.clone()).collect::<Vec<_>>());
        runtime.block_on(serve_alone(sites, &said, options, listen, watched))?;
        return Ok(ExitCode::SUCCESS);
    }
    let home = Home::new(home)?;
    for name in &arguments.vendors {
        home.existing(name)?;
    }
    home.ensure()?;
    options.token_key = arguments.front.token_key_in(home.root(), options.token_key)?;
    let vendors = arguments.vendors.clone();
    let sites = HomeSites::new(&home, config, vendors, buckets)?;
    for vendor in sites.vendors().context(|| format!("cannot read {}", home.root().display()))? {
        // One vendor's damage is no reason to serve no other: what is there of its checkout is served.
        if let Err(failure) = catch_up(&vendor, config) {
            output::error(&format!("Vendor {} cannot be brought up to date:\n{failure}", vendor.name()));
        }
    }
    follow::others(&home, config, &arguments.vendors);
    runtime.block_on(serve(&home, sites, arguments.vendors, options, listen, watched))?;
    Ok(ExitCode::SUCCESS)
}

/// Each client takes a descriptor, and one more while it gets a layer. The common soft limit of 1024 is for programs
/// that use `select`; whoever means to bound this server sets the hard one.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A system that does not let it serves fewer clients at once.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A push that was killed after its commit has published: show it.
fn catch_up(vendor: &Vendor, config: &Config) -> Result<(), Failure> {
    let open = OpenRegistry::open(vendor, config, say_on_stderr())?;
    publication::recover(&open.registry())
}

async fn serve(
    home: &Home,
    sites: HomeSites,
    only: Vec<VendorName>,
    options: Options,
    listen: SocketAddr,
    watched: &watched::Watched,
) -> Result<(), Failure> {
    let (listener, address) = bind(listen).await?;
    let options = watched.options(options).await?;
    let note =
        ServerRegistration { address, pid: std::process::id(), vendors: only, secure: options.is_secure() };
    let cannot_note = || format!("cannot note the server's address in {}", home.servers().display());
    // From here on others find it; a connection waits until the metadata is loaded.
    let registered = registration::register(&home.servers(), &note).context(cannot_note)?;
    let vendors = sites.vendors().context(|| format!("cannot read {}", home.root().display()))?;
    say_where(&note, &vendors);
    answer(listener, sites, options, address, Some(registered)).await
}

/// Without a home there is nobody to leave a note for.
async fn serve_alone(
    sites: impl SiteSource,
    said: &str,
    options: Options,
    listen: SocketAddr,
    watched: &watched::Watched,
) -> Result<(), Failure> {
    let (listener, address) = bind(listen).await?;
    let options = watched.options(options).await?;
    output::error(&format!("Serving {said} on {}://{address}", registration::scheme(options.is_secure())));
    answer(listener, sites, options, address, None).await
}

/// One vendor by its name, several by how many they are.
fn said(vendors: &[VendorName]) -> String {
    match vendors {
        [one] => one.to_string(),
        several => format!("{} vendors", several.len()),
    }
}

/// Answers until it is told to stop; the note, if there is one, is taken away then.
async fn answer(
    listener: TcpListener,
    sites: impl SiteSource,
    options: Options,
    address: SocketAddr,
    registered: Option<Registered>,
) -> Result<(), Failure> {
    let stop = stop_signal().context(|| "cannot listen for signals".into())?;
    let stop = async move {
        stop.await;
        // From here on nobody need wait for this server.
        drop(registered);
    };
    let served = raas_server::serve(listener, sites, options, stop).await;
    served.context(|| format!("the server on {address} failed"))
}

fn say_where(note: &ServerRegistration, vendors: &[Vendor]) {
    let (address, scheme) = (note.reachable(), registration::scheme(note.secure));
    match vendors {
        [] => {
            output::error(&format!(
                "Serving on {scheme}://{address}; no vendor is set up yet (raas setup ISV)"
            ));
        }
        [one] => output::error(&format!("Serving {} on {scheme}://{address}", one.name())),
        several => {
            for vendor in several {
                output::error(&format!(
                    "Serving {0} on {scheme}://{0}.localhost:{1}",
                    vendor.name(),
                    address.port()
                ));
            }
        }
    }
}

/// Resolves at the first SIGTERM or SIGINT. The second ends the process at once, whatever the server waits for.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, first) = oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
            }
        };
        next().await;
        // The server may have failed meanwhile.
        let _ = sender.send(());
        std::process::exit(next().await);
    });
    Ok(async move {
        let _ = first.await;
        // Not here: a thread of the runtime must not wait for standard error.
        tokio::task::spawn_blocking(|| output::error("Stopping; requests in flight are finished first"));
    })
}

/// The server's threads. When this is dropped, a thread that waits, such as for the resolver of names, does not keep the
/// process from ending.
struct Threads(Option<Runtime>);

impl Threads {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.as_ref().expect("the runtime is there until the drop").block_on(future)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}
