//! Keeps the snapshot up with what is published.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use raas_types::VendorName;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::auth::AccessPolicy;
use crate::catalog::Catalog;
use crate::http::host::HostName;
use crate::http_client::HttpClient;
use crate::metrics::RedirectCounters;
use crate::site::MetadataHealth;
use crate::site::{Metadata, Site, SiteConfig, SiteSource, Snapshot};
use crate::state::ServerState;

mod archive;
mod document_store;
mod documents;
mod error_code;
mod folder;
mod snapshots;

use folder::{Folder, Layout};

/// Looks at all sites again and again, and swaps the snapshot whenever something changed.
pub(crate) async fn keep_up<S: SiteSource>(
    mut watcher: Watcher<S>,
    shared: Arc<ServerState>,
    every: Duration,
) {
    let (source, context) = (Arc::clone(&watcher.source), watcher.context.clone());
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = context.changed.notified() => tokio::time::sleep(TOGETHER).await,
        }
        let polled = spawn_blocking(move || {
            let snapshot = watcher.poll();
            (watcher, snapshot)
        });
        watcher = match polled.await {
            Ok((watcher, snapshot)) => {
                if let Some(snapshot) = snapshot {
                    shared.current.store(Arc::new(snapshot));
                }
                watcher
            }
            // A bug, told by the panic's own message. What is served stays, and a new watcher starts from nothing.
            Err(error) => {
                tracing::error!(%error, "the watcher failed and starts again");
                Watcher::new(Arc::clone(&source), context.clone())
            }
        };
    }
}

/// What following metadata in buckets takes.
#[derive(Debug, Clone)]
pub(crate) struct WatchContext {
    pub(crate) client: Arc<HttpClient>,
    /// How often a bucket is asked.
    pub(crate) every: Duration,
    /// Where the tasks run.
    pub(crate) runtime: Handle,
    /// For unpacking archives: as many at once as there are processors, so that a fleet that starts leaves threads
    /// and memory to who is served.
    pub(crate) unpacking: Arc<Semaphore>,
    /// LogFields of when a bucket has another catalog.
    pub(crate) changed: Arc<Notify>,
}

/// How far apart the first looks at buckets are that appear together: with hundreds of them, not all are asked at
/// one instant. Later looks are apart by chance.
const APART: Duration = Duration::from_millis(2);

/// How long a catalog from a bucket waits for others, so that those of a fleet that starts are served by a few
/// snapshots and not by one for each.
const TOGETHER: Duration = Duration::from_millis(10);

/// What is known of the sites' metadata.
pub(crate) struct Watcher<S> {
    source: Arc<S>,
    context: WatchContext,
    sites: BTreeMap<VendorName, WatchedSite>,
    /// The last error of the source, so that it is told once.
    last_error: Option<String>,
    /// The hosts that several sites claim, so that it is told once.
    claimed: BTreeSet<HostName>,
}

/// A site, and what is followed of it.
struct WatchedSite {
    config: SiteConfig,
    metadata: FollowedMetadata,
    access: AccessPolicy,
    /// What its clients were sent for, for as long as the site is there.
    redirected: Arc<RedirectCounters>,
}

/// A site's metadata, followed.
enum FollowedMetadata {
    /// By looking at it at every poll.
    Folder(Box<Folder>),
    /// By a task of its own, so that a slow bucket keeps nobody waiting.
    Snapshots {
        health: Arc<MetadataHealth>,
        task: JoinHandle<()>,
        /// What the last poll has found.
        seen: Option<Arc<Catalog>>,
    },
}

impl FollowedMetadata {
    fn begin(metadata: &Metadata, context: &WatchContext, after: Duration) -> Self {
        match metadata {
            Metadata::Folder(folder) => {
                FollowedMetadata::Folder(Box::new(Folder::new(folder.clone(), Layout::Raas)))
            }
            Metadata::Crane(folder, every) => {
                let layout = Layout::Crane { every: *every, looked: None };
                FollowedMetadata::Folder(Box::new(Folder::new(folder.clone(), layout)))
            }
            Metadata::Snapshots(origin) => {
                let health = Arc::new(MetadataHealth::default());
                let following =
                    snapshots::follow(context.clone(), origin.clone(), Arc::clone(&health), after);
                FollowedMetadata::Snapshots { health, task: context.runtime.spawn(following), seen: None }
            }
        }
    }

    /// Whether there is another catalog.
    fn poll(&mut self) -> bool {
        match self {
            FollowedMetadata::Folder(folder) => folder.poll(),
            FollowedMetadata::Snapshots { health, seen, .. } => {
                let now = health.catalog();
                let same = match (&*seen, &now) {
                    (Some(seen), Some(now)) => Arc::ptr_eq(seen, now),
                    (None, None) => true,
                    _ => false,
                };
                *seen = now;
                !same
            }
        }
    }

    fn catalog(&self) -> Option<Arc<Catalog>> {
        match self {
            FollowedMetadata::Folder(folder) => Some(folder.catalog()),
            FollowedMetadata::Snapshots { seen, .. } => seen.clone(),
        }
    }

    fn faulty(&self) -> Arc<AtomicUsize> {
        Arc::clone(match self {
            FollowedMetadata::Folder(folder) => folder.faulty(),
            FollowedMetadata::Snapshots { health, .. } => health.faulty(),
        })
    }

    fn health(&self) -> Option<&Arc<MetadataHealth>> {
        match self {
            FollowedMetadata::Folder(_) => None,
            FollowedMetadata::Snapshots { health, .. } => Some(health),
        }
    }
}

impl Drop for FollowedMetadata {
    fn drop(&mut self) {
        if let FollowedMetadata::Snapshots { task, .. } = self {
            task.abort();
        }
    }
}

impl<S: SiteSource> Watcher<S> {
    pub(crate) fn new(source: Arc<S>, context: WatchContext) -> Self {
        Self { source, context, sites: BTreeMap::new(), last_error: None, claimed: BTreeSet::new() }
    }

    /// Loads everything for the first time.
    pub(crate) fn first(&mut self) -> io::Result<Snapshot> {
        let configs = self.source.sites()?;
        self.update(configs);
        Ok(self.snapshot())
    }

    /// What the buckets that are followed are known to have.
    pub(crate) fn healths(&self) -> Vec<Arc<MetadataHealth>> {
        self.sites.values().filter_map(|site| site.metadata.health().cloned()).collect()
    }

    /// Looks at everything again; a snapshot if it is not as before.
    pub(crate) fn poll(&mut self) -> Option<Snapshot> {
        match self.source.sites() {
            Ok(configs) => {
                self.last_error = None;
                self.update(configs).then(|| self.snapshot())
            }
            Err(error) => {
                let last_error = error.to_string();
                if self.last_error.as_ref() != Some(&last_error) {
                    tracing::error!(%error, "the list of sites cannot be read; the last one stays");
                    self.last_error = Some(last_error);
                }
                let configs = self.sites.values().map(|site| site.config.clone()).collect();
                self.update(configs).then(|| self.snapshot())
            }
        }
    }

    fn update(&mut self, configs: Vec<SiteConfig>) -> bool {
        let mut before = std::mem::take(&mut self.sites);
        let mut changed = false;
        let mut begun = 0;
        for config in configs {
            if self.sites.contains_key(&config.vendor) {
                continue;
            }
            let mut site = match before.remove(&config.vendor) {
                // The old one has keys and such that were made for it.
                Some(site) if site.config == config => site,
                Some(site) if site.config.metadata == config.metadata => {
                    changed = true;
                    WatchedSite { config, ..site }
                }
                other => {
                    tracing::info!(vendor = %config.vendor, metadata = config.metadata.display_name(), "new site");
                    changed = true;
                    let metadata = FollowedMetadata::begin(&config.metadata, &self.context, APART * begun);
                    begun += u32::from(metadata.health().is_some());
                    let redirected = other.map(|site| site.redirected).unwrap_or_default();
                    WatchedSite { config, metadata, access: AccessPolicy::default(), redirected }
                }
            };
            changed |= site.metadata.poll();
            changed |= site.access.follow(site.config.access());
            self.sites.insert(site.config.vendor.clone(), site);
        }
        for vendor in before.keys() {
            tracing::info!(%vendor, "site is gone");
            changed = true;
        }
        changed
    }

    fn snapshot(&mut self) -> Snapshot {
        let site = |site: &WatchedSite| Site {
            vendor: site.config.vendor.clone(),
            bucket: site.config.bucket.clone(),
            access: site.access.clone(),
            proxy_rules: site.config.proxy_rules.clone(),
            crane: site.config.crane.clone(),
            catalog: site.metadata.catalog(),
            health: site.metadata.health().cloned(),
            faulty: site.metadata.faulty(),
            redirected: Arc::clone(&site.redirected),
        };
        Snapshot { sites: self.sites.values().map(site).collect(), hosts: self.hosts() }
    }

    /// Which site has which host.
    fn hosts(&mut self) -> HashMap<HostName, usize> {
        let mut hosts = HashMap::new();
        let mut claimed = BTreeSet::new();
        for (at, site) in self.sites.values().enumerate() {
            for host in &site.config.hosts {
                let first = *hosts.entry(host.clone()).or_insert(at);
                if first != at {
                    if !self.claimed.contains(host) {
                        let vendor = &site.config.vendor;
                        tracing::error!(%host, %vendor, "another vendor has this host already, and is served at it");
                    }
                    claimed.insert(host.clone());
                }
            }
        }
        self.claimed = claimed;
        hosts
    }
}
