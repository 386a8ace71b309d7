//! Detects whether a file has changed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use raas_types::Utc;

/// Changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileVersion {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl From<&Metadata> for FileVersion {
    fn from(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl FileVersion {
    /// When the file was last written.
    pub(crate) fn modified(&self) -> Utc {
        Utc::from_unix(u64::try_from(self.modified.0).unwrap_or(0))
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}
