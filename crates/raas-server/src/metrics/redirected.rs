//! The bytes of redirects.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where clients are redirected to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RedirectTarget {
    /// The vendor's own bucket, or the CDN in front of it.
    Bucket,
    /// The location of a masked layer.
    Elsewhere,
}

/// The counters of one site, in bytes. The site holds them, so a redirect needs no lookup.
#[derive(Debug, Default)]
pub(crate) struct RedirectCounters {
    bucket: AtomicU64,
    elsewhere: AtomicU64,
}

impl RedirectCounters {
    /// Counts the bytes of a redirect.
    pub(crate) fn add(&self, target: RedirectTarget, bytes: u64) {
        let number = match target {
            RedirectTarget::Bucket => &self.bucket,
            RedirectTarget::Elsewhere => &self.elsewhere,
        };
        number.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Each target's label and bytes.
    pub(crate) fn all(&self) -> [(&'static str, u64); 2] {
        [("bucket", &self.bucket), ("elsewhere", &self.elsewhere)]
            .map(|(target, number)| (target, number.load(Ordering::Relaxed)))
    }
}
