//! The body of an answer, read by a thread that may wait.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::client::causes;

/// How many pieces of a body come ahead of its reader. A piece has the size of a read of the connection.
const AHEAD: usize = 4;

/// A body. Reading it fails after a silence, however long the whole takes.
pub struct Body {
    pieces: Receiver<io::Result<Bytes>>,
    /// Lets the next piece come.
    room: Arc<Semaphore>,
    piece: Bytes,
    silence: Duration,
    ended: bool,
    /// The task that reads ahead.
    pump: AbortHandle,
}

impl Body {
    /// Begins to read ahead. Nothing more is read once this is dropped.
    pub(crate) fn new(runtime: &Handle, body: Incoming, silence: Duration) -> Self {
        let (sender, pieces) = channel();
        let room = Arc::new(Semaphore::new(AHEAD));
        let pump = runtime.spawn(pump(body, sender, Arc::clone(&room))).abort_handle();
        Self { pieces, room, piece: Bytes::new(), silence, ended: false, pump }
    }

    /// All of the body, if it has no more bytes than this.
    ///
    /// # Errors
    /// It has more bytes, or the connection breaks or falls silent.
    pub fn read_all(self, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {most} bytes"),
            ));
        }
        Ok(bytes)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.pieces.recv_timeout(self.silence) {
                Ok(piece) => {
                    self.room.add_permits(1);
                    self.piece = piece?;
                }
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = self.silence.as_secs();
                    let message = format!("nothing has come for {seconds} seconds");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // The task may wait for a sender that has fallen silent. Its end closes the connection.
        self.pump.abort();
    }
}

/// Passes a body on, piece by piece, as long as there is room.
async fn pump(mut body: Incoming, to: Sender<io::Result<Bytes>>, room: Arc<Semaphore>) {
    loop {
        // Never an error, since nobody closes the semaphore.
        let Ok(permit) = room.acquire().await else { return };
        permit.forget();
        let piece = match body.frame().await {
            None => return,
            Some(Ok(frame)) => Ok(frame.into_data().unwrap_or_default()),
            Some(Err(error)) => Err(io::Error::other(causes(&error))),
        };
        let failed = piece.is_err();
        if to.send(piece).is_err() || failed {
            return;
        }
    }
}
