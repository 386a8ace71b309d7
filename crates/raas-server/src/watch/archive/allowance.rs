//! Limits the size of all parts of a snapshot together.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ArchiveError;

/// The limits of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(in crate::watch) struct Limits {
    /// The bytes of all unpacked archives.
    pub(in crate::watch) bytes: u64,
    /// The number of files.
    pub(in crate::watch) files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1024 * 1024 * 1024, files: 1_000_000 }
    }
}

/// The size of a part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::watch) struct PartSize {
    /// The bytes of the unpacked archive.
    pub(in crate::watch) bytes: u64,
    pub(in crate::watch) files: u64,
}

/// What the limits leave for the parts that are being read.
#[derive(Debug)]
pub(in crate::watch) struct Allowance {
    limits: Limits,
    bytes: AtomicU64,
    files: AtomicU64,
}

impl Allowance {
    /// What the unchanged parts leave of the limits.
    pub(in crate::watch) fn beside(others: impl Iterator<Item = PartSize>, limits: Limits) -> Self {
        let (mut bytes, mut files) = (limits.bytes, limits.files);
        for used in others {
            bytes = bytes.saturating_sub(used.bytes);
            files = files.saturating_sub(used.files);
        }
        Self { limits, bytes: bytes.into(), files: files.into() }
    }

    pub(super) fn take_bytes(&self, count: u64) -> Result<(), ArchiveError> {
        take(&self.bytes, count).ok_or(ArchiveError::TooLong(self.limits.bytes))
    }

    pub(super) fn take_file(&self) -> Result<(), ArchiveError> {
        take(&self.files, 1).ok_or(ArchiveError::TooMany(self.limits.files))
    }
}

fn take(left: &AtomicU64, count: u64) -> Option<()> {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count));
    taken.ok().map(drop)
}
