//! What all requests share.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::client::Client;
use crate::metrics::Metrics;
use crate::site::Snapshot;

/// One for a server.
#[derive(Default)]
pub(crate) struct Shared {
    /// What is served now.
    pub(crate) current: ArcSwap<Snapshot>,
    pub(crate) client: Arc<Client>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether clients reach the server by TLS of its own.
    pub(crate) secure: bool,
}
