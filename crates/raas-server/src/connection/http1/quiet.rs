//! Connections on which nothing comes.

use std::time::{Duration, Instant};

use super::super::PAUSE;
use super::super::pace::{Pace, Seen};

/// How long nothing has come of a connection.
pub(super) struct Quiet {
    seen: Seen,
    /// When something last had.
    since: Instant,
    patience: Duration,
}

/// What is to be done with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Busy,
    /// Nothing has come since it was last looked at.
    Rests,
    /// Nothing has come for too long.
    GivenUp,
}

impl Quiet {
    pub(super) fn new(pace: &Pace, patience: Duration, now: Instant) -> Self {
        Self { seen: pace.seen(), since: now, patience }
    }

    /// When the connection is given up if nothing comes until then.
    pub(super) fn until(&self) -> Instant {
        self.since + self.patience
    }

    /// A request is answered now.
    pub(super) fn answered(&mut self, pace: &Pace, now: Instant) {
        (self.seen, self.since) = (pace.seen(), now);
    }

    /// Whether there was an answer since it was last looked at, and all of it has gone out.
    pub(super) fn has_answered(&mut self, pace: &Pace) -> bool {
        let seen = pace.seen();
        let has = seen != self.seen && !seen.is_answering() && pace.may_rest();
        if has {
            (self.seen, self.since) = (seen, Instant::now());
        }
        has
    }

    /// How often to look.
    pub(super) fn tick(&self) -> Duration {
        PAUSE.min(self.patience / 4).max(Duration::from_millis(1))
    }

    /// Looks at what has come. A request has when its whole head is there, so one that comes byte by byte does not
    /// count.
    pub(super) fn look(&mut self, pace: &Pace, now: Instant) -> Verdict {
        let seen = pace.seen();
        if seen != self.seen || seen.is_answering() {
            (self.seen, self.since) = (seen, now);
            Verdict::Busy
        } else if now >= self.until() {
            Verdict::GivenUp
        } else if pace.may_rest() {
            Verdict::Rests
        } else {
            Verdict::Busy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_rests_when_nothing_comes_and_is_given_up_when_nothing_does_for_long() {
        let (pace, begin) = (Pace::default(), Instant::now());
        let mut quiet = Quiet::new(&pace, Duration::from_secs(4), begin);
        let mut at = |pace: &Pace, seconds| quiet.look(pace, begin + Duration::from_secs(seconds));
        assert_eq!(at(&pace, 1), Verdict::Rests);
        pace.begin();
        // As long as there is an answer it is not this one's to judge.
        assert_eq!([at(&pace, 2), at(&pace, 10)], [Verdict::Busy, Verdict::Busy]);
        pace.end();
        assert_eq!(at(&pace, 11), Verdict::Busy);
        assert_eq!([at(&pace, 12), at(&pace, 14)], [Verdict::Rests, Verdict::Rests]);
        assert_eq!(at(&pace, 15), Verdict::GivenUp);
    }

    #[test]
    fn a_connection_may_rest_after_an_answer_has_gone_out() {
        let pace = Pace::default();
        let mut quiet = Quiet::new(&pace, Duration::from_secs(9), Instant::now());
        let mut has_answered = |pace: &Pace| quiet.has_answered(pace);
        assert!(!has_answered(&pace), "nothing was asked");
        pace.begin();
        assert!(!has_answered(&pace), "it is being answered");
        pace.end();
        pace.blocked(true);
        assert!(!has_answered(&pace), "the client has yet to take it");
        pace.blocked(false);
        assert!(has_answered(&pace));
        assert!(!has_answered(&pace), "nothing was asked since");
    }

    #[test]
    fn what_hyper_holds_of_a_connection_is_not_taken_from_it() {
        let (pace, begin) = (Pace::default(), Instant::now());
        let mut quiet = Quiet::new(&pace, Duration::from_secs(9), begin);
        let mut at = |pace: &Pace, seconds| quiet.look(pace, begin + Duration::from_secs(seconds));
        pace.blocked(true);
        assert_eq!(at(&pace, 1), Verdict::Busy);
        pace.blocked(false);
        assert_eq!(at(&pace, 2), Verdict::Rests);
        pace.has_body();
        assert_eq!([at(&pace, 3), at(&pace, 9)], [Verdict::Busy, Verdict::GivenUp]);
    }
}
