//! `raas serve`.

pub(super) mod address;
mod auth;
mod bind;
#[cfg_attr(not(feature = "operator"), path = "serve/no_home.rs")]
mod from_home;
mod limits;
mod observability;
mod per_vendor;
mod stateless;
mod systemd;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use raas_server::{Options, SiteSource, TokenKey};
use raas_types::VendorName;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::credentials;
use crate::fleet::{Fleet, Reload};
use crate::log::{self, LogFormat};
use crate::output;
use crate::sites::Buckets;
use crate::traces::ServerTraces;
use auth::AuthArgs;
use bind::{bind, bind_for_clients};
use from_home::{FromHome, KeptRegistration};
use limits::LimitArgs;
use observability::ObservabilityArgs;
use raas_base::failure::{Context as _, Failure};
use raas_base::interrupt;
use raas_platform::registration;
use stateless::StatelessArgs;
use tls::TlsArgs;

/// Serve the registries of vendors
///
/// The host name of a request selects the vendor: `registry_host` of raas.cfg, or `ISV.localhost`. A server of a single
/// vendor answers under every host name. New publications appear within a second. If you name no vendors, new vendors
/// appear too.
///
/// With --metadata the server needs no home, no git and no volume: it follows what a bucket or a folder publishes, so
/// any number of servers can serve a vendor on any platform. With --from-config it follows the bucket of every vendor
/// in raas.cfg, and raas.cfg itself.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas serve bigdatainc --listen 0.0.0.0:5000\n  raas serve --metadata bigdatainc=s3://bigdatainc-images --listen 0.0.0.0:5000"
)]
pub(crate) struct Arguments {
    /// Serve only these vendors [default: all]
    #[arg(value_name = "ISV")]
    pub(crate) vendors: Vec<VendorName>,

    /// Listen on this address and port; only this machine reaches a port that is given alone
    ///
    /// Port 0 takes a free port. If systemd hands over a socket (`LISTEN_FDS`), the server listens on that one instead.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "RAAS_LISTEN",
        default_value = "127.0.0.1:5000",
        value_parser = address::parse
    )]
    listen: SocketAddr,

    #[command(flatten)]
    observability: ObservabilityArgs,

    /// Write the log to standard error in this format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: LogFormat,

    /// Write no log line for each request
    #[arg(long)]
    no_access_log: bool,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    tls: TlsArgs,

    #[command(flatten)]
    stateless: StatelessArgs,

    #[command(flatten)]
    auth: AuthArgs,
}

pub(crate) fn run(
    home: Option<PathBuf>,
    config: &Config,
    reload: Reload,
    arguments: Arguments,
) -> Result<ExitCode, Failure> {
    if arguments.log == LogFormat::Json {
        output::as_json_log();
    }
    arguments.observability.check()?;
    let mut options = arguments.tls.options()?;
    arguments.tls.check_files()?;
    arguments.limits.apply(&mut options);
    options.allow_rollback = arguments.stateless.allow_rollback;
    options.state = arguments.stateless.state.clone().or_else(systemd::state_folder);
    let log = log::start(arguments.log, !arguments.no_access_log);
    options.lost_log_lines = log.lost();
    // Dropped before the log, which gets what is said about the last spans.
    let traces = ServerTraces::start(arguments.observability.trace_slower_than);
    options.traces = traces.receiver();
    output::wait_briefly();
    for warning in config.warnings() {
        tracing::warn!(warning, "the configuration");
    }
    if let Some(warning) = arguments.tls.warning() {
        tracing::warn!(warning, "the token key is not safe");
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // These threads read files and resolve names. Hundreds of buckets may have names that no resolver answers for.
        .max_blocking_threads(256)
        .enable_all()
        .build()
        .context(|| "cannot start the server's threads".into())?;
    let runtime = Threads(Some(runtime));
    let (vendors, stateless) = (arguments.vendors, arguments.stateless);
    // A home may have a bucket of an unserved vendor only: that costs one search for credentials at most.
    let needs_credentials = stateless.needs_credentials(config.has_buckets());
    let found = runtime.block_on(credentials::source(&config.aws, needs_credentials))?;
    let buckets = Buckets::new(found.region.as_deref(), found.credentials);
    let server = Server { listen: arguments.listen, options, observability: &arguments.observability };
    if stateless.from_config {
        let fleet = Fleet::new(config, reload, vendors, buckets)?;
        let what = name_or_number(&fleet.served());
        runtime.block_on(server.serve_stateless(fleet, &what))?;
    } else if stateless.is_requested() {
        let mut sites = stateless.sites(&vendors, config, &buckets)?;
        arguments.auth.apply(&mut sites)?;
        let what = name_or_number(&sites.iter().map(|site| site.vendor.clone()).collect::<Vec<_>>());
        runtime.block_on(server.serve_stateless(sites, &what))?;
    } else {
        let from_home = FromHome { home, config, vendors, buckets, tls: &arguments.tls };
        from_home.serve(server, &runtime)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Raises the soft limit of open descriptors to the hard limit. Each client takes a descriptor, and one more while it gets a
/// layer. The usual soft limit of 1024 exists for programs that use `select`; operators can bound the server by the hard
/// limit.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without permission, the server serves fewer clients at once.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A server that does not listen yet.
struct Server<'a> {
    listen: SocketAddr,
    options: Options,
    observability: &'a ObservabilityArgs,
}

impl Server<'_> {
    /// Serves without a home, and so without a registration. `what` names the vendors for people.
    async fn serve_stateless(self, sites: impl SiteSource, what: &str) -> Result<(), Failure> {
        let stop = stop_signal().context(|| "cannot listen for signals".into())?;
        warn_of_own_token_key(&self.options, &sites);
        let (listener, address) = bind_for_clients(self.listen).await?;
        let options = self.observability.options(self.options).await?;
        let scheme = registration::scheme(options.is_secure());
        let what = format!("Serving {what} on {scheme}://{address}");
        output::note(&what);
        answer(Listening { listener, what, registered: None }, sites, options, stop).await
    }
}

/// Warns that the tokens of this server are its own, which breaks logins if there are several servers behind one name.
fn warn_of_own_token_key(options: &Options, sites: &impl SiteSource) {
    if options.token_key != TokenKey::of_this_process() {
        return;
    }
    // Sites that cannot be read now are reported when the server starts.
    let sites = sites.sites().unwrap_or_default();
    if let Some(site) = sites.iter().find(|site| site.users.is_some()) {
        tracing::warn!(
            vendor = %site.vendor,
            "there are users and no --token-key: the tokens of this server are valid at no other replica, and end when it \
             stops; give every replica the same key"
        );
    }
}

/// The name of one vendor, or the number of several.
fn name_or_number(vendors: &[VendorName]) -> String {
    match vendors {
        [one] => one.to_string(),
        several => format!("{} vendors", several.len()),
    }
}

/// A server that clients can connect to.
struct Listening {
    listener: TcpListener,
    /// What it serves and where, for people.
    what: String,
    /// Removed when the server stops.
    registered: Option<KeptRegistration>,
}

/// Answers requests until a signal stops the server.
async fn answer(
    listening: Listening,
    sites: impl SiteSource,
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    let Listening { listener, what, registered } = listening;
    let address = listener.local_addr().context(|| "cannot tell the server's address".into())?;
    let stop = async move {
        stop.await;
        systemd::stopping();
        // A push must not wait for a server that stops.
        if let Some(registered) = registered {
            registered.end();
        }
    };
    let watchdog = tokio::spawn(systemd::watchdog());
    let served = raas_server::serve_and_tell(listener, sites, options, || systemd::ready(&what), stop).await;
    watchdog.abort();
    served.context(|| format!("the server on {address} failed"))
}

/// Resolves at the first SIGTERM, SIGINT or SIGHUP. The second one ends the process at once, whatever the server waits for.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = SignalKind::hangup();
    let mut hangup = if interrupt::is_ignored(hangup) { None } else { Some(signal(hangup)?) };
    // From here on the server handles signals itself, also while a repository is cloned.
    interrupt::caller_exits();
    let (sender, first) = oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
                () = hung_up => 129,
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
        tokio::task::spawn_blocking(|| output::note("Stopping after the requests in flight"));
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
