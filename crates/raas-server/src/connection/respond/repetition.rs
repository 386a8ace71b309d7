//! Answers that are sent again, and how they are reported.

use std::sync::{Arc, Weak};
use std::time::Instant;

use hyper::StatusCode;

use crate::body::Body;
use crate::fetched::CountableRequest;
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
    pub(super) countable: Option<CountableRequest>,
    /// The counters of its site, and what a redirect adds to them.
    pub(super) redirected: Option<(Arc<RedirectCounters>, RedirectTarget, u64)>,
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
        state.metrics.answered(Api::V2, self.status, started.elapsed());
        if let Some(countable) = &self.countable {
            state.pull_queue.push(CountableRequest { client: client.remote.ip(), ..countable.clone() });
        }
        if let Some((counters, target, bytes)) = &self.redirected {
            counters.add(*target, *bytes);
        }
        let mut body = Body::empty();
        body.record(None, in_flight);
        body
    }
}
