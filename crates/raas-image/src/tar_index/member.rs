//! Kinds of members.

use tar::EntryType;

use super::path;
use crate::error::legible;
use crate::{ImageError, Rule};

/// A member of an archive, checked.
#[derive(Debug)]
pub(crate) enum Member {
    /// The place of a regular file.
    File { offset: u64, size: u64 },
    /// A link to the member of this name.
    Link { target: Box<str> },
    /// A folder, which has no content.
    Folder,
}

/// A member as its headers describe it.
pub(super) struct Header {
    pub(super) kind: EntryType,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: u64,
    pub(super) offset: u64,
}

impl Header {
    /// The member and its normalised name, if both are allowed.
    pub(super) fn check(self, raw_name: &[u8]) -> Result<(String, Member), ImageError> {
        let shown = || String::from_utf8_lossy(raw_name).into_owned();
        let text = std::str::from_utf8(raw_name).map_err(|_| ImageError::refused(shown(), Rule::NotUtf8))?;
        let name = path::normalise(text).map_err(|rule| ImageError::refused(text, rule))?;
        let folder =
            self.kind == EntryType::Directory || (self.kind == EntryType::Regular && text.ends_with('/'));
        if name.is_empty() && !folder {
            return Err(ImageError::refused(shown(), Rule::NoName));
        }
        if folder {
            return Ok((name, Member::Folder));
        }
        let special = match self.kind {
            EntryType::Regular | EntryType::Continuous => {
                return Ok((name, Member::File { offset: self.offset, size: self.size }));
            }
            EntryType::Link | EntryType::Symlink => {
                let raw = self.link.unwrap_or_default();
                let target =
                    std::str::from_utf8(&raw).map_err(|_| ImageError::refused(shown(), Rule::NotUtf8))?;
                // The target of a hard link begins at the archive's root, that of a symbolic link in its own folder.
                let from = if self.kind == EntryType::Link { "" } else { path::folder(&name) };
                let resolved = path::resolve(from, target)
                    .ok_or_else(|| ImageError::refused(shown(), Rule::LinkLeaves(legible(target, 300))))?;
                return Ok((name, Member::Link { target: resolved.into() }));
            }
            EntryType::Char | EntryType::Block => "a device",
            EntryType::Fifo => "a pipe",
            EntryType::GNUSparse => "a sparse file",
            _ => "of a kind that archives of images do not have",
        };
        Err(ImageError::refused(name, Rule::Special(special)))
    }
}
