//! Connections that are given up when no request comes, or comes too slowly.
//!
//! hyper can do that with a timer for each request, which costs more than all else that the server does for one. Here
//! a connection has one timer that ticks whatever happens, and at each tick looks at what was counted since the last.

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

    /// How many requests there were; nothing while one is answered.
    fn still(&self) -> Option<u64> {
        let over = self.over.load(Ordering::Relaxed);
        (over == self.begun.load(Ordering::Relaxed)).then_some(over)
    }
}

/// What the last ticks have seen.
#[derive(Debug)]
struct Watch {
    seen: Option<u64>,
    idle: u32,
}

impl Watch {
    fn new(pace: &Pace) -> Self {
        Self { seen: pace.still(), idle: 0 }
    }

    /// Another tick is over. Whether it was one too many without a request.
    fn tick(&mut self, pace: &Pace) -> bool {
        let now = pace.still();
        self.idle = if now.is_some() && now == self.seen { self.idle + 1 } else { 0 };
        self.seen = now;
        self.idle == TICKS
    }
}

/// Lets a connection go on until it is over, or until no request was there for so long; it may be a quarter longer.
/// A request is there when its whole head is, so one that comes byte by byte does not count.
pub(crate) async fn watch<T>(
    connection: impl Future<Output = T>,
    pace: &Pace,
    patience: Duration,
) -> Option<T> {
    let mut connection = pin!(connection);
    let mut ticks = interval(patience / TICKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let mut watch = Watch::new(pace);
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
    fn ticks(mut at: impl FnMut(u32, &Pace)) -> u32 {
        let pace = Pace::default();
        let mut watch = Watch::new(&pace);
        (1..100)
            .find(|tick| {
                at(*tick, &pace);
                watch.tick(&pace)
            })
            .unwrap_or(100)
    }

    #[test]
    fn a_connection_is_given_up_when_nothing_comes_and_not_while_it_answers() {
        assert_eq!(ticks(|_, _| {}), TICKS);
        let one = |tick, pace: &Pace| {
            if tick == 3 {
                pace.begin();
                pace.end();
            }
        };
        assert_eq!(ticks(one), 3 + TICKS);
        let long = |tick, pace: &Pace| match tick {
            2 => pace.begin(),
            50 => pace.end(),
            _ => {}
        };
        assert_eq!(ticks(long), 50 + TICKS);
        let busy = |tick, pace: &Pace| {
            if tick % 3 == 0 {
                pace.begin();
                pace.end();
            }
        };
        assert_eq!(ticks(busy), 100);
    }
}
