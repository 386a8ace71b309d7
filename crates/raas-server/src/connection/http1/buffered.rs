//! A connection with bytes that were read of it already.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::in_flight::Progress;

/// A connection, what was read of it and is yet to be understood, and who is told whether it takes what is written.
pub(super) struct BufferedStream<S> {
    inner: S,
    read: Bytes,
    progress: Arc<Progress>,
}

impl<S> BufferedStream<S> {
    pub(super) fn new(inner: S, progress: Arc<Progress>) -> Self {
        Self { inner, read: Bytes::new(), progress }
    }

    /// Puts back what was read and not understood, before what is still here.
    pub(super) fn put_back(&mut self, read: Bytes) {
        self.read = if self.read.is_empty() { read } else { [read, self.read.clone()].concat().into() };
    }

    fn tracked<T>(&self, written: Poll<T>) -> Poll<T> {
        self.progress.blocked(written.is_pending());
        written
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
            // An empty piece keeps all that it is a piece of.
            self.read = Bytes::new();
            if buffer.remaining() > 0 {
                // With what is there of the rest: for a byte by itself, hyper would take a second buffer. What went wrong,
                // or is not there yet, is told to whoever asks again.
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
