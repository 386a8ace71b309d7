//! A connection with a time limit for writes and an orderly end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

/// How long a client may be silent after the server has ended its side, before the connection is closed.
const LINGER: Duration = Duration::from_secs(2);

/// A connection that may be a socket whose bytes nobody transforms.
pub(super) trait Plain {
    /// The socket, and how long a write may be blocked. None if the bytes are encrypted.
    fn socket(&self) -> Option<(&TcpStream, Duration)>;
}

impl Plain for WriteTimeoutStream<TcpStream> {
    fn socket(&self) -> Option<(&TcpStream, Duration)> {
        Some((&self.inner, self.patience))
    }
}

impl<T> Plain for TlsStream<T> {
    fn socket(&self) -> Option<(&TcpStream, Duration)> {
        None
    }
}

/// A connection that fails if the client takes no byte for too long while there are bytes for it. A slow client is
/// served as long as it takes some.
pub(crate) struct WriteTimeoutStream<T> {
    inner: T,
    patience: Duration,
    /// The time limit of a blocked write. None while writes succeed.
    waiting: Option<Pin<Box<Sleep>>>,
    /// The time limits for the client's end: until its next byte, and in all. None before the server has ended its
    /// side.
    lingering: Option<(Pin<Box<Sleep>>, Instant)>,
}

impl<T> WriteTimeoutStream<T> {
    pub(crate) fn new(inner: T, patience: Duration) -> Self {
        Self { inner, patience, waiting: None, lingering: None }
    }

    fn limit<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteTimeoutStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WriteTimeoutStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.limit(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper passes one piece for an answer without a body. A plain write is cheaper than a vectored one.
        let written = match pieces {
            [piece] => Pin::new(&mut self.inner).poll_write(cx, piece),
            pieces => Pin::new(&mut self.inner).poll_write_vectored(cx, pieces),
        };
        self.limit(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.limit(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let ended = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.limit(cx, ended))?;
            self.lingering = Some((Box::pin(sleep(LINGER)), Instant::now() + self.patience));
        }
        self.linger(cx).map(Ok)
    }
}

impl<T: AsyncRead + Unpin> WriteTimeoutStream<T> {
    /// Discards what the client still sends, until the client has ended its side too. If the connection were closed
    /// earlier, the system would reset it, and the client would lose the bytes that it has not read yet. HTTP/2 clients
    /// send window updates all the time, and others send bodies that nobody reads.
    ///
    /// Source: RFC 9112, section 9.6.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waste = [0; 4096];
        loop {
            let mut taken = ReadBuf::new(&mut waste);
            match Pin::new(&mut self.inner).poll_read(cx, &mut taken) {
                Poll::Ready(Ok(())) if !taken.filled().is_empty() => {
                    let now = Instant::now();
                    match &mut self.lingering {
                        Some((lingering, most)) if now < *most => {
                            lingering.as_mut().reset((now + LINGER).min(*most));
                        }
                        // The client has sent for too long.
                        _ => return Poll::Ready(()),
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        self.lingering.as_mut().map_or(Poll::Ready(()), |(lingering, _)| lingering.as_mut().poll(cx))
    }
}
