//! A file whose bytes go to the disk while more come, so that the sync at its end is short.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{Advice, fadvise};

/// The disk is told of bytes in pieces of this size.
const PIECE: u64 = 8 << 20;

/// A file that is written from its beginning to its end.
#[derive(Debug)]
pub struct EagerFile {
    file: File,
    written: u64,
    /// The bytes that the disk was told of.
    told: u64,
}

impl EagerFile {
    /// Writes to a file that is empty.
    pub fn new(file: File) -> Self {
        Self { file, written: 0, told: 0 }
    }

    /// Waits until all bytes are on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Write for EagerFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        if self.written - self.told >= PIECE {
            // Linux then begins to write the piece. It is advice: a system that does not heed it writes at the sync.
            let piece = std::num::NonZeroU64::new(self.written - self.told);
            fadvise(&self.file, self.told, piece, Advice::DontNeed).unwrap_or_default();
            self.told = self.written;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_whatever_the_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = EagerFile::new(File::create(&path).unwrap());
        let mut expected = Vec::new();
        for (n, size) in [1, 5 << 20, 3 << 20, 20 << 20, 0, 7].into_iter().enumerate() {
            let bytes = vec![u8::try_from(n).unwrap(); size];
            file.write_all(&bytes).unwrap();
            expected.extend(bytes);
        }
        file.sync().unwrap();
        assert!(std::fs::read(&path).unwrap() == expected);
    }
}
