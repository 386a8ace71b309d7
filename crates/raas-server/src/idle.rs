//! Connections that are given up when no request comes, when it comes too slowly, or when its answer is not taken.
//!
//! hyper can do the first two with a timer for each request, which costs more than all else that the server does for
//! one. Here a connection has one timer that ticks whatever happens, and at each tick looks at what was counted since
//! the last.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How many ticks without a request a connection may have.
const TICKS: u32 = 4;

/// What a connection has done.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Requests whose head has come.
    begun: AtomicU64,
    /// Those of them whose answer is over.
    over: AtomicU64,
    /// Pieces of answers that were taken to be sent.
    moved: AtomicU64,
}

impl Pace {
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

    fn seen(&self) -> Seen {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Seen { begun: read(&self.begun), over: read(&self.over), moved: read(&self.moved) }
    }
}

/// What a connection had done at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    begun: u64,
    over: u64,
    moved: u64,
}

/// How long a connection is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For its next request. It may be a quarter longer.
    pub(crate) request: Duration,
    /// For a piece of any answer to be taken, while there are answers; for ever without.
    pub(crate) answer: Option<Duration>,
}

/// What the last ticks have seen.
#[derive(Debug)]
struct Watch {
    seen: Seen,
    /// For how many ticks that was so.
    still: u32,
    /// For how many ticks it may be so while there are answers.
    answers: Option<u32>,
}

impl Watch {
    fn new(pace: &Pace, patience: Patience) -> Self {
        let tick = patience.tick();
        let ticks = |answer: Duration| answer.as_nanos().div_ceil(tick.as_nanos().max(1));
        let answers = patience.answer.map(|answer| u32::try_from(ticks(answer)).unwrap_or(u32::MAX));
        Self { seen: pace.seen(), still: 0, answers }
    }

    /// Another tick is over. Whether the connection is to be given up.
    fn tick(&mut self, pace: &Pace) -> bool {
        let now = pace.seen();
        self.still = if now == self.seen { self.still + 1 } else { 0 };
        self.seen = now;
        let answering = now.begun != now.over;
        if answering { self.answers.is_some_and(|most| self.still >= most) } else { self.still >= TICKS }
    }
}

impl Patience {
    fn tick(&self) -> Duration {
        (self.request / TICKS).max(Duration::from_millis(1))
    }
}

/// Lets a connection go on until it is over, or is given up, which is nothing. A request is there when its whole head
/// is, so one that comes byte by byte does not count.
pub(crate) async fn watch<T>(
    connection: impl Future<Output = T>,
    pace: &Pace,
    patience: Patience,
) -> Option<T> {
    let mut connection = pin!(connection);
    let mut ticks = interval(patience.tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let mut watch = Watch::new(pace, patience);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        while ticks.poll_tick(cx).is_ready() {
            if watch.tick(pace) {
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many ticks a connection has that does this at each.
    fn ticks(answer: Option<u64>, mut at: impl FnMut(u32, &Pace)) -> u32 {
        let pace = Pace::default();
        let seconds = Duration::from_secs;
        let patience = Patience { request: seconds(u64::from(TICKS)), answer: answer.map(seconds) };
        let mut watch = Watch::new(&pace, patience);
        (1..100)
            .find(|tick| {
                at(*tick, &pace);
                watch.tick(&pace)
            })
            .unwrap_or(100)
    }

    #[test]
    fn a_connection_is_given_up_when_nothing_comes_and_not_while_it_answers() {
        assert_eq!(ticks(None, |_, _| {}), TICKS);
        let one = |tick, pace: &Pace| {
            if tick == 3 {
                pace.begin();
                pace.end();
            }
        };
        assert_eq!(ticks(None, one), 3 + TICKS);
        let long = |tick, pace: &Pace| match tick {
            2 => pace.begin(),
            50 => pace.end(),
            _ => {}
        };
        assert_eq!(ticks(None, long), 50 + TICKS);
        let busy = |tick, pace: &Pace| {
            if tick % 3 == 0 {
                pace.begin();
                pace.end();
            }
        };
        assert_eq!(ticks(None, busy), 100);
    }

    #[test]
    fn an_answer_that_is_not_taken_is_given_up_and_a_slow_one_is_not() {
        let stalled = |tick, pace: &Pace| match tick {
            2 => pace.begin(),
            3 => pace.moved(),
            _ => {}
        };
        assert_eq!(ticks(Some(10), stalled), 3 + 10);
        let slow = |tick, pace: &Pace| match tick {
            2 => pace.begin(),
            tick if tick % 9 == 0 => pace.moved(),
            _ => {}
        };
        assert_eq!(ticks(Some(10), slow), 100);
    }
}
