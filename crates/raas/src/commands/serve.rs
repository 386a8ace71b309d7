//! `raas serve`.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use raas_server::{Bucket, Metadata, SiteConfig, SiteSource};
use raas_types::VendorName;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Context as _, Failure, Kind};
use crate::home::{Home, Vendor};
use crate::servers::{self, Note};

/// Serve the registries of vendors.
///
/// One vendor is served under any host name; several are told apart by it, `ISV.localhost`. New publications, and
/// with no vendor named new vendors too, appear within a second.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendors [default: all]
    #[arg(value_name = "ISV")]
    vendors: Vec<VendorName>,

    /// The address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,

    /// How the log is written, to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

pub(crate) fn run(home: &Home, arguments: &Arguments) -> Result<ExitCode, Failure> {
    start_log(arguments.log);
    for name in &arguments.vendors {
        if !home.vendor(name).exists() {
            return Err(Failure::new(
                Kind::Usage,
                format!("there is no vendor {name} in {}", home.root().display()),
            )
            .hint(format!("set it up: raas setup {name}")));
        }
    }
    home.ensure()?;
    let sites = HomeSites { home: home.clone(), only: arguments.vendors.clone() };
    for vendor in sites.vendors().context(|| format!("cannot read {}", home.root().display()))? {
        catch_up(&vendor)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Threads that read files: as many as a disk can use.
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .context(|| "cannot start the server's threads".into())?;
    runtime.block_on(serve(home, sites, arguments.listen))?;
    Ok(ExitCode::SUCCESS)
}

/// A push that was killed between its commit and the checkout has published: show it.
fn catch_up(vendor: &Vendor) -> Result<(), Failure> {
    let _lock = vendor.lock()?;
    match vendor.record().head()? {
        Some(head) => vendor.checkout().update(&vendor.record(), &head),
        None => Ok(()),
    }
}

async fn serve(home: &Home, sites: HomeSites, listen: SocketAddr) -> Result<(), Failure> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot listen on {listen}"))
            .caused_by(error)
            .hint("another program may have the port; `--listen 127.0.0.1:0` takes a free one")
    })?;
    let address = listener.local_addr().context(|| format!("cannot listen on {listen}"))?;
    let note = Note { address, pid: std::process::id(), vendors: sites.only.clone() };
    let cannot_note = || format!("cannot note the server's address in {}", home.servers().display());
    // From here on others find it; a connection waits until the metadata is loaded.
    let posted = servers::post(&home.servers(), &note).context(cannot_note)?;
    let vendors = sites.vendors().context(|| format!("cannot read {}", home.root().display()))?;
    say_where(&note, &vendors);
    let stop = stop_signal().context(|| "cannot listen for signals".into())?;
    let served = raas_server::serve(listener, sites, raas_server::Options::default(), stop).await;
    drop(posted);
    served.context(|| format!("the server on {address} failed"))
}

fn say_where(note: &Note, vendors: &[Vendor]) {
    let address = note.reachable();
    match vendors {
        [] => eprintln!("Serving on http://{address}; no vendor is set up yet (raas setup ISV)"),
        [one] => eprintln!("Serving {} on http://{address}", one.name()),
        several => {
            for vendor in several {
                eprintln!("Serving {0} on http://{0}.localhost:{1}", vendor.name(), address.port());
            }
        }
    }
}

/// Resolves at the first SIGTERM or SIGINT; the second ends the process as it does by default.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        eprintln!("Stopping; requests in flight are finished first");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}

fn start_log(format: LogFormat) {
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// The vendors of a home, as sites of the server.
struct HomeSites {
    home: Home,
    /// Those that are served; all if it is empty.
    only: Vec<VendorName>,
}

impl HomeSites {
    fn vendors(&self) -> io::Result<Vec<Vendor>> {
        if self.only.is_empty() {
            return self.home.vendors();
        }
        Ok(self.only.iter().map(|name| self.home.vendor(name)).collect())
    }
}

impl SiteSource for HomeSites {
    fn sites(&self) -> io::Result<Vec<SiteConfig>> {
        let site = |vendor: Vendor| SiteConfig {
            vendor: vendor.name().clone(),
            metadata: Metadata::Folder(vendor.checkout().folder().to_owned()),
            bucket: Bucket::Folder(vendor.bucket()),
        };
        Ok(self.vendors()?.into_iter().map(site).collect())
    }
}
