//! A source as a tree of files: a tar's index, or a folder.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::bytes::ReadAt;
use crate::tar_index::TarIndex;
use crate::{Content, ImageError, Limits};

/// The files of a source, by their names in it.
pub(crate) enum Tree {
    Tar { index: TarIndex, bytes: Arc<dyn ReadAt> },
    Folder(PathBuf),
}

impl Tree {
    /// The file of this name, links followed; `None` if there is none.
    ///
    /// In a folder the names asked for are fixed ones and digests, so none can lead out of it.
    pub(crate) fn file(&self, name: &str, limits: &Limits) -> Result<Option<Content>, ImageError> {
        match self {
            Tree::Tar { index, bytes } => {
                let place = index.file(name, limits)?;
                Ok(place.map(|(offset, size)| Content::section(name, bytes, offset, size)))
            }
            Tree::Folder(folder) => {
                let path = folder.join(name);
                match fs::metadata(&path) {
                    Ok(found) if found.is_file() => Ok(Some(Content::path(name, path, found.len()))),
                    Ok(_) => Ok(None),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(ImageError::Read { what: path.display().to_string(), source }),
                }
            }
        }
    }

    /// As [`file`](Self::file), and an error that says what it is needed for if there is none.
    pub(crate) fn need(&self, name: &str, why: &str, limits: &Limits) -> Result<Content, ImageError> {
        self.file(name, limits)?
            .ok_or_else(|| ImageError::missing(name, format!("it is not in the archive, and {why}")))
    }

    /// The names in an archive that begin with the prefix; none of a folder, whose formats name all their files.
    pub(crate) fn names<'a>(&'a self, prefix: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match self {
            Tree::Tar { index, .. } => Box::new(index.names(prefix)),
            Tree::Folder(_) => Box::new(std::iter::empty()),
        }
    }
}
