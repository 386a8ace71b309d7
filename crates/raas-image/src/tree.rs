//! A source as a tree of files: a tar's index, or a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bytes::ReadAt;
use crate::error::legible;
use crate::tar_index::{TarIndex, normalise};
use crate::{Content, ImageError, Limits, Rule};

/// The files of a source, by their names in it.
pub(crate) enum Tree {
    Tar {
        index: TarIndex,
        bytes: Arc<dyn ReadAt>,
    },
    /// A folder by its path, which has no links.
    Folder(PathBuf),
}

impl Tree {
    pub(crate) fn folder(path: &Path) -> io::Result<Self> {
        Ok(Tree::Folder(fs::canonicalize(path)?))
    }

    /// The file of this name, with links followed; `None` if there is none.
    ///
    /// Neither the name, which may come from the source, nor a link in a folder leads out of the source.
    pub(crate) fn file(&self, name: &str, limits: &Limits) -> Result<Option<Content>, ImageError> {
        let plain = normalise(name).map_err(|rule| ImageError::refused(name, rule))?;
        match self {
            Tree::Tar { index, bytes } => {
                let place = index.file(&plain, bytes, limits)?;
                Ok(place.map(|(offset, size)| Content::stretch(name, bytes, offset, size)))
            }
            Tree::Folder(folder) => {
                let path = folder.join(plain);
                let failed = |source| ImageError::Read { what: path.display().to_string(), source };
                let real = match fs::canonicalize(&path) {
                    Ok(real) => real,
                    Err(error) if is_absence(&error) => return Ok(None),
                    Err(source) => return Err(failed(source)),
                };
                if !real.starts_with(folder) {
                    let rule = Rule::LinkLeaves(legible(&real.display().to_string(), 300));
                    return Err(ImageError::refused(name, rule));
                }
                let found = fs::metadata(&real).map_err(failed)?;
                Ok(found.is_file().then(|| Content::path(name, real, found.len())))
            }
        }
    }

    /// As [`file`](Self::file), with an error that says why the file is needed if there is none.
    pub(crate) fn need(&self, name: &str, why: &str, limits: &Limits) -> Result<Content, ImageError> {
        self.file(name, limits)?
            .ok_or_else(|| ImageError::missing(name, format!("it is not in the archive, and {why}")))
    }

    /// Whether files may be missing because an archive is truncated.
    pub(crate) fn may_be_truncated(&self) -> bool {
        matches!(self, Tree::Tar { index, .. } if !index.has_end_mark())
    }

    /// What the user should know about the archive.
    pub(crate) fn notes(&self) -> &[String] {
        match self {
            Tree::Tar { index, .. } => index.notes(),
            Tree::Folder(_) => &[],
        }
    }

    /// The names in an archive with this prefix; none in a folder, because the formats of folders name all their files.
    pub(crate) fn names<'a>(&'a self, prefix: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match self {
            Tree::Tar { index, .. } => Box::new(index.names(prefix)),
            Tree::Folder(_) => Box::new(std::iter::empty()),
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
