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
    /// The number of requests that had begun when the head of another arrived in part, plus one.
    partial: AtomicU64,
    /// Whether any request had a body, of which more bytes may arrive.
    has_body: AtomicBool,
}

impl Progress {
    /// Counts the head of a request.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a part of a head has arrived, or something else that may be one.
    pub(crate) fn part_of_head(&self) {
        self.partial.store(self.begun.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Whether no request is in flight, and the client has sent no complete head yet, or a part of the next one.
    pub(crate) fn awaits_head(&self) -> bool {
        let seen = self.seen();
        let has_part = self.partial.load(Ordering::Relaxed) == seen.begun + 1;
        !seen.is_answering() && (seen.begun == 0 || has_part)
    }

    /// The number of requests in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        let seen = self.seen();
        seen.begun.saturating_sub(seen.over)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_awaited_until_it_is_complete() {
        let progress = Progress::default();
        assert!(progress.awaits_head(), "nothing has come");
        progress.part_of_head();
        assert!(progress.awaits_head());
        progress.begin();
        assert!(!progress.awaits_head(), "its answer is in progress");
        progress.end();
        assert!(!progress.awaits_head(), "idle");
        progress.part_of_head();
        assert!(progress.awaits_head(), "a part of the next head");
        progress.begin();
        progress.end();
        assert_eq!((progress.awaits_head(), progress.in_flight()), (false, 0));
    }
}
