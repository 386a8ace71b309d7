//! Reading from a sender that may fall silent.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

const PIECE: usize = 256 * 1024;

/// A stream that fails when nothing has come for a while, however long it takes in all. (Time-outs of HTTP clients
/// are for the whole body, which for an archive may well be an hour.)
pub(super) struct Patient {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    taken: usize,
    patience: Duration,
}

impl Patient {
    /// Reads the stream in a thread of its own, which ends with it, or at the next byte after this is dropped.
    pub(super) fn new(mut stream: impl Read + Send + 'static, patience: Duration) -> Self {
        // Two pieces ahead: while one is written, the next one comes.
        let (sender, pieces) = sync_channel(2);
        thread::spawn(move || {
            loop {
                let mut piece = vec![0; PIECE];
                let read = stream.read(&mut piece).map(|got| {
                    piece.truncate(got);
                    piece
                });
                let last = !matches!(&read, Ok(piece) if !piece.is_empty());
                if sender.send(read).is_err() || last {
                    return;
                }
            }
        });
        Self { pieces, piece: Vec::new(), taken: 0, patience }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            self.piece = match self.pieces.recv_timeout(self.patience) {
                Ok(piece) => piece?,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = self.patience.as_secs();
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("nothing has come for {seconds} seconds"),
                    ));
                }
            };
            self.taken = 0;
        }
        let count = buffer.len().min(self.piece.len() - self.taken);
        buffer[..count].copy_from_slice(&self.piece[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_passed_on_and_silence_is_an_error() {
        let long = vec![7; 3 * PIECE + 5];
        let mut found = Vec::new();
        Patient::new(io::Cursor::new(long.clone()), Duration::from_secs(10)).read_to_end(&mut found).unwrap();
        assert!(found == long);

        let (silent, _kept_open) = std::os::unix::net::UnixStream::pair().unwrap();
        let error = Patient::new(silent, Duration::from_millis(20)).read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
