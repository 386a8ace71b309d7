//! HTTP/1: a client's requests, one after the other.
//!
//! hyper keeps 16 KiB of buffers for a connection, and clients keep connections that they do not use. So one that is
//! quiet is taken from hyper, which forgets nothing by it, and given back when the next request begins: at once after an
//! answer, until a client is seen to ask for one thing after the other.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, timeout, timeout_at};

use super::ahead::Ahead;
use super::pace::{Pace, Seen};
use super::{Client, MAX_BUFFER, MAX_HEAD, ended, respond};
use crate::drain::Notice;

/// How long no request comes until a connection is quiet: a client that asks for one thing after the other does not
/// pause so long.
const PAUSE: Duration = Duration::from_millis(500);

/// What came of a connection.
enum Outcome<T> {
    /// It is over.
    Over(hyper::Result<()>),
    /// No request came for too long, or none that was whole.
    GivenUp,
    /// It is quiet.
    Rests(T),
}

/// Answers a client until it goes, the server does, or no whole request comes for so long.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Arc<Client>,
    patience: Duration,
    mut notice: Notice,
) {
    let mut http = http1::Builder::new();
    // Without a timer: slow requests are found out here, for less.
    http.max_header_size(MAX_HEAD).max_buf_size(MAX_BUFFER);
    // A client may say that it has no more requests while it waits for an answer, and whether it has is not asked
    // meanwhile: for that, hyper would take 8 KiB more for each request.
    http.half_close(true);
    let mut stream = Ahead::new(stream, Arc::clone(&client.pace));
    let mut quiet = Quiet::new(&client.pace, patience, Instant::now());
    let given_up = || tracing::debug!(remote = %client.remote, "no request came");
    // When it last had an answer, and rested.
    let mut rested: Option<Instant> = None;
    loop {
        if !stream.is_read() {
            let begun = tokio::select! {
                begun = timeout_at(quiet.until().into(), stream.begins()) => begun,
                () = notice.given() => Ok(false),
            };
            if begun.is_err() {
                given_up();
            }
            if begun != Ok(true) {
                // It is the client's to be told, and nobody waits for that.
                let _ = timeout(PAUSE, stream.shutdown()).await;
                return;
            }
        }
        // In a box of its own, so that there is nothing of it while the connection rests.
        let goes_on = rested.is_some_and(|rested| rested.elapsed() < PAUSE);
        match Box::pin(answer(&http, stream, &client, &mut quiet, &mut notice, goes_on)).await {
            Outcome::Over(result) => return ended(client.remote, result),
            Outcome::GivenUp => return given_up(),
            Outcome::Rests(quieted) => stream = quieted,
        }
        rested = Some(Instant::now());
    }
}

/// Answers requests until no more come for a while; without `goes_on`, one that comes soon after another is not waited
/// for.
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
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

/// How long nothing has come of a connection.
struct Quiet {
    seen: Seen,
    /// When something last had.
    since: Instant,
    patience: Duration,
}

/// What is to be done with a connection.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It goes on.
    Busy,
    /// Nothing has come since it was last looked at.
    Rests,
    /// Nothing has come for too long.
    GivenUp,
}

impl Quiet {
    fn new(pace: &Pace, patience: Duration, now: Instant) -> Self {
        Self { seen: pace.seen(), since: now, patience }
    }

    /// When the connection is given up if nothing comes until then.
    fn until(&self) -> Instant {
        self.since + self.patience
    }

    /// Whether there was an answer since it was last looked at, and all of it has gone out.
    fn has_answered(&mut self, pace: &Pace) -> bool {
        let seen = pace.seen();
        let has = seen != self.seen && !seen.is_answering() && pace.may_rest();
        if has {
            (self.seen, self.since) = (seen, Instant::now());
        }
        has
    }

    /// How often to look.
    fn tick(&self) -> Duration {
        PAUSE.min(self.patience / 4).max(Duration::from_millis(1))
    }

    /// Looks at what has come. A request has when its whole head is there, so one that comes byte by byte does not
    /// count.
    fn look(&mut self, pace: &Pace, now: Instant) -> Verdict {
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
