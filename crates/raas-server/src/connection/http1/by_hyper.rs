//! Requests that take more than an answer, by hyper.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::super::{Client, respond};
use super::ahead::Ahead;
use super::quiet::{Quiet, Verdict};
use crate::drain::Notice;

/// What came of a connection.
pub(super) enum Outcome<T> {
    /// It is over.
    Over(hyper::Result<()>),
    /// No request came for too long, or none that was whole.
    GivenUp,
    /// It is quiet.
    Rests(T),
}

/// Answers requests until no more come for a while; without `goes_on`, one that comes soon after another is not waited
/// for.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    http: &http1::Builder,
    stream: Ahead<S>,
    client: &Arc<Client>,
    quiet: &mut Quiet,
    notice: &mut Notice,
    goes_on: bool,
) -> Outcome<Ahead<S>> {
    let known = Arc::clone(client);
    let service = service_fn(move |request| respond(&known, request));
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    let mut tick = pin!(sleep(quiet.tick()));
    let flag = notice.stops();
    // Who has waited once is woken, so that from then on a look at the flag, or at the timer, will do.
    let (mut given, mut waits, mut stops) = (pin!(notice.given()), false, false);
    let outcome = std::future::poll_fn(|cx| {
        if !stops && (!waits || flag.load(Ordering::Acquire)) && given.as_mut().poll(cx).is_ready() {
            stops = true;
            Pin::new(&mut connection).graceful_shutdown();
            // A head that has begun may go on for as long as that, and no longer: nobody waits half a minute for it.
            tick.as_mut().reset(tokio::time::Instant::now() + quiet.tick());
            waits = false;
        }
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Outcome::Over(result));
        }
        if !goes_on && !stops && quiet.has_answered(&client.pace) {
            return Poll::Ready(Outcome::Rests(()));
        }
        while (!waits || tick.is_elapsed()) && tick.as_mut().poll(cx).is_ready() {
            match quiet.look(&client.pace, Instant::now()) {
                Verdict::Busy => {}
                Verdict::Rests if !stops => return Poll::Ready(Outcome::Rests(())),
                Verdict::Rests | Verdict::GivenUp => return Poll::Ready(Outcome::GivenUp),
            }
            tick.as_mut().reset(tokio::time::Instant::now() + quiet.tick());
            waits = false;
        }
        waits = true;
        Poll::Pending
    })
    .await;
    match outcome {
        Outcome::Over(result) => Outcome::Over(result),
        Outcome::GivenUp => Outcome::GivenUp,
        Outcome::Rests(()) => {
            let parts = connection.into_parts();
            let mut stream = parts.io.into_inner();
            stream.put_back(parts.read_buf);
            Outcome::Rests(stream)
        }
    }
}
