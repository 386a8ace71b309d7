//! HTTP/1: a client's requests, one after the other.
//!
//! Most are answered at once, as they come ([`at_once`]). hyper has the others, and keeps 16 KiB of buffers for a
//! connection; so one that is idle is taken from it, which forgets nothing by it: after an answer, until a client is
//! seen to ask for one such thing after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{IDLE_AFTER, MAX_BUFFER, MAX_HEAD, ended};
use crate::in_flight::ClientConnection;
use crate::shutdown::ShutdownWatch;

mod buffered;
mod fast_path;
mod head;
mod hyper_path;
mod idle;
mod interrupts;
mod request;

use buffered::BufferedStream;
use hyper_path::Outcome;
use idle::IdleTimer;

/// Answers a client until it goes, the server does, or no whole request comes for so long.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Arc<ClientConnection>,
    patience: Duration,
    mut shutdown: ShutdownWatch,
) {
    let mut http = http1::Builder::new();
    // Without a timer: slow requests are found out here, for less.
    http.max_header_size(MAX_HEAD).max_buf_size(MAX_BUFFER);
    // A client may say that it has no more requests while it waits for an answer, and whether it has is not asked
    // meanwhile: for that, hyper would take 8 KiB more for each request.
    http.half_close(true);
    let mut stream = BufferedStream::new(stream, Arc::clone(&client.progress));
    let mut idle = IdleTimer::new(&client.progress, patience, Instant::now());
    let timed_out = || tracing::debug!(remote = %client.remote, "no request came");
    // When hyper last had it, and gave it back.
    let mut idle_since: Option<Instant> = None;
    loop {
        let exit = fast_path::answer(&mut stream, &client, &mut idle, &mut shutdown).await;
        if exit != fast_path::Exit::NotPlain {
            if exit == fast_path::Exit::TimedOut {
                timed_out();
            }
            // It is the client's to be told. Who is still taking an answer must not lose it, so that is waited for, but
            // not for ever (`stall.rs`).
            let _ = stream.shutdown().await;
            return;
        }
        // In a box of its own, so that there is nothing of it while the connection rests.
        let stays = idle_since.is_some_and(|idle_since| idle_since.elapsed() < IDLE_AFTER);
        match Box::pin(hyper_path::answer(&http, stream, &client, &mut idle, &mut shutdown, stays)).await {
            Outcome::Closed(result) => return ended(client.remote, result),
            Outcome::TimedOut => return timed_out(),
            Outcome::Idle(idle_stream) => stream = idle_stream,
        }
        idle_since = Some(Instant::now());
    }
}
