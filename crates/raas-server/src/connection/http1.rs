//! HTTP/1: a client's requests, one after the other.
//!
//! Most are answered at once, as they come ([`at_once`]). hyper has the others, and keeps 16 KiB of buffers for a
//! connection; so one that is quiet is taken from it, which forgets nothing by it: after an answer, until a client is
//! seen to ask for one such thing after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{Client, MAX_BUFFER, MAX_HEAD, PAUSE, ended};
use crate::drain::Notice;

mod ahead;
mod at_once;
mod by_hyper;
mod head;
mod quiet;
mod request;

use ahead::Ahead;
use by_hyper::Outcome;
use quiet::Quiet;

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
    // When hyper last had it, and gave it back.
    let mut rested: Option<Instant> = None;
    loop {
        let left = at_once::answer(&mut stream, &client, &mut quiet, &mut notice).await;
        if left != at_once::Left::Other {
            if left == at_once::Left::GivenUp {
                given_up();
            }
            // It is the client's to be told. Who is still taking an answer must not lose it, so that is waited for, but
            // not for ever (`stall.rs`).
            let _ = stream.shutdown().await;
            return;
        }
        // In a box of its own, so that there is nothing of it while the connection rests.
        let goes_on = rested.is_some_and(|rested| rested.elapsed() < PAUSE);
        match Box::pin(by_hyper::answer(&http, stream, &client, &mut quiet, &mut notice, goes_on)).await {
            Outcome::Over(result) => return ended(client.remote, result),
            Outcome::GivenUp => return given_up(),
            Outcome::Rests(quieted) => stream = quieted,
        }
        rested = Some(Instant::now());
    }
}
