//! A body that is read from a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

/// The bytes of a file. The next piece is read while the client receives the current one, so at most two pieces are in
/// memory.
pub(crate) struct FileStream {
    file: Arc<File>,
    path: String,
    start: u64,
    left: u64,
    state: ReadState,
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
    /// No piece was requested yet.
    Fresh,
    /// The next piece is being read.
    Reading(JoinHandle<io::Result<Vec<u8>>>),
    /// The end was reached, or reading failed.
    Over,
}

impl FileStream {
    /// The largest size of a piece in bytes: small enough for memory, and large enough that the cost of a read does not
    /// matter.
    pub(super) const PIECE: u64 = 64 * 1024;

    pub(crate) fn new(file: File, path: String, start: u64, left: u64) -> Self {
        Self { file: Arc::new(file), path, start, left, state: ReadState::Fresh }
    }

    /// The part of the file. Nothing of it may have been read.
    pub(super) fn into_part(self) -> FilePart {
        FilePart { file: self.file, path: self.path, start: self.start, length: self.left }
    }

    /// The bytes that are still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next piece. `size` is the size of the piece that is read after it, at most [`PIECE`](Self::PIECE).
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>, size: u64) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match &mut self.state {
                ReadState::Over => return Poll::Ready(None),
                ReadState::Fresh => self.read(Some(self.start), size),
                ReadState::Reading(task) => {
                    let read =
                        ready!(Pin::new(task).poll(cx)).unwrap_or_else(|error| Err(io::Error::other(error)));
                    return Poll::Ready(Some(self.take(read, size)));
                }
            }
        }
    }

    /// Starts to read the next piece, if there is one.
    fn read(&mut self, seek: Option<u64>, size: u64) {
        if self.left == 0 {
            self.state = ReadState::Over;
            return;
        }
        let file = Arc::clone(&self.file);
        let length = self.left.min(size);
        self.state = ReadState::Reading(spawn_blocking(move || {
            let mut file = file.as_ref();
            if let Some(start) = seek.filter(|start| *start > 0) {
                file.seek(SeekFrom::Start(start))?;
            }
            let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            file.take(length).read_to_end(&mut piece)?;
            Ok(piece)
        }));
    }

    fn take(&mut self, read: io::Result<Vec<u8>>, size: u64) -> io::Result<Bytes> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter");
        let piece = read.and_then(|piece| if piece.is_empty() { Err(ended()) } else { Ok(piece) });
        match piece {
            Ok(piece) => {
                self.left -= piece.len() as u64;
                // Read ahead while this piece is sent.
                self.read(None, size);
                Ok(piece.into())
            }
            Err(error) => {
                // The error breaks the connection, so the client notices that bytes are missing.
                tracing::error!(path = self.path, %error, "reading an object failed while it was sent");
                self.state = ReadState::Over;
                Err(error)
            }
        }
    }
}
