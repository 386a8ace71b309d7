//! A file of a source, opened when its bytes are needed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::{FileAt, ReadAt, Section};
use crate::{ImageError, Rule};

/// Bytes of known length that can be opened again at any offset: a file, a member of an archive, a blob of a registry.
///
/// An implementation keeps no position of its own, so that several readers of one value do not disturb each other.
pub trait Reopen: Send + Sync {
    /// The length in bytes.
    fn size(&self) -> u64;

    /// Opens the bytes from an offset, which is at most [`size`](Self::size), to the end.
    ///
    /// # Errors
    /// The bytes cannot be reached, or have changed since their length was taken.
    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>>;
}

/// A file of a source: its name there, its size, and how to read it.
///
/// A clone is cheap and shares the bytes. Several threads may read one content at the same time.
///
/// ```
/// use raas_image::Content;
/// use std::io::Read;
///
/// let content = Content::memory("config.json", b"{}\n");
/// let mut rest = String::new();
/// content.open_at(1)?.read_to_string(&mut rest)?;
/// assert_eq!((content.size(), rest.as_str()), (3, "}\n"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Content {
    name: Arc<str>,
    bytes: Arc<dyn Reopen>,
}

impl Content {
    /// A file of a source, by the name that messages show.
    pub fn new(name: &str, bytes: impl Reopen + 'static) -> Self {
        Self { name: name.into(), bytes: Arc::new(bytes) }
    }

    /// Bytes in memory, as a file of a source.
    pub fn memory(name: &str, bytes: &[u8]) -> Self {
        Self::new(name, Memory(bytes.into()))
    }

    /// An open file, as a file of a source. Reads use offsets, so the position of the file does not matter, and the
    /// file may have lost its name.
    ///
    /// # Errors
    /// The system does not tell the file's length.
    pub fn file(name: &str, file: File) -> io::Result<Self> {
        let file = FileAt::new(file)?;
        let size = file.length();
        Ok(Self::stretch(name, &(Arc::new(file) as Arc<dyn ReadAt>), 0, size))
    }

    /// A stretch of a larger file.
    pub(crate) fn stretch(name: &str, bytes: &Arc<dyn ReadAt>, offset: u64, size: u64) -> Self {
        Self::new(name, Stretch { bytes: bytes.clone(), offset, size })
    }

    /// A file that is opened by its path for each reader.
    pub(crate) fn path(name: &str, path: PathBuf, size: u64) -> Self {
        Self::new(name, Named { path, size })
    }

    /// The name that messages show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The length in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.size()
    }

    /// Opens the content at its start. The reader gives exactly [`size`](Self::size) bytes or an error.
    ///
    /// # Errors
    /// As [`Reopen::open_at`].
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        self.open_at(0)
    }

    /// Opens the content at an offset. The reader gives every byte from there to the end, or an error.
    ///
    /// # Errors
    /// As [`Reopen::open_at`], or the offset is behind the end.
    pub fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let left = self.size().checked_sub(offset).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the offset is behind the end of the content")
        })?;
        Ok(Box::new(Exactly { stream: self.bytes.open_at(offset)?, left }))
    }

    /// The whole content, if its size is within the limit.
    ///
    /// # Errors
    /// The content is longer than the limit, or cannot be read.
    pub fn read_all(&self, limit: u64) -> Result<Vec<u8>, ImageError> {
        let size = self.size();
        if size > limit {
            return Err(ImageError::refused(self.name(), Rule::TooLarge { size, limit }));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut stream = self.open().map_err(ImageError::read(self.name()))?;
        stream.read_to_end(&mut bytes).map_err(ImageError::read(self.name()))?;
        Ok(bytes)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.size())
    }
}

/// Ends the stream after this many bytes, and makes an earlier end an error.
struct Exactly {
    stream: Box<dyn Read + Send>,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let got = self.stream.read(&mut buffer[..most])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u64;
        Ok(got)
    }
}

/// A member of an archive that is open.
struct Stretch {
    bytes: Arc<dyn ReadAt>,
    offset: u64,
    size: u64,
}

impl Reopen for Stretch {
    fn size(&self) -> u64 {
        self.size
    }

    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Section::new(self.bytes.clone(), self.offset + offset, self.size - offset)))
    }
}

/// A file of a folder.
struct Named {
    path: PathBuf,
    size: u64,
}

impl Reopen for Named {
    fn size(&self) -> u64 {
        self.size
    }

    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let file = FileAt::new(File::open(&self.path)?)?;
        if file.length() != self.size {
            return Err(io::Error::other("the file has changed while raas was at work"));
        }
        Ok(Box::new(Section::new(Arc::new(file), offset, self.size - offset)))
    }
}

struct Memory(Arc<[u8]>);

impl Reopen for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut cursor = io::Cursor::new(self.0.clone());
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(content: &Content, offset: u64) -> io::Result<String> {
        let mut text = String::new();
        content.open_at(offset)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn every_kind_of_content_opens_at_an_offset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digits");
        std::fs::write(&path, "0123456789").unwrap();
        let file: Arc<dyn ReadAt> = Arc::new(FileAt::new(File::open(&path).unwrap()).unwrap());
        let contents = [Content::memory("memory", b"345678"), Content::stretch("stretch", &file, 3, 6), {
            std::fs::write(folder.path().join("part"), "345678").unwrap();
            Content::path("path", folder.path().join("part"), 6)
        }];
        for content in contents {
            for (offset, expected) in [(0, "345678"), (2, "5678"), (6, "")] {
                assert_eq!(rest(&content, offset).unwrap(), expected, "{content:?}");
            }
            assert_eq!(rest(&content, 7).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_stream_of_another_length_is_an_error_or_cut() {
        struct Liar(u64);
        impl Reopen for Liar {
            fn size(&self) -> u64 {
                self.0
            }
            fn open_at(&self, _: u64) -> io::Result<Box<dyn Read + Send>> {
                Ok(Box::new(&b"abc"[..]))
            }
        }
        assert_eq!(
            rest(&Content::new("short", Liar(4)), 0).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert_eq!(rest(&Content::new("long", Liar(2)), 0).unwrap(), "ab");
    }
}
