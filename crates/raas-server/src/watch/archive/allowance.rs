//! How much the parts of a snapshot may hold together.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ArchiveError;

/// How much a snapshot may hold.
#[derive(Debug, Clone, Copy)]
pub(in crate::watch) struct Limits {
    /// All bytes of the unpacked archives.
    pub(in crate::watch) bytes: u64,
    /// How many files.
    pub(in crate::watch) files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1024 * 1024 * 1024, files: 1_000_000 }
    }
}

/// How much a part holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::watch) struct PartSize {
    /// Bytes of the unpacked archive.
    pub(in crate::watch) bytes: u64,
    pub(in crate::watch) files: u64,
}

/// What is left of the limits, for all parts that are being read.
#[derive(Debug)]
pub(in crate::watch) struct Allowance {
    limits: Limits,
    bytes: AtomicU64,
    files: AtomicU64,
}

impl Allowance {
    /// What other parts leave.
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
