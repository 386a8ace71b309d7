//! Measures the progress of a connection, so that a timer can detect an idle or stalled one.
//!
//! A timer for each request would cost more than all other work for it. So each connection has one timer, which
//! compares these counters at every tick.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The progress of a connection.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Requests whose head has arrived.
    begun: AtomicU64,
    /// Requests whose answer is complete or aborted.
    over: AtomicU64,
    /// Pieces of answers that were handed over to be sent.
    moved: AtomicU64,
    /// Whether the last write is blocked because the client does not read.
    blocked: AtomicBool,
    /// Whether any request had a body, of which more bytes may arrive.
    has_body: AtomicBool,
}

impl Progress {
    /// Counts the head of a request.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer that is complete or aborted.
    pub(crate) fn end(&self) {
        self.over.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a piece of an answer.
    pub(crate) fn moved(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets whether the last write is blocked.
    pub(crate) fn blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Notes that a request has a body.
    pub(crate) fn has_body(&self) {
        self.has_body.store(true, Ordering::Relaxed);
    }

    /// Whether nothing of the connection is buffered in hyper, except an incomplete head.
    pub(crate) fn may_rest(&self) -> bool {
        !self.blocked.load(Ordering::Relaxed) && !self.has_body.load(Ordering::Relaxed)
    }

    pub(crate) fn seen(&self) -> ProgressMark {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        ProgressMark { begun: read(&self.begun), over: read(&self.over), moved: read(&self.moved) }
    }
}

/// The counters at one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProgressMark {
    begun: u64,
    over: u64,
    moved: u64,
}

impl ProgressMark {
    /// Whether a request is in flight.
    pub(crate) fn is_answering(self) -> bool {
        self.begun != self.over
    }
}
