//! The state of a site's metadata in a bucket.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use raas_types::Pointer;

use super::LoadStats;
use crate::catalog::Catalog;

/// The state of a site's metadata. The task that follows the bucket writes it, and everybody may read it.
#[derive(Debug)]
pub(crate) struct MetadataHealth {
    /// The catalog that is served. None until the bucket was read for the first time.
    catalog: ArcSwapOption<Catalog>,
    /// How often the bucket's metadata was refused.
    refusals: AtomicU64,
    /// How often the bucket's metadata could not be read.
    failures: AtomicU64,
    /// How often a pointer to an earlier publication was refused.
    earlier: AtomicU64,
    stats: Arc<LoadStats>,
    status: Mutex<Status>,
    tried: AtomicBool,
}

#[derive(Debug, Default)]
struct Status {
    /// Why the bucket's metadata is not served. None while it is.
    refusal: Option<String>,
    /// When the served metadata was last confirmed to be the bucket's.
    confirmed: Option<Instant>,
    sequence: u64,
    /// Whether there was a pointer when the bucket was last read.
    has_pointer: bool,
}

impl MetadataHealth {
    /// Nothing was read yet.
    pub(crate) fn new(stats: Arc<LoadStats>) -> Self {
        let (status, tried) = (Mutex::default(), AtomicBool::new(false));
        Self {
            catalog: ArcSwapOption::empty(),
            refusals: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            earlier: AtomicU64::new(0),
            stats,
            status,
            tried,
        }
    }

    /// Confirms that the bucket's metadata is served. `catalog` is set if it has changed. Returns the reason why the metadata was
    /// not served before.
    pub(crate) fn confirmed(
        &self,
        catalog: Option<Arc<Catalog>>,
        pointer: Option<&Pointer>,
    ) -> Option<String> {
        if let Some(catalog) = catalog.or_else(|| self.catalog().is_none().then(Arc::default)) {
            self.catalog.store(Some(catalog));
        }
        let before = self.with_status(|status| {
            status.confirmed = Some(Instant::now());
            status.sequence = pointer.map_or(0, |pointer| pointer.sequence);
            status.has_pointer = pointer.is_some();
            status.refusal.take()
        });
        self.tried.store(true, Ordering::Relaxed);
        before
    }

    /// Records that the bucket's metadata is refused. Returns whether the reason is new.
    pub(crate) fn refused(&self, reason: &str) -> bool {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.not_served(reason)
    }

    /// Records that the bucket's metadata could not be read. Returns whether the reason is new.
    pub(crate) fn failed(&self, reason: &str) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.not_served(reason)
    }

    fn not_served(&self, reason: &str) -> bool {
        let new = self.with_status(|status| {
            let new = status.refusal.as_deref() != Some(reason);
            status.refusal = Some(reason.to_owned());
            new
        });
        self.tried.store(true, Ordering::Relaxed);
        new
    }

    /// Records that the pointer names an earlier publication.
    pub(crate) fn refused_earlier(&self) {
        self.earlier.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a pointer to an earlier publication was refused.
    pub(crate) fn earlier(&self) -> u64 {
        self.earlier.load(Ordering::Relaxed)
    }

    /// The catalog that is served. None until the bucket was read for the first time.
    pub(crate) fn catalog(&self) -> Option<Arc<Catalog>> {
        self.catalog.load_full()
    }

    /// How often the bucket's metadata was refused.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// How often the bucket's metadata could not be read.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether the served metadata was the bucket's when the bucket was last asked.
    pub(crate) fn is_current(&self) -> bool {
        self.with_status(|status| status.refusal.is_none() && status.confirmed.is_some())
    }

    /// Whether the bucket was read and has no pointer: nothing is published there, or the publications have another
    /// prefix.
    pub(crate) fn lacks_pointer(&self) -> bool {
        self.with_status(|status| status.confirmed.is_some() && !status.has_pointer)
    }

    /// The time since the served metadata was last confirmed to be the bucket's.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.with_status(|status| status.confirmed.map(|confirmed| confirmed.elapsed()))
    }

    /// The sequence number of the publication that is served.
    pub(crate) fn sequence(&self) -> u64 {
        self.with_status(|status| status.sequence)
    }

    /// What loading the metadata has come to.
    pub(crate) fn stats(&self) -> &Arc<LoadStats> {
        &self.stats
    }

    /// Whether the bucket was asked at least once, with whatever result.
    pub(crate) fn was_tried(&self) -> bool {
        self.tried.load(Ordering::Relaxed)
    }

    fn with_status<T>(&self, change: impl FnOnce(&mut Status) -> T) -> T {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
