//! Reads at an offset without a shared position, so that several threads read layers of one archive.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes of known length that are read at offsets.
pub(crate) trait ReadAt: Send + Sync {
    /// Reads bytes at the offset and returns their number, which is 0 at or behind the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The length in bytes.
    fn length(&self) -> u64;
}

/// A file with its length at the time of opening.
pub(crate) struct FileAt {
    file: File,
    length: u64,
}

impl FileAt {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }
}

impl ReadAt for FileAt {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn length(&self) -> u64 {
        self.length
    }
}

/// Reads a stretch of such bytes from its start.
#[derive(Clone)]
pub(crate) struct Section {
    bytes: Arc<dyn ReadAt>,
    position: u64,
    end: u64,
}

impl Section {
    pub(crate) fn new(bytes: Arc<dyn ReadAt>, offset: u64, size: u64) -> Self {
        Self { bytes, position: offset, end: offset.saturating_add(size) }
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        if want == 0 {
            return Ok(0);
        }
        let got = self.bytes.read_at(self.position, &mut buffer[..want])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += got as u64;
        Ok(got)
    }
}
