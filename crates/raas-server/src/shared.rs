//! What all requests share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::auth::{Limit, Throttle};
use crate::client::Client;
use crate::metrics::Metrics;
use crate::site::Snapshot;
use crate::tls::Certificates;

/// One for a server.
pub(crate) struct Shared {
    /// What is served now.
    pub(crate) current: ArcSwap<Snapshot>,
    pub(crate) client: Arc<Client>,
    pub(crate) metrics: Arc<Metrics>,
    /// The server's own certificates, if clients reach it by TLS of its own.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// The proxies that are believed whom they name.
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) throttle: Throttle,
}

impl Shared {
    pub(crate) fn new(
        certificates: Option<Arc<Certificates>>,
        trusted_proxies: Vec<IpNet>,
        limit: Limit,
    ) -> Self {
        Self {
            current: ArcSwap::default(),
            client: Arc::default(),
            metrics: Arc::default(),
            certificates,
            trusted_proxies,
            throttle: Throttle::new(limit),
        }
    }
}
