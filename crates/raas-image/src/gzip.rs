//! Gzip on all cores. The output does not depend on the number of cores.
//!
//! As in pigz, each block of fixed length is deflated on its own and ends at a byte boundary, and the deflated blocks make
//! one ordinary gzip member (RFC 1952). The output depends on the input and the block length alone, so a layer has the same
//! digest whenever and wherever it is packed.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;

use flate2::{Compress, Compression, FlushCompress};

/// Long enough that the blocks cost less than a percent of the ratio, short enough that some blocks for each core take a few
/// megabytes.
const BLOCK: usize = 512 * 1024;

/// RFC 1952, section 2.3: deflate, no name, no time, no hint of the level, unknown operating system. A time would make the
/// output differ between runs.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

struct Job {
    block: Vec<u8>,
    last: bool,
    done: SyncSender<Piece>,
}

struct Piece {
    deflated: Vec<u8>,
    sum: crc32fast::Hasher,
}

/// A writer that gzips its input into another writer. [`finish`](Self::finish) writes the end.
pub(crate) struct GzipWriter<W: Write> {
    sink: W,
    jobs: Sender<Job>,
    waiting: VecDeque<Receiver<Piece>>,
    most_waiting: usize,
    block: Vec<u8>,
    sum: crc32fast::Hasher,
    length: u64,
    begun: bool,
}

impl<W: Write> GzipWriter<W> {
    /// Starts the workers. They end when the writer is finished or dropped.
    pub(crate) fn new<'scope>(sink: W, workers: usize, scope: &'scope Scope<'scope, '_>) -> Self {
        let workers = workers.max(1);
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..workers {
            let queue = queue.clone();
            scope.spawn(move || work(&queue));
        }
        Self {
            sink,
            jobs,
            waiting: VecDeque::new(),
            most_waiting: workers + 1,
            block: Vec::with_capacity(BLOCK),
            sum: crc32fast::Hasher::new(),
            length: 0,
            begun: false,
        }
    }

    /// Writes the last block and the trailer, and returns the sink.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.submit(true)?;
        while !self.waiting.is_empty() {
            self.collect()?;
        }
        // RFC 1952: the CRC-32 and the length modulo 2^32 of the plain bytes.
        self.sink.write_all(&self.sum.finalize().to_le_bytes())?;
        self.sink.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.sink)
    }

    fn submit(&mut self, last: bool) -> io::Result<()> {
        if self.waiting.len() >= self.most_waiting {
            self.collect()?;
        }
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(if last { 0 } else { BLOCK }));
        self.length += block.len() as u64;
        let (done, piece) = sync_channel(1);
        self.waiting.push_back(piece);
        self.jobs.send(Job { block, last, done }).map_err(|_| worker_gone())
    }

    /// Waits for the oldest block, then writes it.
    fn collect(&mut self) -> io::Result<()> {
        let Some(oldest) = self.waiting.pop_front() else {
            return Ok(());
        };
        let piece = oldest.recv().map_err(|_| worker_gone())?;
        if !self.begun {
            self.sink.write_all(&HEADER)?;
            self.begun = true;
        }
        self.sum.combine(&piece.sum);
        self.sink.write_all(&piece.deflated)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK - self.block.len();
        let taken = room.min(bytes.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.submit(false)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn worker_gone() -> io::Error {
    io::Error::other("a thread that compresses has ended early")
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut deflate = Compress::new(Compression::default(), false);
    loop {
        // A worker holds the lock while it waits for a job; the other workers have no job then either.
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { block, last, done }) = job else {
            return;
        };
        let mut sum = crc32fast::Hasher::new();
        sum.update(&block);
        let deflated = deflate_block(&mut deflate, &block, last);
        // The receiver is gone if the writer was dropped after an error.
        drop(done.send(Piece { deflated, sum }));
    }
}

fn deflate_block(deflate: &mut Compress, block: &[u8], last: bool) -> Vec<u8> {
    deflate.reset();
    let mut out = Vec::with_capacity(block.len() / 2 + 64);
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        let taken = deflate.total_in() as usize;
        let status = deflate.compress_vec(&block[taken..], &mut out, flush);
        let taken = deflate.total_in() as usize;
        let complete = match status {
            Ok(flate2::Status::StreamEnd) => true,
            // A sync flush is complete if the encoder had more room than it needed.
            Ok(_) => !last && taken == block.len() && out.len() < out.capacity(),
            Err(error) => unreachable!("deflate refuses no input: {error}"),
        };
        if complete {
            return out;
        }
        out.reserve(block.len() / 4 + 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn gzip(input: &[u8], workers: usize, piece: usize) -> Vec<u8> {
        std::thread::scope(|scope| {
            let mut writer = GzipWriter::new(Vec::new(), workers, scope);
            for bytes in input.chunks(piece.max(1)) {
                writer.write_all(bytes).unwrap();
            }
            writer.finish().unwrap()
        })
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Half of it compresses, half does not.
            if state & 0x8000_0000 == 0 { 7 } else { (state >> 16) as u8 }
        };
        (0..length).map(next).collect()
    }

    #[test]
    fn the_output_unpacks_to_the_input() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 17] {
            let input = noise(length);
            let mut output = Vec::new();
            // This decoder reads a single member: the blocks must make one.
            flate2::read::GzDecoder::new(&gzip(&input, 3, 100_000)[..]).read_to_end(&mut output).unwrap();
            assert!(output == input, "{length} bytes");
        }
    }

    #[test]
    fn the_output_depends_on_the_input_alone() {
        let input = noise(4 * BLOCK + 99);
        let one = gzip(&input, 1, 4096);
        assert!(gzip(&input, 2, 65_536) == one);
        assert!(gzip(&input, 7, 1_000_003) == one);
    }

    #[test]
    fn an_error_of_the_sink_is_returned() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let result = std::thread::scope(|scope| {
            let mut writer = GzipWriter::new(Full, 2, scope);
            writer.write_all(&noise(9 * BLOCK)).and_then(|()| writer.finish().map(drop))
        });
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
