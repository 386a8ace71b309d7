//! Starts a server, and stops it: the wiring of all its parts.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use raas_http::ForwardProxies;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::acme::{Acme, AcmeRenewal};
use crate::auth::Throttle;
use crate::connection::Connections;
use crate::http_client::HttpClient;
use crate::notify::{self, Notification, NotificationTask, Notifier, Notify};
use crate::options::Options;
use crate::pulls::{PAUSE, PullQueue};
use crate::site::SiteSource;
use crate::state::ServerState;
use crate::tls::{CertificateFollower, Certificates, Tls};
use crate::watch::keep_up;

mod accept;
mod load;
mod operators;

/// Serves the sites until `shutdown` is done. Then it accepts connections for the drain delay of the options, and lets
/// requests in flight finish, for at most the grace period.
///
/// All sites are loaded before the first connection is accepted, so no client sees a half-loaded registry.
///
/// # Errors
/// A certificate, the folder of ACME or the list of sites cannot be read. Whatever fails later is logged, and the
/// server goes on with what it has.
pub async fn serve(
    listener: TcpListener,
    sites: impl SiteSource,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    serve_and_tell(listener, sites, options, || {}, shutdown).await
}

/// Like [`serve`], and calls `ready` when the sites are loaded, before the first connection is accepted.
///
/// # Errors
/// As those of [`serve`].
pub async fn serve_and_tell(
    listener: TcpListener,
    sites: impl SiteSource,
    options: Options,
    ready: impl FnOnce() + Send,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut shutdown = pin!(shutdown);
    let server = tokio::select! {
        server = Server::start(&listener, sites, &options) => server?,
        () = &mut shutdown => return Ok(()),
    };
    ready();
    accept::serve_clients(listener, Arc::clone(&server.connections), &options, shutdown).await;
    server.finish().await;
    Ok(())
}

/// A server that is loaded, with its background tasks.
struct Server {
    connections: Arc<Connections>,
    notifications: [Option<NotificationTask>; 2],
    /// Stopped when the server is dropped.
    _tasks: Vec<BackgroundTask>,
}

impl Server {
    async fn start(listener: &TcpListener, sites: impl SiteSource, options: &Options) -> io::Result<Self> {
        let mut tasks = Vec::new();
        // Before the sites, which take longer: a bad certificate is reported at once.
        let tls = start_tls(options, &mut tasks).await?;
        let client = Arc::new(HttpClient::new(Arc::clone(&options.forward_proxies)));
        let address = listener.local_addr()?.to_string();
        let (notifier, pulls) = start_notifying(&options.notify, &client, &address);
        let (publication_notifier, publications) =
            start_notifying(&options.notify_publications, &client, &address);
        let state = Arc::new(ServerState {
            current: ArcSwap::default(),
            client,
            metrics: Arc::default(),
            pull_queue: PullQueue::new(notifier),
            publication_notifier,
            certificates: tls.as_ref().map(|tls| Arc::clone(&tls.certificates)),
            trusted_proxies: options.trusted_proxies.clone(),
            throttle: Throttle::new(options.guess_limit),
            public_url: options.public_url.clone(),
            first_request: options.first_request,
            is_started: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            lost_log_lines: Arc::clone(&options.lost_log_lines),
            traces: options.traces.clone(),
        });
        if let (Some(acme), Some(tls)) = (options.acme.clone(), &tls) {
            tasks.push(start_acme(acme, tls, &state, &options.forward_proxies).await?);
        }
        tasks.push(BackgroundTask::spawn(count_pulls(Arc::clone(&state))));
        // Before the sites: operators must see a server that waits for a bucket.
        if let Some(listener) = options.metrics.clone() {
            let (state, header_timeout) = (Arc::clone(&state), options.header_timeout);
            tasks.push(BackgroundTask::spawn(async move {
                operators::serve_operators(&listener, state, header_timeout).await;
            }));
        }
        let watcher = load::load(&state, sites, options).await?;
        state.is_started.store(true, Ordering::Relaxed);
        tasks.push(BackgroundTask::spawn(keep_up(watcher, Arc::clone(&state), options.poll)));
        let connections = Arc::new(Connections {
            state,
            tls,
            header_timeout: options.header_timeout,
            write_timeout: options.write_timeout,
        });
        Ok(Self { connections, notifications: [pulls, publications], _tasks: tasks })
    }

    /// Counts and sends the last pulls.
    async fn finish(self) {
        let state = &self.connections.state;
        state.pull_queue.count_into(&state.metrics.pulls);
        let [pulls, publications] = self.notifications.map(|task| async move {
            if let Some(task) = task {
                task.finish().await;
            }
        });
        tokio::join!(pulls, publications);
    }
}

/// Starts to send notifications, if there is an endpoint for them.
fn start_notifying<E: Notification>(
    endpoint: &Option<Notify>,
    client: &Arc<HttpClient>,
    address: &str,
) -> (Option<Notifier<E>>, Option<NotificationTask>) {
    let Some(endpoint) = endpoint.clone() else { return (None, None) };
    let (notifier, task) = notify::start(endpoint, Arc::clone(client), address.to_owned());
    (Some(notifier), Some(task))
}

/// Counts the pulls that requests have queued, again and again.
async fn count_pulls(state: Arc<ServerState>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        state.pull_queue.count_into(&state.metrics.pulls);
    }
}

/// Loads the server's certificates and follows their files. Nothing if the server speaks plain HTTP.
async fn start_tls(options: &Options, tasks: &mut Vec<BackgroundTask>) -> io::Result<Option<Tls>> {
    if !options.is_secure() {
        return Ok(None);
    }
    let certificates = Arc::<Certificates>::default();
    let (named, folder) = (options.certificates.clone(), options.certificate_folder.clone());
    let follower = CertificateFollower::open(named, folder, Arc::clone(&certificates)).await?;
    let tls = Tls::new(Arc::clone(&certificates)).map_err(io::Error::other)?;
    tasks.push(BackgroundTask::spawn(follower.follow(certificates, options.remote_poll)));
    Ok(Some(tls))
}

/// Starts to obtain and to renew certificates by ACME. It does not wait for the first certificate: until then clients
/// see a placeholder.
async fn start_acme(
    acme: Acme,
    tls: &Tls,
    state: &ServerState,
    proxies: &Arc<ForwardProxies>,
) -> io::Result<BackgroundTask> {
    let (certificates, challenges) = (Arc::clone(&tls.certificates), Arc::clone(&tls.challenges));
    let (metrics, proxies) = (Arc::clone(&state.metrics), Arc::clone(proxies));
    let opening = spawn_blocking(move || AcmeRenewal::open(acme, certificates, challenges, metrics, proxies));
    let renewal = opening.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    Ok(BackgroundTask::spawn(renewal.keep()))
}

/// A task that stops when this is dropped.
struct BackgroundTask(JoinHandle<()>);

impl BackgroundTask {
    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    /// Waits for the end of the task.
    ///
    /// # Panics
    /// If the task has.
    async fn finish(mut self) {
        if let Err(error) = (&mut self.0).await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

impl Drop for BackgroundTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
