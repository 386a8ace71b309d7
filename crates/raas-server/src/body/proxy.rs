//! A body that the server receives from a bucket or a location and passes on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use raas_types::{Digest, Sha256};
use tokio::time::{Instant, Sleep, sleep};

use crate::http_client::Proxied;

/// The bytes of an object as they arrive. A piece is received only after the client has taken the one before, so memory
/// is bounded by the buffers of the two connections.
pub(crate) struct ProxyStream {
    incoming: Incoming,
    left: u64,
    what: String,
    /// The time limit for the service's next piece. None while the server waits for the client instead.
    patience: Option<Pin<Box<Sleep>>>,
    /// The hash of the bytes so far, and the expected digest.
    check: Option<(Sha256, Digest)>,
    over: bool,
    _proxied: Proxied,
}

/// How long a service may be silent in the middle of an object.
const TIMEOUT: Duration = Duration::from_secs(60);

impl ProxyStream {
    pub(crate) fn new(
        incoming: Incoming,
        left: u64,
        what: String,
        expected: Option<Digest>,
        proxied: Proxied,
    ) -> Self {
        let check = expected.map(|digest| (Sha256::default(), digest));
        Self { incoming, left, what, patience: None, check, over: false, _proxied: proxied }
    }

    /// The bytes that are still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if self.over || self.left == 0 {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.patience = None;
                    // Trailers are ignored.
                    let Ok(mut bytes) = frame.into_data() else { continue };
                    bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.left -= bytes.len() as u64;
                    if let Some((found, _)) = &mut self.check {
                        found.update(&bytes);
                    }
                    // Checked before the last piece is sent, so that a client never has a complete object with a wrong
                    // digest.
                    if self.left == 0
                        && let Some((found, expected)) = self.check.take()
                        && found.finish() != expected
                    {
                        let error = io::Error::new(
                            io::ErrorKind::InvalidData,
                            "the content does not have the expected digest",
                        );
                        return self.broke(error);
                    }
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Poll::Ready(Some(Err(error))) => return self.broke(io::Error::other(error)),
                Poll::Ready(None) => return self.broke(io::ErrorKind::UnexpectedEof.into()),
                Poll::Pending => {}
            }
            let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(TIMEOUT)));
            if patience.deadline() > Instant::now() && patience.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            return self.broke(io::ErrorKind::TimedOut.into());
        }
    }

    /// Ends the stream with an error. The error breaks the connection, so the client notices that bytes are missing.
    fn broke(&mut self, error: io::Error) -> Poll<Option<io::Result<Bytes>>> {
        tracing::error!(object = self.what, %error, "fetching an object failed while it was passed on");
        self.over = true;
        Poll::Ready(Some(Err(error)))
    }
}
