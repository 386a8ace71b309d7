//! A body that is read from a file.
//!
//! What the system has in memory is read at once. For the rest the disk is slow, and the other connections of the thread
//! would wait too, so another thread reads it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::files::read_in_memory;

/// The bytes of a file. At most two pieces are in memory: a piece from the disk is read while the client receives the one
/// before.
pub(crate) struct FileStream {
    file: Arc<File>,
    path: String,
    start: u64,
    left: u64,
    state: ReadState,
    /// The bytes that were read at once since the thread had its last turn for others.
    at_once: u64,
}

/// A part of a file that is to be sent.
pub(crate) struct FilePart {
    pub(crate) file: Arc<File>,
    /// For the log.
    pub(crate) path: String,
    /// The offset of its first byte.
    pub(crate) start: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

enum ReadState {
    /// The next piece is not being read.
    Idle,
    /// Another thread reads the next piece.
    Reading(JoinHandle<io::Result<Vec<u8>>>),
    /// The end was reached, or reading failed.
    Over,
}

impl FileStream {
    /// The largest size of a piece in bytes: small enough for memory, and large enough that the cost of a read does not
    /// matter.
    pub(super) const PIECE: u64 = 64 * 1024;

    /// How many bytes are read at once before other connections of the thread have their turn.
    const TURN: u64 = 1024 * 1024;

    pub(crate) fn new(file: File, path: String, start: u64, left: u64) -> Self {
        Self { file: Arc::new(file), path, start, left, state: ReadState::Idle, at_once: 0 }
    }

    /// The part of the file. Nothing of it may have been read.
    pub(super) fn into_part(self) -> FilePart {
        FilePart { file: self.file, path: self.path, start: self.start, length: self.left }
    }

    /// The bytes that are still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next piece, of at most `size` bytes. `size` is at most [`PIECE`](Self::PIECE).
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>, size: u64) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match &mut self.state {
                ReadState::Over => return Poll::Ready(None),
                ReadState::Idle if self.left == 0 => self.state = ReadState::Over,
                ReadState::Idle if self.at_once >= Self::TURN => {
                    self.at_once = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                ReadState::Idle => match self.read_at_once(size) {
                    Some(piece) => {
                        self.at_once += piece.len() as u64;
                        return Poll::Ready(Some(Ok(self.take(piece))));
                    }
                    None => self.read_aside(size),
                },
                ReadState::Reading(task) => {
                    let read =
                        ready!(Pin::new(task).poll(cx)).unwrap_or_else(|error| Err(io::Error::other(error)));
                    return Poll::Ready(Some(self.take_read(read, size)));
                }
            }
        }
    }

    /// The next piece, as far as it is in memory.
    fn read_at_once(&self, size: u64) -> Option<Vec<u8>> {
        let mut piece = vec![0; length(self.left.min(size))];
        let read = read_in_memory(&self.file, &mut piece, self.start)?;
        piece.truncate(read);
        Some(piece)
    }

    /// Lets another thread read the next piece.
    fn read_aside(&mut self, size: u64) {
        let (file, start) = (Arc::clone(&self.file), self.start);
        let mut piece = vec![0; length(self.left.min(size))];
        self.state = ReadState::Reading(spawn_blocking(move || {
            file.read_exact_at(&mut piece, start).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the file became shorter"),
                _ => error,
            })?;
            Ok(piece)
        }));
    }

    /// Takes what another thread has read. If the next piece is not in memory, it is read while this one is sent.
    fn take_read(&mut self, read: io::Result<Vec<u8>>, size: u64) -> io::Result<Bytes> {
        match read {
            Ok(piece) => {
                let piece = self.take(piece);
                self.state = ReadState::Idle;
                if self.left > 0 && read_in_memory(&self.file, &mut [0], self.start).is_none() {
                    self.read_aside(size);
                }
                Ok(piece)
            }
            Err(error) => {
                // The error breaks the connection, so the client notices that bytes are missing.
                tracing::error!(path = self.path, %error, "reading an object failed while it was sent");
                self.state = ReadState::Over;
                Err(error)
            }
        }
    }

    fn take(&mut self, piece: Vec<u8>) -> Bytes {
        self.start += piece.len() as u64;
        self.left -= piece.len() as u64;
        piece.into()
    }
}

/// The length of a piece, which is at most [`FileStream::PIECE`].
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write as _;

    use rustix::fs::{Advice, fadvise};

    use super::*;

    const LENGTH: u64 = 5 * FileStream::PIECE + 12_345;

    fn content() -> Vec<u8> {
        (0..LENGTH).map(|n| (n / 7) as u8 ^ (n >> 13) as u8).collect()
    }

    async fn read(file: File, start: u64, left: u64, size: u64) -> io::Result<Vec<u8>> {
        let mut stream = FileStream::new(file, "app/blob".into(), start, left);
        let mut all = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| stream.poll_piece(cx, size)).await {
            let piece = piece?;
            assert!(!piece.is_empty() && piece.len() as u64 <= size);
            all.extend_from_slice(&piece);
        }
        assert_eq!(stream.left(), 0);
        Ok(all)
    }

    #[tokio::test]
    async fn exactly_the_part_is_read_from_memory_and_from_the_disk() {
        let whole = content();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&whole).unwrap();
        file.sync_all().unwrap();
        for forget in [false, true] {
            for (start, left) in
                [(0, LENGTH), (1, LENGTH - 1), (FileStream::PIECE - 1, 2), (LENGTH - 5, 5), (3, 0)]
            {
                for size in [8 * 1024, FileStream::PIECE] {
                    if forget {
                        // A file system in memory keeps it.
                        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
                    }
                    let got = read(file.try_clone().unwrap(), start, left, size).await.unwrap();
                    assert!(
                        got == whole[start as usize..][..left as usize],
                        "{start} {left} {size} {forget}"
                    );
                }
            }
        }
        file.set_len(2 * FileStream::PIECE + 5).unwrap();
        let error = read(file, 0, LENGTH, FileStream::PIECE).await.unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (io::ErrorKind::UnexpectedEof, "the file became shorter")
        );
    }
    #[tokio::test]
    async fn other_connections_have_their_turn() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 3 * FileStream::TURN as usize]).unwrap();
        let mut stream = FileStream::new(file, "app/blob".into(), 0, 3 * FileStream::TURN);
        let mut turns = Vec::new();
        std::future::poll_fn(|cx| {
            turns.push(0);
            loop {
                match stream.poll_piece(cx, FileStream::PIECE) {
                    Poll::Ready(Some(piece)) => *turns.last_mut().unwrap() += piece.unwrap().len() as u64,
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        assert_eq!(turns.iter().sum::<u64>(), 3 * FileStream::TURN);
        assert!(turns.iter().all(|turn| *turn <= FileStream::TURN), "{turns:?}");
    }
}
