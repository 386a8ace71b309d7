//! Connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use crate::access::Record;
use crate::answer::{answer, answer_operator};
use crate::route;
use crate::shared::Shared;
use crate::site::SiteSource;
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
    /// Where what is counted is told, at `/metrics`; nowhere by default, since it names every repository.
    pub metrics: Option<Arc<TcpListener>>,
    /// How long requests in flight may take when the server stops.
    pub grace: Duration,
    /// How long a client may take to send a request's head, and how long a connection may wait for a request.
    pub header_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(200),
            remote_poll: Duration::from_secs(1),
            patience: Duration::from_secs(15),
            metrics: None,
            grace: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
        }
    }
}

/// The longest head of a request, in bytes: more than any client of a registry sends.
const MAX_HEAD: usize = 32 * 1024;

/// About how much a connection keeps in memory, in bytes, of what it reads and writes.
const MAX_BUFFER: usize = 64 * 1024;

/// Serves the sites until `shutdown` is done, then lets requests in flight finish.
///
/// Everything is loaded before the first connection is taken, so whoever is answered is answered rightly. It fails
/// only if the list of sites cannot be read at all.
pub async fn serve(
    listener: TcpListener,
    sites: impl SiteSource,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let shared = Arc::new(Shared::default());
    let watcher = load(&shared, sites, &options).await?;
    let _watching = Stopped(tokio::spawn(keep_up(watcher, Arc::clone(&shared), options.poll)));
    let operators = options.metrics.clone().map(|listener| {
        let (shared, header_timeout) = (Arc::clone(&shared), options.header_timeout);
        Stopped(tokio::spawn(async move { serve_operators(&listener, shared, header_timeout).await }))
    });

    let http = http(options.header_timeout);
    let graceful = GracefulShutdown::new();
    // When this function is over, one way or another, no connection goes on.
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, remote) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = &mut shutdown => break,
        };
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| respond(Arc::clone(&shared), remote, request));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        // Those that are over are let go of here, so that they do not add up.
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            if let Err(error) = connection.await {
                // The client went away, was too slow, or did not speak HTTP.
                tracing::debug!(%remote, %error, "connection broke");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(options.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time and are broken off");
    }
    drop(operators);
    Ok(())
}

/// Loads all sites for the first time.
async fn load<S: SiteSource>(shared: &Arc<Shared>, sites: S, options: &Options) -> io::Result<Watcher<S>> {
    let bench =
        Bench { client: Arc::clone(&shared.client), every: options.remote_poll, runtime: Handle::current() };
    let mut watcher = Watcher::new(Arc::new(sites), bench);
    let loading = spawn_blocking(move || watcher.first().map(|snapshot| (watcher, snapshot)));
    let (mut watcher, snapshot) = loading.await.map_err(io::Error::other)??;
    shared.current.store(Arc::new(snapshot));
    let healths = watcher.healths();
    if healths.is_empty() {
        return Ok(watcher);
    }
    let tried = async {
        for health in &healths {
            health.tried().await;
        }
    };
    // What is not there by then appears as everything does that appears later.
    let _ = tokio::time::timeout(options.patience, tried).await;
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

/// Answers whoever looks after the server, on a port of their own, since what is counted names every vendor and
/// every repository.
async fn serve_operators(listener: &TcpListener, shared: Arc<Shared>, header_timeout: Duration) {
    let http = http(header_timeout);
    let mut connections = JoinSet::new();
    loop {
        let (stream, remote) = accept(listener).await;
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer_operator(&shared, &request);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%remote, %error, "connection broke");
            }
        });
    }
}

fn http(header_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER);
    http
}

/// Stops the task when it goes out of scope.
struct Stopped(JoinHandle<()>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                // A small answer goes out at once. If it cannot be set, answers are slower and no less right.
                let _ = stream.set_nodelay(true);
                return (stream, remote);
            }
            Err(error) => {
                // Out of descriptors, as a rule: connections that end give some back.
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn respond(
    shared: Arc<Shared>,
    remote: SocketAddr,
    request: Request<Incoming>,
) -> Result<crate::Response, Infallible> {
    let mut record = Record::begin(&request, remote, Instant::now());
    let mut response = answer(&shared, &request).await;
    shared.metrics.answered(route::api(request.uri().path()), response.status());
    if let Some(record) = &mut record {
        record.status(response.status());
    }
    response.body_mut().record(record, Arc::clone(&shared.metrics));
    Ok(response)
}
