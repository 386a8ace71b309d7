//! Answers that are sent again, and how they are reported.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hyper::StatusCode;

use crate::access_log::{AccessLogLine, LoggedRequest};
use crate::body::Body;
use crate::fetched::{Countable, CountableRequest};
use crate::http::forwarded::Remote;
use crate::in_flight::{ClientConnection, InFlight};
use crate::metrics::{RedirectCounters, RedirectTarget};
use crate::route::Api;
use crate::site::Snapshot;
use crate::state::ServerState;

/// How to report an answer that is sent again.
pub(in crate::connection) struct Repetition {
    /// The snapshot that the answer is from. Its memory is freed with the snapshot.
    pub(super) snapshot: Weak<Snapshot>,
    pub(super) status: StatusCode,
    pub(super) countable: Option<Arc<Countable>>,
    /// The counters of its site, and what a redirect adds to them.
    pub(super) redirected: Option<(Arc<RedirectCounters>, RedirectTarget, u64)>,
    /// What the access log says about it.
    pub(super) logged: Option<Arc<LoggedRequest>>,
}

impl Repetition {
    /// Whether the answer is from the snapshot that is served now.
    pub(in crate::connection) fn is_of(&self, state: &ServerState) -> bool {
        // The address is not used again while this holds a part of the memory.
        std::ptr::eq(self.snapshot.as_ptr(), Arc::as_ptr(&state.current.load()))
    }

    /// Reports the answer to another client. The body is empty, and keeps the request in flight.
    pub(in crate::connection) fn report(&self, client: &Arc<ClientConnection>, started: Instant) -> Body {
        let in_flight = InFlight::begin(Arc::clone(client));
        let state = &client.state;
        // It takes a microsecond: no bucket of the histogram tells that from nothing, and its sum hardly does.
        state.metrics.answered(Api::V2, self.status, Duration::ZERO);
        if let Some(what) = &self.countable {
            let what = Arc::clone(what);
            state.pull_queue.push(CountableRequest { client: client.remote.ip(), what });
        }
        if let Some((counters, target, bytes)) = &self.redirected {
            counters.add(*target, *bytes);
        }
        let log_line = self.logged.as_ref().map(|request| {
            let remote = Remote::Direct(client.remote);
            AccessLogLine { request: Arc::clone(request), remote, started }
        });
        let mut body = Body::empty();
        body.record(log_line, in_flight);
        body
    }
}
