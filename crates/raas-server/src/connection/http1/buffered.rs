//! A connection with bytes that were read and not parsed yet.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::super::write_timeout::Plain;
use crate::in_flight::Progress;

/// A connection, the bytes that were read and not parsed yet, and a record of whether writes block.
pub(super) struct BufferedStream<S> {
    inner: S,
    read: Bytes,
    progress: Arc<Progress>,
}

impl<S> BufferedStream<S> {
    pub(super) fn new(inner: S, progress: Arc<Progress>) -> Self {
        Self { inner, read: Bytes::new(), progress }
    }

    /// Puts bytes back, before those that are still here.
    pub(super) fn put_back(&mut self, read: Bytes) {
        self.read = if self.read.is_empty() { read } else { [read, self.read.clone()].concat().into() };
    }

    fn tracked<T>(&self, written: Poll<T>) -> Poll<T> {
        self.progress.blocked(written.is_pending());
        written
    }
}

impl<S: Plain> Plain for BufferedStream<S> {
    fn socket(&self) -> Option<(&TcpStream, Duration)> {
        self.inner.socket()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BufferedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let length = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..length]);
        self.read.advance(length);
        if self.read.is_empty() {
            // An empty slice would keep the whole buffer alive.
            self.read = Bytes::new();
            if buffer.remaining() > 0 {
                // Also reads what has arrived of the rest: for a single byte hyper would allocate a second buffer. An
                // error is reported at the next read.
                let _ = Pin::new(&mut self.inner).poll_read(cx, buffer);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BufferedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.tracked(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.tracked(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.tracked(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.tracked(ended)
    }
}
