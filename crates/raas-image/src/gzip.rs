//! Gzip on all cores. The output does not depend on the number of cores.
//!
//! Each block of fixed length is packed on its own and becomes a gzip member. A gzip file is any number of members (RFC
//! 1952, section 2.2), and every client reads such layers: eStargz makes them too. The output depends on the input
//! alone, so a layer has the same digest whenever and wherever it is packed. A test compares that digest: another
//! release of libdeflate may make other bytes, and then the same layer would have two digests at two vendors. Published
//! layers stay, since the record knows the packed layer of each plain one.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;

use libdeflater::{CompressionLvl, Compressor};

/// Long enough that the blocks cost less than a percent of the ratio, short enough that some blocks for each core take a few
/// megabytes.
const BLOCK: usize = 512 * 1024;

/// libdeflate's level. docs/performance.md has speed and size of the levels beside it.
const LEVEL: i32 = 3;

/// Samples of a block, their length, and the part of it that must remain of an incompressible block, as a percentage.
const SAMPLES: usize = 4;
const SAMPLE: usize = 4 * 1024;
const INCOMPRESSIBLE: usize = 99;

struct Job {
    block: Vec<u8>,
    done: SyncSender<Vec<u8>>,
}

/// A writer that gzips its input into another writer. [`finish`](Self::finish) writes the end.
pub(crate) struct GzipWriter<W: Write> {
    sink: W,
    jobs: Sender<Job>,
    waiting: VecDeque<Receiver<Vec<u8>>>,
    most_waiting: usize,
    block: Vec<u8>,
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
            begun: false,
        }
    }

    /// Writes the last block, and returns the sink. An empty input makes one member, for a file without members is no gzip.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() || !self.begun {
            self.submit()?;
        }
        while !self.waiting.is_empty() {
            self.collect()?;
        }
        Ok(self.sink)
    }

    fn submit(&mut self) -> io::Result<()> {
        if self.waiting.len() >= self.most_waiting {
            self.collect()?;
        }
        self.begun = true;
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let (done, member) = sync_channel(1);
        self.waiting.push_back(member);
        self.jobs.send(Job { block, done }).map_err(|_| worker_gone())
    }

    /// Waits for the oldest block, then writes it.
    fn collect(&mut self) -> io::Result<()> {
        let Some(oldest) = self.waiting.pop_front() else {
            return Ok(());
        };
        let member = oldest.recv().map_err(|_| worker_gone())?;
        self.sink.write_all(&member)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK - self.block.len();
        let taken = room.min(bytes.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.submit()?;
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
    let mut packer = Packer::new();
    loop {
        // A worker holds the lock while it waits for a job; the other workers have no job then either.
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { block, done }) = job else {
            return;
        };
        // The receiver is gone if the writer was dropped after an error.
        drop(done.send(packer.member(&block)));
    }
}

/// Makes a gzip member of a block. What does not compress is stored: to search it for repetitions costs the most and gains
/// nothing.
struct Packer {
    probe: Compressor,
    deflate: Compressor,
    store: Compressor,
    /// Room for a member of the longest block. It is filled once, not for each block.
    out: Vec<u8>,
}

impl Packer {
    fn new() -> Self {
        // Another level than the wanted one would give layers other digests.
        let level = |level| Compressor::new(CompressionLvl::new(level).expect("a level of libdeflate"));
        let (probe, mut deflate, mut store) = (level(1), level(LEVEL), level(0));
        let room = deflate.gzip_compress_bound(BLOCK).max(store.gzip_compress_bound(BLOCK));
        Self { probe, deflate, store, out: vec![0; room] }
    }

    fn member(&mut self, block: &[u8]) -> Vec<u8> {
        let packer = if self.compresses(block) { &mut self.deflate } else { &mut self.store };
        match packer.gzip_compress(block, &mut self.out) {
            Ok(length) => self.out[..length].to_vec(),
            Err(error) => unreachable!("the bound suffices for every input: {error}"),
        }
    }

    /// Whether samples of the block compress.
    fn compresses(&mut self, block: &[u8]) -> bool {
        if block.len() < SAMPLES * SAMPLE * 4 {
            return true;
        }
        let mut packed = 0;
        for sample in block.chunks(block.len() / SAMPLES).take(SAMPLES) {
            packed += self.probe.deflate_compress(&sample[..SAMPLE], &mut self.out).unwrap_or(0);
        }
        packed * 100 < SAMPLES * SAMPLE * INCOMPRESSIBLE
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
            let packed = gzip(&input, 3, 100_000);
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut output).unwrap();
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
    fn the_packed_bytes_are_those_of_every_release() {
        // If this fails, layers that are pushed to two vendors by two releases no longer have one name.
        let mut input = noise(2 * BLOCK + 99);
        input.extend(random(BLOCK));
        let packed = raas_types::Digest::of(&gzip(&input, 2, 65_536)).to_string();
        assert_eq!(packed, "sha256:369464c0f5c76b998b2195fa14efc530e0f2353d0d5f35f5da269e35f52b308e");
    }

    #[test]
    fn what_does_not_compress_is_stored() {
        let (random, text) = (random(2 * BLOCK), noise(2 * BLOCK));
        let overhead = gzip(&random, 2, 65_536).len() - random.len();
        assert!(overhead < 200, "{overhead} bytes more");
        assert!(gzip(&text, 2, 65_536).len() < text.len() * 3 / 4);
    }

    /// Bytes that do not compress.
    fn random(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(next).collect()
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
