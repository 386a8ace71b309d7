//! HTTP/2: the requests of a client, many at once.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{MAX_BUFFER, MAX_HEAD, ended, respond};
use crate::in_flight::{ClientConnection, Progress, ProgressMark};
use crate::shutdown::ShutdownWatch;

mod batch;

use batch::batched;

/// The maximal number of concurrent requests of a connection. Clients request fewer layers at once.
const MAX_STREAMS: u32 = 32;

/// About how many bytes of an answer a connection buffers. It has many answers at once.
const MAX_SEND: usize = MAX_BUFFER / 4;

/// The number of ticks within the time limit for a request.
const TICKS: u32 = 4;

/// How often a connection at shutdown is checked for its first request.
const FIRST_REQUEST_CHECK: Duration = Duration::from_millis(20);

/// Answers a client until it closes the connection, the server stops, or a time limit is exceeded.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Arc<ClientConnection>,
    timeouts: Timeouts,
    mut shutdown: ShutdownWatch,
) {
    let known = Arc::clone(&client);
    let service = service_fn(move |request| respond(&known, request));
    let mut http = http2::Builder::new(AnswersAtOnce);
    http.timer(TokioTimer::new())
        // Pings detect clients that are gone or do not respond.
        .keep_alive_interval(timeouts.request)
        .keep_alive_timeout(timeouts.request)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(MAX_SEND);
    let (stream, batch) = batched(stream);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut ticks = interval(timeouts.tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let mut watch = StallDetector::new(&client.progress, timeouts);
    let first_request = client.state.first_request;
    let stops = async {
        shutdown.requested().await;
        // A connection without a request gets its first request: its client has just chosen this server.
        let until = Instant::now() + first_request;
        while !client.progress.has_begun() && Instant::now() < until {
            sleep(FIRST_REQUEST_CHECK).await;
        }
    };
    let (mut stops, mut is_stopping) = (pin!(stops), false);
    let end = std::future::poll_fn(|cx| {
        if !is_stopping && stops.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(End::Ended(result));
        }
        if let Poll::Ready(Err(error)) = batch.poll_send(cx) {
            return Poll::Ready(End::Broken(error));
        }
        while ticks.poll_tick(cx).is_ready() {
            if watch.tick(&client.progress) {
                return Poll::Ready(End::Stalled);
            }
        }
        Poll::Pending
    })
    .await;
    let remote = client.remote;
    match end {
        End::Ended(result) => ended(remote, result),
        End::Broken(error) => tracing::debug!(%remote, %error, "the connection broke"),
        End::Stalled => tracing::debug!(%remote, "no request came, or the client did not read an answer"),
    }
}

/// How a connection ends.
enum End {
    /// Both sides ended it, or hyper found it broken.
    Ended(hyper::Result<()>),
    /// The client takes no more bytes.
    Broken(io::Error),
    /// No request came, or the client did not read an answer.
    Stalled,
}

/// Makes each answer where its request is read. Only an answer that must wait becomes a task of its own.
#[derive(Debug, Clone, Copy)]
struct AnswersAtOnce;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for AnswersAtOnce {
    fn execute(&self, answer: F) {
        let mut answer = Box::pin(answer);
        // Nothing needs to be woken: the task polls the answer again.
        if answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(answer);
        }
    }
}

/// The time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// For the next request. The check is periodic, so it may take a quarter longer.
    pub(super) request: Duration,
    /// For the client to take some bytes of any answer while answers are in progress. It is needed beside the write
    /// timeout: a client that opens no flow-control window blocks its answers, but not the connection.
    pub(super) answer: Duration,
}

/// Detects a connection without progress.
#[derive(Debug)]
struct StallDetector {
    seen: ProgressMark,
    /// The number of ticks without progress.
    still: u32,
    /// The number of ticks that answers may make no progress.
    answers: u32,
}

impl StallDetector {
    fn new(progress: &Progress, timeouts: Timeouts) -> Self {
        let tick = timeouts.tick();
        let ticks = |answer: Duration| answer.as_nanos().div_ceil(tick.as_nanos().max(1));
        let answers = u32::try_from(ticks(timeouts.answer)).unwrap_or(u32::MAX);
        Self { seen: progress.seen(), still: 0, answers }
    }

    /// Ends a tick. Returns whether the connection must be closed.
    fn tick(&mut self, progress: &Progress) -> bool {
        let now = progress.seen();
        self.still = if now == self.seen { self.still + 1 } else { 0 };
        self.seen = now;
        self.still >= if now.is_answering() { self.answers } else { TICKS }
    }
}

impl Timeouts {
    fn tick(&self) -> Duration {
        (self.request / TICKS).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of ticks until a connection is closed on which `at` happens at each tick.
    fn ticks(answer: u64, mut at: impl FnMut(u32, &Progress)) -> u32 {
        let progress = Progress::default();
        let seconds = Duration::from_secs;
        let timeouts = Timeouts { request: seconds(u64::from(TICKS)), answer: seconds(answer) };
        let mut watch = StallDetector::new(&progress, timeouts);
        (1..100)
            .find(|tick| {
                at(*tick, &progress);
                watch.tick(&progress)
            })
            .unwrap_or(100)
    }

    #[test]
    fn an_idle_connection_times_out_and_a_busy_one_does_not() {
        assert_eq!(ticks(90, |_, _| {}), TICKS);
        let one = |tick, progress: &Progress| {
            if tick == 3 {
                progress.begin();
                progress.end();
            }
        };
        assert_eq!(ticks(90, one), 3 + TICKS);
        let long = |tick, progress: &Progress| match tick {
            2 => progress.begin(),
            50 => progress.end(),
            _ => {}
        };
        assert_eq!(ticks(90, long), 50 + TICKS);
        let busy = |tick, progress: &Progress| {
            if tick % 3 == 0 {
                progress.begin();
                progress.end();
            }
        };
        assert_eq!(ticks(90, busy), 100);
    }

    #[test]
    fn a_stalled_answer_times_out_and_a_slow_one_does_not() {
        let stalled = |tick, progress: &Progress| match tick {
            2 => progress.begin(),
            3 => progress.moved(),
            _ => {}
        };
        assert_eq!(ticks(10, stalled), 3 + 10);
        let slow = |tick, progress: &Progress| match tick {
            2 => progress.begin(),
            tick if tick % 9 == 0 => progress.moved(),
            _ => {}
        };
        assert_eq!(ticks(10, slow), 100);
    }
}
