//! Detects idle connections.

use std::time::{Duration, Instant};

use super::super::IDLE_AFTER;
use crate::in_flight::{Progress, ProgressMark};

/// How long a connection has been idle.
pub(super) struct IdleTimer {
    seen: ProgressMark,
    /// When a request was last in progress.
    since: Instant,
    patience: Duration,
}

/// What to do with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdleState {
    /// Wait on.
    Busy,
    /// Nothing happened since the last look.
    Idle,
    /// Nothing happened within the time limit.
    TimedOut,
}

impl IdleTimer {
    pub(super) fn new(progress: &Progress, patience: Duration, now: Instant) -> Self {
        Self { seen: progress.seen(), since: now, patience }
    }

    /// When the connection is closed if no request comes before.
    pub(super) fn until(&self) -> Instant {
        self.since + self.patience
    }

    /// A request was answered now.
    pub(super) fn answered(&mut self, progress: &Progress, now: Instant) {
        (self.seen, self.since) = (progress.seen(), now);
    }

    /// Whether an answer was completely sent since the last look.
    pub(super) fn has_answered(&mut self, progress: &Progress) -> bool {
        let seen = progress.seen();
        let has = seen != self.seen && !seen.is_answering() && progress.may_rest();
        if has {
            (self.seen, self.since) = (seen, Instant::now());
        }
        has
    }

    /// The time between two looks.
    pub(super) fn tick(&self) -> Duration {
        IDLE_AFTER.min(self.patience / 4).max(Duration::from_millis(1))
    }

    /// Looks at the progress of the connection. A request counts only when its whole head is there, so a head that
    /// arrives byte by byte does not keep a connection open.
    pub(super) fn look(&mut self, progress: &Progress, now: Instant) -> IdleState {
        let seen = progress.seen();
        if seen != self.seen || seen.is_answering() {
            (self.seen, self.since) = (seen, now);
            IdleState::Busy
        } else if now >= self.until() {
            IdleState::TimedOut
        } else if progress.may_rest() {
            IdleState::Idle
        } else {
            IdleState::Busy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_becomes_idle_and_then_times_out() {
        let (progress, begin) = (Progress::default(), Instant::now());
        let mut idle = IdleTimer::new(&progress, Duration::from_secs(4), begin);
        let mut at = |progress: &Progress, seconds| idle.look(progress, begin + Duration::from_secs(seconds));
        assert_eq!(at(&progress, 1), IdleState::Idle);
        progress.begin();
        // This timer does not limit an answer.
        assert_eq!([at(&progress, 2), at(&progress, 10)], [IdleState::Busy, IdleState::Busy]);
        progress.end();
        assert_eq!(at(&progress, 11), IdleState::Busy);
        assert_eq!([at(&progress, 12), at(&progress, 14)], [IdleState::Idle, IdleState::Idle]);
        assert_eq!(at(&progress, 15), IdleState::TimedOut);
    }

    #[test]
    fn a_connection_is_idle_after_its_answer_was_sent() {
        let progress = Progress::default();
        let mut idle = IdleTimer::new(&progress, Duration::from_secs(9), Instant::now());
        let mut has_answered = |progress: &Progress| idle.has_answered(progress);
        assert!(!has_answered(&progress), "no request yet");
        progress.begin();
        assert!(!has_answered(&progress), "it is being answered");
        progress.end();
        progress.blocked(true);
        assert!(!has_answered(&progress), "the client has not read it yet");
        progress.blocked(false);
        assert!(has_answered(&progress));
        assert!(!has_answered(&progress), "no request since");
    }

    #[test]
    fn a_connection_with_data_in_hyper_is_not_idle() {
        let (progress, begin) = (Progress::default(), Instant::now());
        let mut idle = IdleTimer::new(&progress, Duration::from_secs(9), begin);
        let mut at = |progress: &Progress, seconds| idle.look(progress, begin + Duration::from_secs(seconds));
        progress.blocked(true);
        assert_eq!(at(&progress, 1), IdleState::Busy);
        progress.blocked(false);
        assert_eq!(at(&progress, 2), IdleState::Idle);
        progress.has_body();
        assert_eq!([at(&progress, 3), at(&progress, 9)], [IdleState::Busy, IdleState::TimedOut]);
    }
}
