//! A client's connection, and its requests that are being answered.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::PresentedCertificates;
use crate::state::ServerState;

mod progress;

pub(crate) use progress::{Progress, ProgressMark};

/// A client's connection, as all its requests share it.
pub(crate) struct ClientConnection {
    pub(crate) state: Arc<ServerState>,
    /// What the connection has done, for the timers that close idle connections.
    pub(crate) progress: Arc<Progress>,
    /// The other end of the connection, which may be a proxy.
    pub(crate) remote: SocketAddr,
    /// The certificates that the client presented in the TLS handshake.
    pub(crate) certificates: Option<PresentedCertificates>,
}

/// A request in flight: from its head until its answer has gone out or never will, when this is dropped.
pub(crate) struct InFlight {
    pub(crate) client: Arc<ClientConnection>,
}

impl InFlight {
    /// Counts a request whose head has arrived.
    pub(crate) fn begin(client: Arc<ClientConnection>) -> Self {
        client.progress.begin();
        Self { client }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.client.progress.end();
    }
}
