//! The state that all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::auth::Throttle;
use crate::http_client::HttpClient;
use crate::metrics::Metrics;
use crate::notify::{Notifier, PublicationEvent, announce};
use crate::origin::BaseUrl;
use crate::pulls::PullQueue;
use crate::site::Snapshot;
use crate::tls::Certificates;
use crate::traces::Traces;

/// The state of a server.
pub(crate) struct ServerState {
    /// The sites that are served now.
    pub(crate) current: ArcSwap<Snapshot>,
    pub(crate) client: Arc<HttpClient>,
    pub(crate) metrics: Arc<Metrics>,
    /// The requests that are waiting to be counted.
    pub(crate) pull_queue: PullQueue,
    /// Sends notifications of publications.
    pub(crate) publication_notifier: Option<Notifier<PublicationEvent>>,
    /// The server's own certificates. None if it speaks plain HTTP.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// The networks of proxies that are trusted to name the client's address.
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) throttle: Throttle,
    /// The URL under which clients reach the server, if it is configured.
    pub(crate) public_url: Option<BaseUrl>,
    /// How long a client may take after the shutdown to send the first request of its connection. A client that has
    /// just connected does not repeat its first request on another connection.
    pub(crate) first_request: Duration,
    /// Whether the sites were loaded for the first time, or the wait for them has ended.
    pub(crate) is_started: AtomicBool,
    /// Whether the server was told to stop. It may still accept connections for a while.
    pub(crate) is_stopping: AtomicBool,
    /// Who receives what takes long.
    pub(crate) traces: Option<Traces>,
    /// The lines of the log that were lost.
    pub(crate) lost_log_lines: Arc<AtomicU64>,
}

impl ServerState {
    /// Serves another snapshot, and announces what is published in it.
    pub(crate) fn serve(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let before = self.current.swap(Arc::clone(&snapshot));
        if let Some(notifier) = &self.publication_notifier {
            let is_secure = self.public_url.as_ref().map_or(self.is_secure(), BaseUrl::is_https);
            announce(&before, &snapshot, is_secure, notifier);
        }
    }

    /// Whether the server speaks TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.certificates.is_some()
    }
}
