//! The path through hyper, for requests that the fast path cannot answer.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::super::respond;
use super::buffered::BufferedStream;
use super::idle::{IdleState, IdleTimer};
use super::interrupts::Interrupts;
use crate::in_flight::ClientConnection;
use crate::shutdown::ShutdownWatch;

/// How hyper's part of a connection ended.
pub(super) enum Outcome<T> {
    /// The connection is closed.
    Closed(hyper::Result<()>),
    /// No complete request came within the time limit.
    TimedOut,
    /// The connection is idle. The fast path continues with the stream.
    Idle(T),
}

/// Answers requests until the connection is idle. Without `stays` it is idle as soon as an answer was sent.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    http: &http1::Builder,
    stream: BufferedStream<S>,
    client: &Arc<ClientConnection>,
    idle: &mut IdleTimer,
    shutdown: &mut ShutdownWatch,
    stays: bool,
) -> Outcome<BufferedStream<S>> {
    let known = Arc::clone(client);
    let service = service_fn(move |request| respond(&known, request));
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    let (flag, requested) = (shutdown.flag(), pin!(shutdown.requested()));
    let timer = pin!(sleep(idle.tick()));
    let mut interrupts = Interrupts::new(flag, requested, timer);
    let mut is_stopping = false;
    let outcome = std::future::poll_fn(|cx| {
        if !is_stopping && interrupts.poll_shutdown(cx) {
            is_stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
            // The client has one more tick to complete a head that it has begun.
            interrupts.set_timer(Instant::now() + idle.tick());
        }
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Outcome::Closed(result));
        }
        if !stays && !is_stopping && idle.has_answered(&client.progress) {
            return Poll::Ready(Outcome::Idle(()));
        }
        while interrupts.poll_timer(cx) {
            match idle.look(&client.progress, Instant::now().into_std()) {
                IdleState::Busy => {}
                IdleState::Idle if !is_stopping => return Poll::Ready(Outcome::Idle(())),
                IdleState::Idle | IdleState::TimedOut => return Poll::Ready(Outcome::TimedOut),
            }
            interrupts.set_timer(Instant::now() + idle.tick());
        }
        interrupts.armed();
        Poll::Pending
    })
    .await;
    match outcome {
        Outcome::Closed(result) => Outcome::Closed(result),
        Outcome::TimedOut => Outcome::TimedOut,
        Outcome::Idle(()) => {
            let parts = connection.into_parts();
            let mut stream = parts.io.into_inner();
            stream.put_back(parts.read_buf);
            Outcome::Idle(stream)
        }
    }
}
