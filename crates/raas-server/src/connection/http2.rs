//! HTTP/2: a client's requests, many at once.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval};

use super::pace::{Pace, Seen};
use super::{Client, MAX_BUFFER, MAX_HEAD, ended, respond};
use crate::drain::Notice;

/// How many requests of one connection are answered at once: more than clients ask for layers.
const MAX_STREAMS: u32 = 64;

/// How many ticks without a request a connection may have.
const TICKS: u32 = 4;

/// Answers a client until it goes, the server does, no request comes for so long, or no answer is taken for so long.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Arc<Client>,
    patience: Patience,
    mut notice: Notice,
) {
    let known = Arc::clone(&client);
    let service = service_fn(move |request| respond(&known, request));
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        // A client that is gone without a word is found out, and so is one that answers nothing any more.
        .keep_alive_interval(patience.request)
        .keep_alive_timeout(patience.request)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(MAX_BUFFER);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut ticks = interval(patience.tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let mut watch = Watch::new(&client.pace, patience);
    let (mut given, mut stops) = (pin!(notice.given()), false);
    let result = std::future::poll_fn(|cx| {
        if !stops && given.as_mut().poll(cx).is_ready() {
            stops = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        while ticks.poll_tick(cx).is_ready() {
            if watch.tick(&client.pace) {
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    })
    .await;
    match result {
        Some(result) => ended(client.remote, result),
        None => tracing::debug!(remote = %client.remote, "no request came, or no answer was taken"),
    }
}

/// How long a connection is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For its next request. It may be a quarter longer.
    pub(super) request: Duration,
    /// For a piece of any answer to be taken, while there are answers. A client that opens no window takes nothing, and
    /// the connection does not stand still for that.
    pub(super) answer: Duration,
}

/// What the last ticks have seen.
#[derive(Debug)]
struct Watch {
    seen: Seen,
    /// For how many ticks that was so.
    still: u32,
    /// For how many ticks it may be so while there are answers.
    answers: u32,
}

impl Watch {
    fn new(pace: &Pace, patience: Patience) -> Self {
        let tick = patience.tick();
        let ticks = |answer: Duration| answer.as_nanos().div_ceil(tick.as_nanos().max(1));
        let answers = u32::try_from(ticks(patience.answer)).unwrap_or(u32::MAX);
        Self { seen: pace.seen(), still: 0, answers }
    }

    /// Another tick is over. Whether the connection is to be given up.
    fn tick(&mut self, pace: &Pace) -> bool {
        let now = pace.seen();
        self.still = if now == self.seen { self.still + 1 } else { 0 };
        self.seen = now;
        self.still >= if now.is_answering() { self.answers } else { TICKS }
    }
}

impl Patience {
    fn tick(&self) -> Duration {
        (self.request / TICKS).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many ticks a connection has that does this at each.
    fn ticks(answer: u64, mut at: impl FnMut(u32, &Pace)) -> u32 {
        let pace = Pace::default();
        let seconds = Duration::from_secs;
        let patience = Patience { request: seconds(u64::from(TICKS)), answer: seconds(answer) };
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
        assert_eq!(ticks(90, |_, _| {}), TICKS);
        let one = |tick, pace: &Pace| {
            if tick == 3 {
                pace.begin();
                pace.end();
            }
        };
        assert_eq!(ticks(90, one), 3 + TICKS);
        let long = |tick, pace: &Pace| match tick {
            2 => pace.begin(),
            50 => pace.end(),
            _ => {}
        };
        assert_eq!(ticks(90, long), 50 + TICKS);
        let busy = |tick, pace: &Pace| {
            if tick % 3 == 0 {
                pace.begin();
                pace.end();
            }
        };
        assert_eq!(ticks(90, busy), 100);
    }

    #[test]
    fn an_answer_that_is_not_taken_is_given_up_and_a_slow_one_is_not() {
        let stalled = |tick, pace: &Pace| match tick {
            2 => pace.begin(),
            3 => pace.moved(),
            _ => {}
        };
        assert_eq!(ticks(10, stalled), 3 + 10);
        let slow = |tick, pace: &Pace| match tick {
            2 => pace.begin(),
            tick if tick % 9 == 0 => pace.moved(),
            _ => {}
        };
        assert_eq!(ticks(10, slow), 100);
    }
}
