//! Keeps the snapshot up with what is published.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use raas_types::VendorName;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::site::{Site, SiteConfig, SiteSource, Snapshot};

mod documents;
mod stamp;
mod tree;

use tree::Tree;

/// Looks at all sites again and again, and swaps the snapshot whenever something changed.
pub(crate) async fn keep_up<S: SiteSource>(
    mut watcher: Watcher<S>,
    current: Arc<ArcSwap<Snapshot>>,
    every: Duration,
) {
    let source = Arc::clone(&watcher.source);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let polled = spawn_blocking(move || {
            let snapshot = watcher.poll();
            (watcher, snapshot)
        });
        watcher = match polled.await {
            Ok((watcher, snapshot)) => {
                if let Some(snapshot) = snapshot {
                    current.store(Arc::new(snapshot));
                }
                watcher
            }
            // A bug, told by the panic's own message. What is served stays, and a new watcher starts from nothing.
            Err(error) => {
                tracing::error!(%error, "the watcher failed and starts again");
                Watcher::new(Arc::clone(&source))
            }
        };
    }
}

/// What is known of the sites' files.
pub(crate) struct Watcher<S> {
    source: Arc<S>,
    sites: BTreeMap<VendorName, (SiteConfig, Tree)>,
    /// The last error of the source, so that it is told once.
    complaint: Option<String>,
}

impl<S: SiteSource> Watcher<S> {
    pub(crate) fn new(source: Arc<S>) -> Self {
        Self { source, sites: BTreeMap::new(), complaint: None }
    }

    /// Loads everything for the first time.
    pub(crate) fn first(&mut self) -> io::Result<Snapshot> {
        let configs = self.source.sites()?;
        self.update(configs);
        Ok(self.snapshot())
    }

    /// Looks at everything again; a snapshot if it is not as before.
    fn poll(&mut self) -> Option<Snapshot> {
        match self.source.sites() {
            Ok(configs) => {
                self.complaint = None;
                self.update(configs).then(|| self.snapshot())
            }
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::error!(%error, "the list of sites cannot be read; the last one stays");
                    self.complaint = Some(complaint);
                }
                let configs = self.sites.values().map(|(config, _)| config.clone()).collect();
                self.update(configs).then(|| self.snapshot())
            }
        }
    }

    fn update(&mut self, configs: Vec<SiteConfig>) -> bool {
        let mut before = std::mem::take(&mut self.sites);
        let mut changed = false;
        for config in configs {
            if self.sites.contains_key(&config.vendor) {
                continue;
            }
            let mut tree = match before.remove(&config.vendor) {
                Some((old, tree)) if old.metadata == config.metadata => {
                    changed |= old != config;
                    tree
                }
                _ => {
                    tracing::info!(vendor = %config.vendor, metadata = %config.metadata.display(), "new site");
                    changed = true;
                    Tree::new(config.metadata.clone())
                }
            };
            changed |= tree.poll();
            self.sites.insert(config.vendor.clone(), (config, tree));
        }
        for vendor in before.keys() {
            tracing::info!(%vendor, "site is gone");
            changed = true;
        }
        changed
    }

    fn snapshot(&self) -> Snapshot {
        let site = |(config, tree): &(SiteConfig, Tree)| Site {
            vendor: config.vendor.clone(),
            bucket: config.bucket.clone(),
            catalog: tree.catalog(),
        };
        Snapshot { sites: self.sites.values().map(site).collect() }
    }
}
