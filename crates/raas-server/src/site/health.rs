//! What is known of a site's metadata that is followed in a bucket: what serves, and what is wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use raas_types::Pointer;

use crate::catalog::Catalog;

/// Written by who follows the metadata, read by everybody.
#[derive(Debug, Default)]
pub(crate) struct MetadataHealth {
    /// What is served; nothing before anything was found out.
    catalog: ArcSwapOption<Catalog>,
    /// How often what the bucket has was not taken.
    refusals: AtomicU64,
    /// How many documents of it do not load.
    faulty: Arc<AtomicUsize>,
    news: Mutex<News>,
    tried: AtomicBool,
}

#[derive(Debug, Default)]
struct News {
    /// Why what the bucket has is not served; nothing while it is.
    refusal: Option<String>,
    /// When what serves was last found to be what the bucket has.
    good: Option<Instant>,
    sequence: u64,
}

impl MetadataHealth {
    /// The bucket's metadata is served; `catalog` where it is another one than before.
    pub(crate) fn good(&self, catalog: Option<Arc<Catalog>>, pointer: Option<&Pointer>) {
        if let Some(catalog) = catalog.or_else(|| self.catalog().is_none().then(Arc::default)) {
            self.catalog.store(Some(catalog));
        }
        self.told(|news| {
            news.refusal = None;
            news.good = Some(Instant::now());
            news.sequence = pointer.map_or(0, |pointer| pointer.sequence);
        });
        self.tried.store(true, Ordering::Relaxed);
    }

    /// What the bucket has is not taken. Whether that is news.
    pub(crate) fn refused(&self, reason: &str) -> bool {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        let new = self.told(|news| {
            let new = news.refusal.as_deref() != Some(reason);
            news.refusal = Some(reason.to_owned());
            new
        });
        self.tried.store(true, Ordering::Relaxed);
        new
    }

    /// What is served; nothing if nothing was ever found out.
    pub(crate) fn catalog(&self) -> Option<Arc<Catalog>> {
        self.catalog.load_full()
    }

    /// How often what the bucket has was not taken.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Whether what is served is what the bucket had when it was last asked.
    pub(crate) fn is_current(&self) -> bool {
        self.told(|news| news.refusal.is_none() && news.good.is_some())
    }

    /// How long ago what is served was last found to be what the bucket has.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.told(|news| news.good.map(|good| good.elapsed()))
    }

    /// The number of the publication that is served.
    pub(crate) fn sequence(&self) -> u64 {
        self.told(|news| news.sequence)
    }

    /// How many documents do not load.
    pub(crate) fn faulty(&self) -> &Arc<AtomicUsize> {
        &self.faulty
    }

    /// Whether the bucket was asked once, however that ended.
    pub(crate) fn was_tried(&self) -> bool {
        self.tried.load(Ordering::Relaxed)
    }

    fn told<T>(&self, change: impl FnOnce(&mut News) -> T) -> T {
        change(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
