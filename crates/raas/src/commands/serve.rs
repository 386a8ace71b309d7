//! `raas serve`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use raas_server::{CertificateFiles, Options, SiteConfig, SiteSource};
use raas_types::VendorName;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Access, Config, VendorSettings};
use crate::credentials;
use crate::failure::{Context as _, Failure, Kind};
use crate::home::{Home, Vendor};
use crate::log::{self, LogFormat};
use crate::output;
use crate::servers::{self, Note, Posted};
use crate::sites::{Buckets, HomeSites, Named, alone};

/// Serve the registries of vendors.
///
/// One vendor is served under any host name; several are told apart by it, `ISV.localhost`. New publications, and
/// with no vendor named new vendors too, appear within a second.
///
/// With --metadata the server needs no home, no git and no volume: it follows what is published in a bucket or a
/// folder, so that any number of them serve one vendor on any platform.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendors [default: all]
    #[arg(value_name = "ISV")]
    vendors: Vec<VendorName>,

    /// The address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,

    /// An address and port of its own to tell Prometheus what is counted, at /metrics
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,

    /// How the log is written, to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: LogFormat,

    /// Write no line for each request
    #[arg(long)]
    no_access_log: bool,

    #[command(flatten)]
    alone: Alone,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "One vendor without a home")]
struct Alone {
    /// Where the metadata of the one ISV is: s3://BUCKET[/PREFIX], the URL of such a place, or a folder
    #[arg(long, value_name = "PLACE", env = "RAAS_METADATA", value_parser = Named::parse)]
    metadata: Option<Named>,

    /// Where its objects are, likewise [default: as [ISV] in raas.cfg says, else where the metadata is]
    #[arg(long, value_name = "PLACE", env = "RAAS_BUCKET", value_parser = Named::parse, requires = "metadata")]
    bucket: Option<Named>,

    /// How clients get at them [default: as [ISV] in raas.cfg says, else presigned]
    #[arg(long, value_name = "ACCESS", env = "RAAS_ACCESS", requires = "metadata")]
    access: Option<AccessArgument>,

    /// The users who see protected repositories, as `htpasswd -B` writes them [with a home: htpasswd in the vendor's
    /// folder]
    #[arg(long, value_name = "FILE", env = "RAAS_HTPASSWD", requires = "metadata")]
    htpasswd: Option<PathBuf>,

    /// The server's own certificate with its chain, in PEM; a renewed one is used without a restart
    #[arg(
        long,
        value_name = "FILE",
        env = "RAAS_TLS_CERTIFICATE",
        requires = "metadata",
        requires = "tls_key"
    )]
    tls_certificate: Option<PathBuf>,

    /// Its key
    #[arg(long, value_name = "FILE", env = "RAAS_TLS_KEY", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// The S3 service, where it is not AWS
    #[arg(long, value_name = "URL", env = "RAAS_S3_ENDPOINT", requires = "metadata")]
    s3_endpoint: Option<String>,

    /// The region [default: AWS_REGION, else us-east-1]
    #[arg(long, value_name = "REGION", env = "RAAS_S3_REGION", requires = "metadata")]
    s3_region: Option<String>,

    /// The bucket stands in the path, and not in the host name
    #[arg(long, env = "RAAS_S3_PATH_STYLE", requires = "metadata")]
    s3_path_style: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AccessArgument {
    /// The server redirects to signed URLs of a private bucket
    Presigned,
    /// The server redirects to the bucket, which everybody may read
    Public,
    /// The server redirects to the CDN of [ISV] in raas.cfg
    Cdn,
    /// The server passes the bytes on
    Proxy,
}

pub(crate) fn run(home: Option<PathBuf>, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let _log = log::start(arguments.log, !arguments.no_access_log);
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Threads that read files: as many as a disk can use.
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .context(|| "cannot start the server's threads".into())?;
    // A section that nobody serves costs a question at most.
    let needed = arguments.alone.metadata.is_some() || config.has_buckets();
    let buckets = Buckets::new(&config.aws, runtime.block_on(credentials::source(&config.aws, needed))?);
    if let Some(metadata) = &arguments.alone.metadata {
        let [vendor] = arguments.vendors.as_slice() else {
            return Err(Failure::new(Kind::Usage, "--metadata is of one vendor, and needs its name")
                .hint("raas serve ISV --metadata PLACE"));
        };
        let settings = arguments.alone.settings(config.vendor(vendor))?;
        let mut site = alone(vendor, metadata, arguments.alone.bucket.as_ref(), &settings, &buckets)?;
        site.users = arguments.alone.htpasswd;
        let certificate = arguments.alone.tls_certificate.zip(arguments.alone.tls_key);
        let certificate = certificate.map(|(certificate, key)| CertificateFiles { certificate, key });
        runtime.block_on(serve_alone(site, vendor, certificate, arguments.listen, arguments.metrics))?;
        return Ok(ExitCode::SUCCESS);
    }
    let home = Home::new(home)?;
    for name in &arguments.vendors {
        home.existing(name)?;
    }
    home.ensure()?;
    let vendors = arguments.vendors.clone();
    let sites = HomeSites::new(&home, config, vendors, buckets)?;
    for vendor in sites.vendors().context(|| format!("cannot read {}", home.root().display()))? {
        // One vendor's damage is no reason to serve no other: what is there of its checkout is served.
        if let Err(failure) = catch_up(&vendor) {
            output::error(&format!("Vendor {} cannot be brought up to date:\n{failure}", vendor.name()));
        }
    }
    runtime.block_on(serve(&home, sites, arguments.vendors, arguments.listen, arguments.metrics))?;
    Ok(ExitCode::SUCCESS)
}

impl Alone {
    /// The vendor's section, with what the command line says before it.
    fn settings(&self, section: VendorSettings) -> Result<VendorSettings, Failure> {
        let mut settings = section;
        settings.s3_endpoint = self.s3_endpoint.clone().or(settings.s3_endpoint);
        settings.s3_region = self.s3_region.clone().or(settings.s3_region);
        settings.s3_path_style |= self.s3_path_style;
        settings.access = match self.access {
            None => settings.access,
            Some(AccessArgument::Presigned) => Access::Presigned,
            Some(AccessArgument::Public) => Access::Public,
            Some(AccessArgument::Cdn) => Access::Cdn,
            Some(AccessArgument::Proxy) => Access::Proxy,
        };
        if settings.access == Access::Cdn && settings.cdn_url.is_none() {
            return Err(Failure::new(Kind::Usage, "--access cdn needs the URL of the CDN").hint(
                "set `cdn_url` in the vendor's section of raas.cfg, or give the CDN's URL to --bucket",
            ));
        }
        Ok(settings)
    }
}

/// Each client takes a descriptor, and one more while it gets a layer. The common soft limit of 1024 is for programs
/// that use `select`; whoever means to bound this server sets the hard one.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A system that does not let it serves fewer clients at once.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A push that was killed between its commit and the checkout has published: show it.
fn catch_up(vendor: &Vendor) -> Result<(), Failure> {
    let _lock = vendor.lock()?;
    match vendor.record().head()? {
        Some(head) => vendor.checkout().repair(&vendor.record(), &head),
        None => Ok(()),
    }
}

async fn serve(
    home: &Home,
    sites: HomeSites,
    only: Vec<VendorName>,
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
) -> Result<(), Failure> {
    let (listener, address) = bind(listen).await?;
    let options = options(metrics).await?;
    let note = Note { address, pid: std::process::id(), vendors: only };
    let cannot_note = || format!("cannot note the server's address in {}", home.servers().display());
    // From here on others find it; a connection waits until the metadata is loaded.
    let posted = servers::post(&home.servers(), &note).context(cannot_note)?;
    let vendors = sites.vendors().context(|| format!("cannot read {}", home.root().display()))?;
    say_where(&note, &vendors);
    answer(listener, sites, options, address, Some(posted)).await
}

/// Without a home there is nobody to leave a note for.
async fn serve_alone(
    site: SiteConfig,
    vendor: &VendorName,
    certificate: Option<CertificateFiles>,
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
) -> Result<(), Failure> {
    let (listener, address) = bind(listen).await?;
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let options = Options { certificate, ..options(metrics).await? };
    output::error(&format!("Serving {vendor} on {scheme}://{address}"));
    answer(listener, vec![site], options, address, None).await
}

async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot listen on {listen}"))
            .caused_by(error)
            .hint("another program may have the port; `--listen 127.0.0.1:0` takes a free one")
    })?;
    let address = listener.local_addr().context(|| format!("cannot listen on {listen}"))?;
    Ok((listener, address))
}

async fn options(metrics: Option<SocketAddr>) -> Result<Options, Failure> {
    let metrics = match metrics {
        Some(address) => Some(Arc::new(bind(address).await?.0)),
        None => None,
    };
    Ok(Options { metrics, ..Options::default() })
}

/// Answers until it is told to stop; the note, if there is one, is taken away then.
async fn answer(
    listener: TcpListener,
    sites: impl SiteSource,
    options: Options,
    address: SocketAddr,
    posted: Option<Posted>,
) -> Result<(), Failure> {
    let stop = stop_signal().context(|| "cannot listen for signals".into())?;
    let stop = async move {
        stop.await;
        // From here on nobody need wait for this server.
        drop(posted);
    };
    let served = raas_server::serve(listener, sites, options, stop).await;
    served.context(|| format!("the server on {address} failed"))
}

fn say_where(note: &Note, vendors: &[Vendor]) {
    let address = note.reachable();
    match vendors {
        [] => {
            output::error(&format!("Serving on http://{address}; no vendor is set up yet (raas setup ISV)"));
        }
        [one] => output::error(&format!("Serving {} on http://{address}", one.name())),
        several => {
            for vendor in several {
                output::error(&format!(
                    "Serving {0} on http://{0}.localhost:{1}",
                    vendor.name(),
                    address.port()
                ));
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
        output::error("Stopping; requests in flight are finished first");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}
