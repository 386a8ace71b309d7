//! Follows the metadata of all sites, and swaps the snapshot when something changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use raas_types::VendorName;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::auth::{AccessPolicy, CustomerKeys, TokenKey};
use crate::catalog::Catalog;
use crate::http::host::HostName;
use crate::http_client::HttpClient;
use crate::metrics::RedirectCounters;
use crate::site::{LoadStats, Metadata, MetadataHealth, Site, SiteConfig, SiteSource, Snapshot};
use crate::state::ServerState;

mod archive;
mod document_store;
mod documents;
mod error_code;
mod folder;
mod slots;
mod snapshots;

use folder::{Layout, MetadataFolder};
pub(crate) use slots::UnpackingSlots;

/// Polls all sites forever, and swaps the snapshot when something has changed.
pub(crate) async fn keep_up<S: SiteSource>(
    mut watcher: Watcher<S>,
    state: Arc<ServerState>,
    every: Duration,
) {
    let (source, context) = (Arc::clone(&watcher.source), watcher.context.clone());
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = context.changed.notified() => tokio::time::sleep(DEBOUNCE).await,
        }
        let serving = Arc::clone(&state);
        let polled = spawn_blocking(move || {
            if let Some(snapshot) = watcher.poll() {
                serving.serve(snapshot);
            }
            watcher
        });
        watcher = match polled.await {
            Ok(watcher) => watcher,
            // A bug; the panic's message is in the log. The current snapshot stays, and a new watcher starts from
            // nothing.
            Err(error) => {
                tracing::error!(%error, "the watcher failed; starting it again");
                Watcher::new(Arc::clone(&source), context.clone())
            }
        };
    }
}

/// What the tasks that follow buckets need.
#[derive(Debug, Clone)]
pub(crate) struct WatchContext {
    pub(crate) client: Arc<HttpClient>,
    /// How often a bucket is asked.
    pub(crate) every: Duration,
    /// The runtime of the tasks.
    pub(crate) runtime: Handle,
    /// Limits how many parts are unpacked at once. A large server that starts then leaves processors and memory to the
    /// clients.
    pub(crate) slots: UnpackingSlots,
    /// The most memory that the metadata of a site may take, in bytes.
    pub(crate) site_memory: u64,
    /// Whether a pointer to an earlier publication is followed.
    pub(crate) allow_rollback: bool,
    /// Notified when a bucket has a new catalog.
    pub(crate) changed: Arc<Notify>,
    /// The secret of the server's own tokens.
    pub(crate) token_key: TokenKey,
}

/// The delay between the first polls of buckets that appear together, so that hundreds of them are not asked at one
/// instant. Later polls are spread at random.
const STAGGER: Duration = Duration::from_millis(2);

/// How long a new catalog of a bucket waits for others, so that many new catalogs make few snapshots.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// Follows the metadata of all sites.
pub(crate) struct Watcher<S> {
    source: Arc<S>,
    context: WatchContext,
    sites: BTreeMap<VendorName, WatchedSite>,
    /// The last error of the source of sites. The same error is logged once.
    last_error: Option<String>,
    /// The hosts that several sites have. Each is logged once.
    claimed: BTreeSet<HostName>,
}

/// A site, and the state of its metadata and access policy.
struct WatchedSite {
    config: SiteConfig,
    metadata: FollowedMetadata,
    access: AccessPolicy,
    /// Lives as long as the site, across changes of its configuration.
    redirected: Arc<RedirectCounters>,
}

/// The metadata of a site.
enum FollowedMetadata {
    /// A folder that is read at every poll.
    Folder(Box<MetadataFolder>),
    /// A bucket that a task of its own follows, so that a slow bucket delays no other site.
    Snapshots {
        health: Arc<MetadataHealth>,
        task: JoinHandle<()>,
        /// The catalog at the last poll.
        seen: Option<Arc<Catalog>>,
    },
}

impl FollowedMetadata {
    fn begin(metadata: &Metadata, context: &WatchContext, after: Duration) -> Self {
        let stats = LoadStats::new(context.site_memory);
        match metadata {
            Metadata::Folder(folder) => {
                FollowedMetadata::Folder(Box::new(MetadataFolder::new(folder.clone(), Layout::Raas, stats)))
            }
            Metadata::Crane(folder, every) => {
                let layout = Layout::Crane { every: *every, looked: None };
                FollowedMetadata::Folder(Box::new(MetadataFolder::new(folder.clone(), layout, stats)))
            }
            Metadata::Snapshots(origin) => {
                let health = Arc::new(MetadataHealth::new(stats));
                let following =
                    snapshots::follow(context.clone(), origin.clone(), Arc::clone(&health), after);
                FollowedMetadata::Snapshots { health, task: context.runtime.spawn(following), seen: None }
            }
        }
    }

    /// Whether the catalog has changed.
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

    fn stats(&self) -> Arc<LoadStats> {
        Arc::clone(match self {
            FollowedMetadata::Folder(folder) => folder.stats(),
            FollowedMetadata::Snapshots { health, .. } => health.stats(),
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

/// Logs that content folders of a Crane are missing: clients are redirected then, as by a Crane without them.
fn warn_of_missing_folders(config: &SiteConfig) {
    let content = config.crane.as_ref().and_then(|rules| rules.content.as_ref());
    for folder in content.into_iter().flat_map(|content| [&content.v1, &content.v2]) {
        if !folder.is_dir() {
            let (vendor, folder) = (&config.vendor, folder.display());
            tracing::warn!(%vendor, %folder, "the content folder does not exist; clients are redirected instead");
        }
    }
}

impl<S: SiteSource> Watcher<S> {
    pub(crate) fn new(source: Arc<S>, context: WatchContext) -> Self {
        Self { source, context, sites: BTreeMap::new(), last_error: None, claimed: BTreeSet::new() }
    }

    /// Loads all sites for the first time.
    pub(crate) fn first(&mut self) -> io::Result<Snapshot> {
        let configs = self.source.sites()?;
        self.update(configs);
        Ok(self.snapshot())
    }

    /// The state of every bucket that is followed.
    pub(crate) fn states(&self) -> Vec<Arc<MetadataHealth>> {
        self.sites.values().filter_map(|site| site.metadata.health().cloned()).collect()
    }

    /// Polls all sites. Returns a snapshot if something has changed.
    pub(crate) fn poll(&mut self) -> Option<Snapshot> {
        match self.source.sites() {
            Ok(configs) => {
                self.last_error = None;
                self.update(configs).then(|| self.snapshot())
            }
            Err(error) => {
                let last_error = error.to_string();
                if self.last_error.as_ref() != Some(&last_error) {
                    tracing::error!(%error, "cannot read the list of sites; keeping the last one");
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
        let mut started = 0;
        for config in configs {
            if self.sites.contains_key(&config.vendor) {
                continue;
            }
            let mut site = match before.remove(&config.vendor) {
                // An equal configuration may have caches, such as signing keys. The old one keeps them.
                Some(site) if site.config == config => site,
                Some(site) if site.config.metadata == config.metadata => {
                    changed = true;
                    WatchedSite { config, ..site }
                }
                other => {
                    tracing::info!(vendor = %config.vendor, metadata = config.metadata.display_name(), "new site");
                    warn_of_missing_folders(&config);
                    changed = true;
                    let metadata =
                        FollowedMetadata::begin(&config.metadata, &self.context, STAGGER * started);
                    started += u32::from(metadata.health().is_some());
                    let redirected = other.map(|site| site.redirected).unwrap_or_default();
                    WatchedSite { config, metadata, access: AccessPolicy::default(), redirected }
                }
            };
            changed |= site.metadata.poll();
            changed |= site.access.follow(site.config.access(), &self.context.token_key);
            self.sites.insert(site.config.vendor.clone(), site);
        }
        for vendor in before.keys() {
            tracing::info!(%vendor, "site removed");
            changed = true;
        }
        changed
    }

    fn snapshot(&mut self) -> Snapshot {
        let site = |site: &WatchedSite| Site {
            vendor: site.config.vendor.clone(),
            bucket: site.config.bucket.clone(),
            access: site.access.with_customers(site.metadata.catalog().and_then(|catalog| {
                CustomerKeys::new(&catalog.customers, &site.config.vendor, &self.context.token_key)
            })),
            proxy_rules: site.config.proxy_rules.clone(),
            crane: site.config.crane.clone(),
            catalog: site.metadata.catalog(),
            health: site.metadata.health().cloned(),
            stats: site.metadata.stats(),
            redirected: Arc::clone(&site.redirected),
        };
        Snapshot { sites: self.sites.values().map(site).collect(), hosts: self.hosts() }
    }

    /// The index of the site for each host.
    fn hosts(&mut self) -> HashMap<HostName, usize> {
        let mut hosts = HashMap::new();
        let mut claimed = BTreeSet::new();
        for (at, site) in self.sites.values().enumerate() {
            for host in &site.config.hosts {
                let first = *hosts.entry(host.clone()).or_insert(at);
                if first != at {
                    if !self.claimed.contains(host) {
                        let vendor = &site.config.vendor;
                        tracing::error!(%host, %vendor, "another vendor already has this host and keeps it");
                    }
                    claimed.insert(host.clone());
                }
            }
        }
        self.claimed = claimed;
        hosts
    }
}
