//! The two ways to walk over an archive: over a file, and over a stream.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::bytes::{ReadAt, Section};
use crate::{ImageError, Rule};

/// A walk forward over an archive's bytes.
pub(crate) trait Walk {
    /// The offset of the next byte.
    fn position(&self) -> u64;
    /// Reads the next bytes, fewer than the buffer has only at the archive's end. Returns their number.
    fn read_up_to(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Skips the next bytes; `UnexpectedEof` if the archive ends before.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
    /// Called behind the end mark.
    fn finish(&mut self) -> io::Result<()>;

    /// Reads the next bytes; `UnexpectedEof` if the archive ends before.
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match self.read_up_to(buffer)? {
            read if read == buffer.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Walks over a file and reads the headers alone.
pub(crate) struct SeekWalk {
    bytes: Arc<dyn ReadAt>,
    position: u64,
}

impl SeekWalk {
    pub(crate) fn new(bytes: Arc<dyn ReadAt>) -> Self {
        Self { bytes, position: 0 }
    }
}

impl Walk for SeekWalk {
    fn position(&self) -> u64 {
        self.position
    }

    fn read_up_to(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.length().saturating_sub(self.position);
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        Section::new(self.bytes.clone(), self.position, most as u64).read_exact(&mut buffer[..most])?;
        self.position += most as u64;
        Ok(most)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.position.checked_add(bytes).filter(|end| *end <= self.bytes.length());
        self.position = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writers of tar pad an archive to a few kilobytes, or for tapes to some megabytes.
const MAX_PADDING: u64 = 64 * 1024 * 1024;

/// Walks over a stream and writes it to a file, from which the members are read later.
///
/// The walk checks each header as it arrives: a stream that is no archive is an error at its first block, before it
/// fills the disk.
pub(crate) struct SpoolWalk<'a> {
    stream: &'a mut dyn Read,
    spool: &'a mut File,
    what: &'a str,
    position: u64,
    limit: u64,
    buffer: Vec<u8>,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a> SpoolWalk<'a> {
    pub(crate) fn new(
        stream: &'a mut dyn Read,
        spool: &'a mut File,
        what: &'a str,
        limit: u64,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self { stream, spool, what, position: 0, limit, buffer: vec![0; 256 * 1024], progress }
    }

    fn admit(&self, bytes: u64) -> io::Result<()> {
        if self.position.saturating_add(bytes) > self.limit {
            let rule = Rule::Inflates(self.limit);
            return Err(io::Error::other(ImageError::refused(self.what, rule)));
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.spool.write_all(bytes);
        written.map_err(|source| {
            let what = "the temporary copy of the archive".to_owned();
            io::Error::other(ImageError::Write { what, source })
        })?;
        self.position += bytes.len() as u64;
        (self.progress)(bytes.len() as u64);
        Ok(())
    }
}

impl Walk for SpoolWalk<'_> {
    fn position(&self) -> u64 {
        self.position
    }

    fn read_up_to(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.admit(buffer.len() as u64)?;
        let mut read = 0;
        while read < buffer.len() {
            match self.stream.read(&mut buffer[read..]) {
                Ok(0) => break,
                Ok(got) => read += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.keep(&buffer[..read])?;
        Ok(read)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.admit(bytes)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut left = bytes;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = self.stream.read(&mut buffer[..most])?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.keep(&buffer[..got])?;
            left -= got as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Reads to the end of the stream, so that the checksum of a packed stream is compared and the sender can finish.
    /// The rest is padding, which is not written to the file.
    fn finish(&mut self) -> io::Result<()> {
        let mut padding = 0u64;
        loop {
            let got = self.stream.read(&mut self.buffer)?;
            if got == 0 {
                return Ok(());
            }
            padding += got as u64;
            if padding > MAX_PADDING {
                let message = format!("it goes on for more than {MAX_PADDING} bytes behind its end mark");
                return Err(io::Error::other(ImageError::content(self.what, message)));
            }
        }
    }
}
