//! Collects what h2 writes in one turn, so that TLS makes few records of it and the system gets few writes.
//!
//! h2 flushes its connection after each answer with a body. Over TLS each flush would be a record and a write of its own.
//! So a flush of h2 does nothing here, and the connection's task sends the batch when h2's turn is over.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that a connection collects: two records of TLS.
const MAX_BATCH: usize = 32 * 1024;

/// A write of so many bytes is not worth a copy.
const LARGE: usize = 8 * 1024;

thread_local! {
    /// The empty buffer of the last batch that this thread has sent. A connection without a batch needs no buffer.
    static BUFFER: Cell<Vec<u8>> = Cell::default();
}

/// Splits a stream into what h2 writes to, and the batch that its task sends.
pub(super) fn batched<S>(stream: S) -> (BatchedStream<S>, Batch<S>) {
    let shared = Arc::new(Mutex::new(Shared { stream, batch: Vec::new(), sent: 0 }));
    (BatchedStream(Arc::clone(&shared)), Batch(shared))
}

/// The stream as h2 sees it.
pub(super) struct BatchedStream<S>(Arc<Mutex<Shared<S>>>);

/// What a stream has collected.
pub(super) struct Batch<S>(Arc<Mutex<Shared<S>>>);

impl<S: AsyncWrite + Unpin> Batch<S> {
    /// Sends the batch. To be called after each turn of h2.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        ready!(shared.poll_send(cx))?;
        Pin::new(&mut shared.stream).poll_flush(cx)
    }
}

struct Shared<S> {
    stream: S,
    batch: Vec<u8>,
    /// How much of the batch the stream has taken.
    sent: usize,
}

impl<S: AsyncWrite + Unpin> Shared<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.batch.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < self.batch.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.batch[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.sent += taken,
            }
        }
        self.sent = 0;
        self.batch.clear();
        BUFFER.set(std::mem::take(&mut self.batch));
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        if length >= LARGE || self.batch.len() + length > MAX_BATCH {
            ready!(self.poll_send(cx))?;
        }
        if length >= LARGE {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        }
        if self.batch.is_empty() {
            self.batch = BUFFER.take();
        }
        pieces.iter().for_each(|piece| self.batch.extend_from_slice(piece));
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BatchedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BatchedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        ready!(shared.poll_send(cx))?;
        Pin::new(&mut shared.stream).poll_shutdown(cx)
    }
}

/// Nobody else ever holds the lock: h2 and the batch take turns in one task.
fn lock<S>(shared: &Mutex<Shared<S>>) -> MutexGuard<'_, Shared<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn writes_of_a_turn_arrive_in_order_once_the_batch_is_sent() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (mut stream, batch) = batched(ours);
        let mut written = Vec::new();
        for (number, length) in
            [1, 300, LARGE - 1, 3, LARGE, 10, MAX_BATCH, 2, 2 * MAX_BATCH, 7].into_iter().enumerate()
        {
            let piece = vec![number as u8; length];
            stream.write_all(&piece).await.unwrap();
            stream.flush().await.unwrap();
            written.extend(piece);
        }
        poll_fn(|cx| batch.poll_send(cx)).await.unwrap();
        let mut arrived = vec![0; written.len()];
        theirs.read_exact(&mut arrived).await.unwrap();
        assert_eq!(arrived, written);
    }

    #[tokio::test]
    async fn a_small_write_waits_for_the_end_of_the_turn() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (mut stream, batch) = batched(ours);
        stream.write_all(b"one").await.unwrap();
        stream.flush().await.unwrap();
        let mut arrived = [0; 6];
        let nothing = poll_fn(|cx| {
            let mut room = ReadBuf::new(&mut arrived);
            Poll::Ready(Pin::new(&mut theirs).poll_read(cx, &mut room).is_pending())
        });
        assert!(nothing.await, "it was sent at once");
        stream.write_all(b"two").await.unwrap();
        poll_fn(|cx| batch.poll_send(cx)).await.unwrap();
        theirs.read_exact(&mut arrived).await.unwrap();
        assert_eq!(&arrived, b"onetwo");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_stops_the_writes() {
        let (ours, _theirs) = tokio::io::duplex(1000);
        let (mut stream, _batch) = batched(ours);
        let mut taken = 0;
        let full = poll_fn(|cx| {
            while let Poll::Ready(written) = Pin::new(&mut stream).poll_write(cx, &[0; 500]) {
                taken += written.unwrap();
            }
            Poll::Ready(())
        });
        full.await;
        assert!((MAX_BATCH - 500..=MAX_BATCH).contains(&taken), "{taken}");
    }

    #[tokio::test]
    async fn the_end_of_the_stream_sends_the_batch_first() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (mut stream, _batch) = batched(ours);
        stream.write_all(b"goodbye").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut arrived = Vec::new();
        theirs.read_to_end(&mut arrived).await.unwrap();
        assert_eq!(arrived, b"goodbye");
    }
}
