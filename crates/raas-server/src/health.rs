//! What is known of a site's metadata that is followed in a bucket: what serves, and what is wrong.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::catalog::Catalog;

/// Written by who follows the metadata, read by everybody.
#[derive(Debug)]
pub(crate) struct Health {
    /// What is served; nothing before anything was found out.
    catalog: ArcSwapOption<Catalog>,
    /// How often what the bucket has was not taken.
    refusals: AtomicU64,
    news: Mutex<News>,
    tried: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct News {
    /// Why what the bucket has is not served; nothing while it is.
    refusal: Option<String>,
    /// What serves was once found to be what the bucket has.
    good: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            catalog: ArcSwapOption::empty(),
            refusals: AtomicU64::new(0),
            news: Mutex::default(),
            tried: watch::Sender::new(false),
        }
    }
}

impl Health {
    /// The bucket's metadata is served; `catalog` where it is another one than before.
    pub(crate) fn good(&self, catalog: Option<Arc<Catalog>>) {
        if let Some(catalog) = catalog.or_else(|| self.catalog().is_none().then(Arc::default)) {
            self.catalog.store(Some(catalog));
        }
        self.told(|news| {
            news.refusal = None;
            news.good = true;
        });
        self.tried.send_replace(true);
    }

    /// What the bucket has is not taken. Whether that is news.
    pub(crate) fn refused(&self, reason: &str) -> bool {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        let new = self.told(|news| {
            let new = news.refusal.as_deref() != Some(reason);
            news.refusal = Some(reason.to_owned());
            new
        });
        self.tried.send_replace(true);
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
        self.told(|news| news.refusal.is_none() && news.good)
    }

    /// Waits until the bucket was asked once, however that ended.
    pub(crate) async fn tried(&self) {
        // It fails only when the sender is gone, and that is part of this.
        let _ = self.tried.subscribe().wait_for(|tried| *tried).await;
    }

    fn told<T>(&self, change: impl FnOnce(&mut News) -> T) -> T {
        change(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
