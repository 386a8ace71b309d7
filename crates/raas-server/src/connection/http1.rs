//! HTTP/1: the requests of a client, one after the other.
//!
//! The [fast path](fast_path) answers nearly all of them. The system sends files to clients without TLS ([`send_file`]).
//! hyper answers the others ([`hyper_path`]), and takes 16 KiB
//! of buffers for a connection. So an idle connection is taken back from hyper, without losing a byte: after each
//! answer, or, for a client that sends several such requests in a row, when it pauses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::write_timeout::Plain;
use super::{IDLE_AFTER, MAX_BUFFER, MAX_HEAD, ended};
use crate::in_flight::ClientConnection;
use crate::shutdown::ShutdownWatch;

mod buffered;
mod fast_path;
mod head;
mod hyper_path;
mod idle;
mod interrupts;
mod prepared;
mod request;
#[cfg(target_os = "linux")]
mod send_file;
mod waiting;

use buffered::BufferedStream;
use hyper_path::Outcome;
use idle::IdleTimer;

/// Answers a client until it closes the connection, the server stops, or no complete request comes within `patience`.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Plain + Unpin + Send + 'static,
    client: Arc<ClientConnection>,
    patience: Duration,
    mut shutdown: ShutdownWatch,
) {
    let mut http = http1::Builder::new();
    // Without hyper's timers: a timer for each connection is cheaper than one for each request.
    http.max_header_size(MAX_HEAD).max_buf_size(MAX_BUFFER);
    // A client may close its side while it waits for an answer. hyper would take 8 KiB more for each request to detect
    // that earlier.
    http.half_close(true);
    let mut stream = BufferedStream::new(stream, Arc::clone(&client.progress));
    let mut idle = IdleTimer::new(&client.progress, patience, Instant::now());
    let timed_out = || tracing::debug!(remote = %client.remote, "no request came");
    // When hyper last gave the connection back.
    let mut idle_since: Option<Instant> = None;
    loop {
        let exit = fast_path::answer(&mut stream, &client, &mut idle, &mut shutdown).await;
        if exit != fast_path::Exit::NotPlain {
            if exit == fast_path::Exit::TimedOut {
                timed_out();
            }
            // Waits until the client has taken its last answer, within the limits of `write_timeout.rs`.
            let _ = stream.shutdown().await;
            return;
        }
        // Boxed, so that an idle connection takes no memory for it.
        let stays = idle_since.is_some_and(|idle_since| idle_since.elapsed() < IDLE_AFTER);
        match Box::pin(hyper_path::answer(&http, stream, &client, &mut idle, &mut shutdown, stays)).await {
            Outcome::Closed(result) => return ended(client.remote, result),
            Outcome::TimedOut => return timed_out(),
            Outcome::Idle(idle_stream) => stream = idle_stream,
        }
        idle_since = Some(Instant::now());
    }
}
