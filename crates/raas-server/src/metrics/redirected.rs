//! Bytes that the clients of a site were sent for.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where a client was sent for bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RedirectTarget {
    /// The vendor's own bucket, or the CDN before it.
    Bucket,
    /// Where a masked layer is.
    Elsewhere,
}

/// A site's numbers, in bytes. The site has them with it, so that nothing is looked up for a redirect.
#[derive(Debug, Default)]
pub(crate) struct RedirectCounters {
    bucket: AtomicU64,
    elsewhere: AtomicU64,
}

impl RedirectCounters {
    /// A client was sent for so many bytes.
    pub(crate) fn add(&self, target: RedirectTarget, bytes: u64) {
        let number = match target {
            RedirectTarget::Bucket => &self.bucket,
            RedirectTarget::Elsewhere => &self.elsewhere,
        };
        number.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Each with what it is called.
    pub(crate) fn all(&self) -> [(&'static str, u64); 2] {
        [("bucket", &self.bucket), ("elsewhere", &self.elsewhere)]
            .map(|(target, number)| (target, number.load(Ordering::Relaxed)))
    }
}
