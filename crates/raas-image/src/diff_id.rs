//! The digest of a layer's plain bytes, computed from the packed bytes.
//!
//! The thread that has the packed bytes of a large layer hashes and stores them; beside it, one thread unpacks, and another
//! hashes what comes out. A small layer is not worth two threads.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use raas_types::Sha256;

use crate::inflate::{Coding, Unpacker};
use crate::{Content, ImageError, Limits, Rule};

/// How many pieces may wait between two threads. Two hide the differences of their pace, and many layers at once need
/// little memory.
const WAITING: usize = 2;

/// The length of a piece of plain bytes.
const PIECE: usize = 64 * 1024;

/// A packed layer up to this size is unpacked by the thread that has its bytes.
const SMALL: u64 = 256 * 1024;

/// Computes the digest of a layer's plain bytes from the packed bytes.
pub(crate) struct DiffIdWriter<'scope> {
    name: String,
    work: Work<'scope>,
}

enum Work<'scope> {
    Here(Unpacker<Limited<Hash>>),
    Beside {
        packed: SyncSender<Vec<u8>>,
        unpacking: ScopedJoinHandle<'scope, io::Result<()>>,
        hashing: ScopedJoinHandle<'scope, Sha256>,
    },
}

impl<'scope> DiffIdWriter<'scope> {
    /// Starts the threads, if the layer is large. They end when the writer is finished or dropped.
    pub(crate) fn new(
        coding: Coding,
        content: &Content,
        limits: &Limits,
        scope: &'scope Scope<'scope, '_>,
    ) -> io::Result<Self> {
        let limit = limits.unpacked_layer;
        let work = if content.size() <= SMALL {
            Work::Here(Unpacker::new(coding, Limited { sink: Hash(Sha256::default()), length: 0, limit })?)
        } else {
            let (packed, pieces) = sync_channel::<Vec<u8>>(WAITING);
            let (plain, to_hash) = sync_channel::<Vec<u8>>(WAITING);
            let sink = Limited { sink: Pieces { plain, piece: Vec::new() }, length: 0, limit };
            let unpacker = Unpacker::new(coding, sink)?;
            let unpacking = scope.spawn(move || unpack(unpacker, &pieces));
            let hashing = scope.spawn(move || hash(&to_hash));
            Work::Beside { packed, unpacking, hashing }
        };
        Ok(Self { name: content.name().to_owned(), work })
    }

    /// Takes the next packed bytes. After an error, only [`finish`](Self::finish) may follow.
    ///
    /// # Errors
    /// The layer does not unpack, or to too much. An error of a large layer comes with a later piece, or with the end.
    pub(crate) fn update(&mut self, packed: &[u8]) -> Result<(), ImageError> {
        let Self { name, work } = self;
        match work {
            Work::Here(unpacker) => unpacker.update(packed).map_err(|error| refused(name, error)),
            Work::Beside { packed: pieces, .. } => {
                if pieces.send(packed.to_vec()).is_ok() {
                    return Ok(());
                }
                // The thread that unpacks has ended, and has the reason.
                let ended = std::mem::replace(work, Work::Here(Unpacker::Plain(Limited::nothing())));
                ended.finish().map(drop).map_err(|error| refused(name, error))
            }
        }
    }

    /// The plain bytes' digest and length.
    ///
    /// # Errors
    /// The layer does not unpack, or to too much.
    pub(crate) fn finish(self) -> Result<Sha256, ImageError> {
        self.work.finish().map_err(|error| refused(&self.name, error))
    }
}

impl Work<'_> {
    fn finish(self) -> io::Result<Sha256> {
        match self {
            Work::Here(unpacker) => unpacker.finish().map(|sink| sink.sink.0),
            Work::Beside { packed, unpacking, hashing } => {
                drop(packed);
                joined(unpacking)?;
                Ok(joined(hashing))
            }
        }
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn refused(name: &str, error: io::Error) -> ImageError {
    match error.downcast::<ImageError>() {
        Ok(ImageError::Refused { rule, .. }) => ImageError::refused(name, rule),
        Ok(other) => other,
        Err(error) => ImageError::refused(name, Rule::Unpack(error.to_string())),
    }
}

fn unpack(mut unpacker: Unpacker<Limited<Pieces>>, pieces: &Receiver<Vec<u8>>) -> io::Result<()> {
    for piece in pieces {
        unpacker.update(&piece)?;
    }
    unpacker.finish()?.sink.send()
}

fn hash(pieces: &Receiver<Vec<u8>>) -> Sha256 {
    let mut hash = Sha256::default();
    for piece in pieces {
        hash.update(&piece);
    }
    hash
}

/// Refuses more plain bytes than a layer may have.
struct Limited<W> {
    sink: W,
    length: u64,
    limit: u64,
}

impl Limited<Hash> {
    fn nothing() -> Self {
        Limited { sink: Hash(Sha256::default()), length: 0, limit: 0 }
    }
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        if self.length > self.limit {
            return Err(io::Error::other(ImageError::refused("", Rule::Inflates(self.limit))));
        }
        self.sink.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes what is written.
struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gathers plain bytes in pieces for the thread that hashes them.
struct Pieces {
    plain: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.plain.send(piece).map_err(|_| io::Error::other("the thread that hashes has ended early"))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
