//! Unpacking on a thread of its own, ahead of who reads.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use flate2::bufread::GzDecoder;

use super::{Limits, Plain};

/// How much is unpacked at once. Unpacking into little pieces, such as a tar's header, takes several times as long.
const PIECE: usize = 128 * 1024;

/// How many pieces there are. They are used again and again.
const PIECES: usize = 4;

/// The unpacked bytes of a packed stream, which another thread unpacks.
pub(in crate::watch) struct Ahead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    piece: Vec<u8>,
    /// How much of the piece was read.
    at: usize,
    /// How much was read of all.
    position: u64,
}

impl Ahead {
    /// Begins to unpack. One byte more than is allowed tells that there is more.
    pub(in crate::watch) fn unpack<'scope>(
        scope: &'scope Scope<'scope, '_>,
        packed: &'scope [u8],
        limits: Limits,
    ) -> Self {
        let plain = GzDecoder::new(packed).take(limits.unpacked + 1);
        let (filled, full) = sync_channel(PIECES);
        let (empty, emptied) = channel();
        for _ in 0..PIECES {
            let _ = empty.send(Vec::new());
        }
        scope.spawn(move || unpack(plain, &filled, &emptied));
        Self { full, empty, piece: Vec::new(), at: 0, position: 0 }
    }

    /// What is left of the piece at hand, or of the next; nothing at the end.
    fn rest(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len()
            && let Ok(next) = self.full.recv()
        {
            // Whoever unpacks may have come to its end.
            let _ = self.empty.send(std::mem::replace(&mut self.piece, next?));
            self.at = 0;
        }
        Ok(&self.piece[self.at..])
    }

    fn advance(&mut self, count: usize) {
        self.at += count;
        self.position += count as u64;
    }
}

/// Fills pieces, until there is no more or nobody reads.
fn unpack(mut plain: impl Read, filled: &SyncSender<io::Result<Vec<u8>>>, emptied: &Receiver<Vec<u8>>) {
    while let Ok(mut piece) = emptied.recv() {
        piece.resize(PIECE, 0);
        let filling = fill(&mut plain, &mut piece);
        let ended = !matches!(filling, Ok(PIECE));
        let sent = filled.send(filling.map(|length| {
            piece.truncate(length);
            piece
        }));
        if ended || sent.is_err() {
            return;
        }
    }
}

/// Fills a piece as far as there is anything.
fn fill(plain: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match plain.read(&mut piece[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = self.rest()?;
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.advance(count);
        Ok(count)
    }
}

/// Forwards only, which is how a file is passed by without a copy.
impl Seek for Ahead {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Current(count) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        let mut left = u64::try_from(count).map_err(|_| io::ErrorKind::Unsupported)?;
        while left > 0 {
            let rest = self.rest()?.len();
            if rest == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = rest.min(usize::try_from(left).unwrap_or(rest));
            self.advance(count);
            left -= count as u64;
        }
        Ok(self.position)
    }
}

impl Plain for Ahead {
    fn finish(mut self) -> io::Result<u64> {
        loop {
            match self.rest()?.len() {
                0 => return Ok(self.position),
                rest => self.advance(rest),
            }
        }
    }
}
