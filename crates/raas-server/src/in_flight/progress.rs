//! What a connection has done, so that one that does nothing is found out.
//!
//! hyper can find out slow requests with a timer for each, which costs more than all else that the server does for one.
//! Here a connection has one timer that ticks whatever happens, and at each tick looks at what was counted since the last.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a connection has done.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Requests whose head has come.
    begun: AtomicU64,
    /// Those of them whose answer is over.
    over: AtomicU64,
    /// Pieces of answers that were taken to be sent.
    moved: AtomicU64,
    /// Whether the client does not take what is written.
    blocked: AtomicBool,
    /// Whether any request had a body, of which some may yet come.
    has_body: AtomicBool,
}

impl Progress {
    /// A request's head is there.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer has gone out, or never will.
    pub(crate) fn end(&self) {
        self.over.fetch_add(1, Ordering::Relaxed);
    }

    /// A piece of an answer goes out.
    pub(crate) fn moved(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether what was last written waits to be taken.
    pub(crate) fn blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// A request has a body.
    pub(crate) fn has_body(&self) {
        self.has_body.store(true, Ordering::Relaxed);
    }

    /// Whether all that was read was understood, and all that was written has gone out, but for a request's head that
    /// is not whole.
    pub(crate) fn may_rest(&self) -> bool {
        !self.blocked.load(Ordering::Relaxed) && !self.has_body.load(Ordering::Relaxed)
    }

    pub(crate) fn seen(&self) -> ProgressMark {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        ProgressMark { begun: read(&self.begun), over: read(&self.over), moved: read(&self.moved) }
    }
}

/// What a connection had done at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProgressMark {
    begun: u64,
    over: u64,
    moved: u64,
}

impl ProgressMark {
    /// Whether there are requests whose answer is not over.
    pub(crate) fn is_answering(self) -> bool {
        self.begun != self.over
    }
}
