//! What all requests share.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::client::Client;
use crate::metrics::{Metrics, Tally};
use crate::site::Snapshot;
use crate::tls::Certificate;

/// One for a server.
pub(crate) struct Shared {
    /// What is served now.
    pub(crate) current: ArcSwap<Snapshot>,
    pub(crate) client: Arc<Client>,
    pub(crate) metrics: Arc<Metrics>,
    /// Counts pulls.
    pub(crate) tally: Tally,
    /// Whether clients reach the server by TLS of its own.
    pub(crate) secure: bool,
    /// Its certificate then.
    pub(crate) certificate: Option<Arc<Certificate>>,
}
