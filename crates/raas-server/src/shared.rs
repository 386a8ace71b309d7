//! What all requests share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::auth::{Limit, Throttle};
use crate::client::Client;
use crate::metrics::Metrics;
use crate::site::Snapshot;

/// One for a server.
pub(crate) struct Shared {
    /// What is served now.
    pub(crate) current: ArcSwap<Snapshot>,
    pub(crate) client: Arc<Client>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether clients reach the server by TLS of its own.
    pub(crate) secure: bool,
    /// The proxies that are believed whom they name.
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) throttle: Throttle,
}

impl Shared {
    pub(crate) fn new(secure: bool, trusted_proxies: Vec<IpNet>, limit: Limit) -> Self {
        Self {
            current: ArcSwap::default(),
            client: Arc::default(),
            metrics: Arc::default(),
            secure,
            trusted_proxies,
            throttle: Throttle::new(limit),
        }
    }
}
