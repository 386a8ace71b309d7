//! What all requests share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::auth::Throttle;
use crate::http_client::HttpClient;
use crate::metrics::Metrics;
use crate::pulls::PullQueue;
use crate::site::Snapshot;
use crate::tls::Certificates;

/// One for a server.
pub(crate) struct ServerState {
    /// What is served now.
    pub(crate) current: ArcSwap<Snapshot>,
    pub(crate) client: Arc<HttpClient>,
    pub(crate) metrics: Arc<Metrics>,
    /// Counts pulls.
    pub(crate) pull_queue: PullQueue,
    /// The server's own certificates, if clients reach it by TLS of its own.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// The proxies that are believed whom they name.
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) throttle: Throttle,
}

impl ServerState {
    /// Whether clients speak TLS to the server.
    pub(crate) fn is_secure(&self) -> bool {
        self.certificates.is_some()
    }
}
