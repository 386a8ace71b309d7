//! A file of the source, to be opened when its turn comes.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::{FileAt, ReadAt, Section};
use crate::ImageError;

/// A file of the source: its name there, its size, and how to read it. Cheap to clone, holds no bytes; it can be
/// opened several times and from several threads.
#[derive(Clone)]
pub struct Content {
    name: Arc<str>,
    size: u64,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Section(Arc<dyn ReadAt>, u64),
    Path(PathBuf),
    Memory(Arc<[u8]>),
}

impl Content {
    pub(crate) fn section(name: &str, bytes: &Arc<dyn ReadAt>, offset: u64, size: u64) -> Self {
        Self { name: name.into(), size, place: Place::Section(bytes.clone(), offset) }
    }

    pub(crate) fn path(name: &str, path: PathBuf, size: u64) -> Self {
        Self { name: name.into(), size, place: Place::Path(path) }
    }

    /// Bytes at hand, as if they were a file of the source.
    pub fn memory(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.into(), size: bytes.len() as u64, place: Place::Memory(bytes.into()) }
    }

    /// An open file, which needs no name of its own any more, as if it were a file of the source. It is read at
    /// offsets, so that its own position does not matter.
    ///
    /// # Errors
    /// The system does not tell the file's length.
    pub fn file(name: &str, file: File) -> io::Result<Self> {
        let file = FileAt::new(file)?;
        let size = file.length();
        Ok(Self::section(name, &(Arc::new(file) as Arc<dyn ReadAt>), 0, size))
    }

    /// The member's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads from the start. The stream gives exactly [`size`](Self::size) bytes or an error.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match &self.place {
            Place::Section(bytes, offset) => Box::new(Section::new(bytes.clone(), *offset, self.size)),
            Place::Path(path) => {
                let file = FileAt::new(File::open(path)?)?;
                if file.length() != self.size {
                    return Err(io::Error::other("the file has changed while raas was at work"));
                }
                Box::new(Section::new(Arc::new(file), 0, self.size))
            }
            Place::Memory(bytes) => Box::new(io::Cursor::new(bytes.clone())),
        })
    }

    /// The whole content, if it is within the limit.
    ///
    /// # Errors
    /// It is longer than the limit, or it cannot be read.
    pub fn read_all(&self, limit: u64) -> Result<Vec<u8>, ImageError> {
        if self.size > limit {
            return Err(ImageError::refused(self.name(), crate::Rule::TooLarge { size: self.size, limit }));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        let mut stream = self.open().map_err(ImageError::read(self.name()))?;
        stream.read_to_end(&mut bytes).map_err(ImageError::read(self.name()))?;
        Ok(bytes)
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.size)
    }
}
