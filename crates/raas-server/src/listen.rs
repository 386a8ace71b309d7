//! Connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::acme::{Acme, Keeper};
use crate::answer::answer_operator;
use crate::auth::{Limit, Throttle};
use crate::client::Client;
use crate::connection::{Connections, ended, http1};
use crate::drain::Drain;
use crate::health::Health;
use crate::metrics::{PAUSE, Tally};
use crate::notify::{self, Notify};
use crate::shared::Shared;
use crate::site::SiteSource;
use crate::tls::{CertificateFiles, Certificates, Files, Tls};
use crate::watch::{Bench, Watcher, keep_up};

/// How the server behaves. The default is right for all but tests.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often the sites are looked at for changes.
    pub poll: Duration,
    /// How often a bucket is asked for new metadata.
    pub remote_poll: Duration,
    /// How long the server waits at its start for metadata in buckets, before it serves what it has.
    pub patience: Duration,
    /// How long it waits so for a next one when some have come: one that is silent must not hold up the others.
    pub quiet: Duration,
    /// Where what is counted is told, at `/metrics`; nowhere by default, since it names every repository.
    pub metrics: Option<Arc<TcpListener>>,
    /// Who is told of pulls.
    pub notify: Option<Notify>,
    /// How long requests in flight may take when the server stops.
    pub grace: Duration,
    /// How long a client may take to send a request's head, and how long a connection may wait for a request.
    pub header_timeout: Duration,
    /// How long a client may take no byte of what is sent to it.
    pub write_timeout: Duration,
    /// How many connections there are at most; others wait.
    pub max_connections: usize,
    /// The server's own certificates; it speaks plain HTTP without any, behind something that has some. A client is
    /// shown the one of the name that it asks for, or else the first.
    pub certificates: Vec<CertificateFiles>,
    /// A folder of more, each `NAME.crt` with its `NAME.key`, followed as they come and go.
    pub certificate_folder: Option<PathBuf>,
    /// Certificates that the server gets for itself.
    pub acme: Option<Acme>,
    /// The proxies before the server, which are believed where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// How many wrong passwords and tokens an address may bring how fast.
    pub limit: Limit,
}

impl Options {
    /// Whether clients speak TLS to the server.
    pub fn is_secure(&self) -> bool {
        !self.certificates.is_empty() || self.certificate_folder.is_some() || self.acme.is_some()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(200),
            remote_poll: Duration::from_secs(1),
            patience: Duration::from_secs(15),
            quiet: Duration::from_secs(2),
            metrics: None,
            notify: None,
            grace: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            certificates: Vec::new(),
            certificate_folder: None,
            acme: None,
            trusted_proxies: Vec::new(),
            limit: Limit::default(),
        }
    }
}

/// Serves the sites until `shutdown` is done, then lets requests in flight finish.
///
/// Everything is loaded before the first connection is taken, so whoever is answered is answered rightly. It fails
/// only if the list of sites, or the certificate, cannot be read at all.
pub async fn serve(
    listener: TcpListener,
    sites: impl SiteSource,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    // Before the sites, which take longer: a certificate that is none is told at once.
    let (tls, following) = certified(&options).await?.unzip();
    let client = Arc::<Client>::default();
    let (notifier, courier) = match options.notify.clone() {
        Some(notify) => {
            let (notifier, courier) =
                notify::start(notify, Arc::clone(&client), listener.local_addr()?.to_string());
            (Some(notifier), Some(courier))
        }
        None => (None, None),
    };
    let shared = Arc::new(Shared {
        current: ArcSwap::default(),
        client,
        metrics: Arc::default(),
        tally: Tally::new(notifier),
        certificates: tls.as_ref().map(|tls| Arc::clone(&tls.certificates)),
        trusted_proxies: options.trusted_proxies.clone(),
        throttle: Throttle::new(options.limit),
    });
    let keeping = match (options.acme.clone(), &tls) {
        (Some(acme), Some(tls)) => Some(keeping(acme, tls, &shared).await?),
        _ => None,
    };
    let _counting = Stopped(tokio::spawn(keep_counting(Arc::clone(&shared))));
    let watcher = load(&shared, sites, &options).await?;
    let _watching = Stopped(tokio::spawn(keep_up(watcher, Arc::clone(&shared), options.poll)));
    let operators = options.metrics.clone().map(|listener| {
        let (shared, header_timeout) = (Arc::clone(&shared), options.header_timeout);
        Stopped(tokio::spawn(async move { serve_operators(&listener, shared, header_timeout).await }))
    });
    let connections = Arc::new(Connections {
        shared: Arc::clone(&shared),
        tls,
        header_timeout: options.header_timeout,
        write_timeout: options.write_timeout,
    });

    let drain = Drain::new();
    let room = Arc::new(Semaphore::new(options.max_connections));
    // When this function is over, one way or another, no connection goes on.
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let ((stream, remote), place) = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = &mut shutdown => break,
        };
        let (connections, notice) = (Arc::clone(&connections), drain.notice());
        // Those that are over are let go of here, so that they do not add up.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            connections.serve(stream, remote, notice).await;
            drop(place);
        });
    }
    drop(listener);
    if timeout(options.grace, drain.finish()).await.is_err() {
        tracing::warn!("some requests did not finish in time and are broken off");
    }
    if let Some(courier) = courier {
        shared.tally.count(&shared.metrics.pulls);
        courier.finish().await;
    }
    drop((operators, following, keeping));
    Ok(())
}

/// Counts what requests left to be counted.
async fn keep_counting(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        shared.tally.count(&shared.metrics.pulls);
    }
}

/// The server's certificates, and what keeps up with them; nothing if it has none.
async fn certified(options: &Options) -> io::Result<Option<(Tls, Vec<Stopped>)>> {
    if !options.is_secure() {
        return Ok(None);
    }
    let certificates = Arc::<Certificates>::default();
    let (named, folder) = (options.certificates.clone(), options.certificate_folder.clone());
    let files = Files::open(named, folder, Arc::clone(&certificates)).await?;
    let following = files.follow(Arc::clone(&certificates), options.remote_poll);
    let tls = Tls::new(certificates).map_err(io::Error::other)?;
    Ok(Some((tls, vec![Stopped(tokio::spawn(following))])))
}

/// What keeps up certificates of an authority. It begins at once: until it has some, a connection waits for nothing.
async fn keeping(acme: Acme, tls: &Tls, shared: &Shared) -> io::Result<Stopped> {
    let (certificates, challenges) = (Arc::clone(&tls.certificates), Arc::clone(&tls.challenges));
    let metrics = Arc::clone(&shared.metrics);
    let opening = spawn_blocking(move || Keeper::open(acme, certificates, challenges, metrics));
    let keeper = opening.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    Ok(Stopped(tokio::spawn(keeper.keep())))
}

/// Loads all sites for the first time.
async fn load<S: SiteSource>(shared: &Arc<Shared>, sites: S, options: &Options) -> io::Result<Watcher<S>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let bench = Bench {
        client: Arc::clone(&shared.client),
        every: options.remote_poll,
        runtime: Handle::current(),
        unpacking: Arc::new(Semaphore::new(processors)),
        news: Arc::default(),
    };
    let mut watcher = Watcher::new(Arc::new(sites), bench);
    let loading = spawn_blocking(move || watcher.first().map(|snapshot| (watcher, snapshot)));
    let (mut watcher, snapshot) = loading.await.map_err(io::Error::other)??;
    shared.current.store(Arc::new(snapshot));
    let healths = watcher.healths();
    if healths.is_empty() {
        return Ok(watcher);
    }
    // What is not there by then appears as everything does that appears later.
    let _ = timeout(options.patience, most_were_tried(&healths, options.quiet)).await;
    let polling = spawn_blocking(move || {
        let snapshot = watcher.poll();
        (watcher, snapshot)
    });
    let (watcher, snapshot) = polling.await.map_err(io::Error::other)?;
    if let Some(snapshot) = snapshot {
        shared.current.store(Arc::new(snapshot));
    }
    Ok(watcher)
}

/// Waits until all were asked once, or some were and no other for a while.
async fn most_were_tried(healths: &[Arc<Health>], quiet: Duration) {
    /// Nobody notices so little at a start.
    const STEP: Duration = Duration::from_millis(10);
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let tried = healths.iter().filter(|health| health.was_tried()).count();
        if tried > before {
            (before, since) = (tried, Instant::now());
        }
        if tried == healths.len() || (tried > 0 && since.elapsed() >= quiet) {
            return;
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Answers whoever looks after the server, on a port of their own, since what is counted names every vendor and
/// every repository.
async fn serve_operators(listener: &TcpListener, shared: Arc<Shared>, header_timeout: Duration) {
    /// More than ever look after one server at once.
    const MOST: usize = 100;
    let room = Arc::new(Semaphore::new(MOST));
    let mut tasks = JoinSet::new();
    loop {
        let ((stream, remote), place) = accept(listener, &room).await;
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = hyper::Response::from(answer_operator(&shared, &request));
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1(header_timeout).serve_connection(TokioIo::new(stream), service);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            ended(remote, connection.await);
            drop(place);
        });
    }
}

/// Stops the task when it goes out of scope.
struct Stopped(JoinHandle<()>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes the next connection once there is room for it. Until then it waits where the system keeps those that
/// nobody has taken, and the client sees a slow server, not a broken one.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> ((TcpStream, SocketAddr), OwnedSemaphorePermit) {
    let place = Arc::clone(room).acquire_owned().await.expect("nobody closes it");
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                // A small answer goes out at once. If it cannot be set, answers are slower and no less right.
                let _ = stream.set_nodelay(true);
                return ((stream, remote), place);
            }
            Err(error) => {
                // Out of descriptors, as a rule: connections that end give some back.
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
