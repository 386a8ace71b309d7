//! Follows the metadata of all sites, and swaps the snapshot when something changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
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
use crate::traces::Traces;

mod archive;
mod document_store;
mod documents;
mod error_code;
mod folder;
mod slots;
mod snapshots;

use folder::{Layout, MetadataFolder};
pub(crate) use slots::UnpackingSlots;
use snapshots::Begin;

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
    /// How often a bucket of a vendor with customers is asked.
    pub(crate) every_with_customers: Duration,
    /// The runtime of the tasks.
    pub(crate) runtime: Handle,
    /// Limits how many parts are unpacked at once. A large server that starts then leaves processors and memory to the
    /// clients.
    pub(crate) slots: UnpackingSlots,
    /// The most memory that the metadata of a site may take, in bytes.
    pub(crate) site_memory: u64,
    /// Whether a pointer to an earlier publication is followed.
    pub(crate) allow_rollback: bool,
    /// The folder for what the server knows of earlier runs.
    pub(crate) state: Option<PathBuf>,
    /// Notified when a bucket has a new catalog.
    pub(crate) changed: Arc<Notify>,
    /// The secret of the server's own tokens.
    pub(crate) token_key: TokenKey,
    /// Who receives what takes long.
    pub(crate) traces: Option<Traces>,
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
    /// The configured vendors that could not be served as they are configured at the last poll, with the reasons.
    refused: BTreeMap<String, String>,
}

/// A site, and the state of its metadata and access policy.
struct WatchedSite {
    /// The configuration as the source says it.
    wanted: SiteConfig,
    /// The configuration that is served: as `wanted`, but with the earlier place while `next` is there.
    config: SiteConfig,
    metadata: FollowedMetadata,
    /// The place of `wanted`, until it was read for the first time.
    next: Option<NextPlace>,
    access: AccessPolicy,
    /// Whether the log has that the files of the site are gone.
    is_gone_logged: bool,
    /// Lives as long as the site, across changes of its configuration.
    redirected: Arc<RedirectCounters>,
}

/// The new place of a site's metadata and objects. A wrong name in a configuration must not replace a good site.
struct NextPlace {
    metadata: FollowedMetadata,
    /// Whether the log has that the place cannot be read.
    is_failure_logged: bool,
}

impl NextPlace {
    /// Why the place is not served yet, if it was tried.
    fn failure(&self) -> Option<String> {
        let health = self.metadata.health()?;
        let reason = match (health.was_tried(), health.lacks_pointer()) {
            (false, _) => return None,
            (true, true) => "it has no `_metadata/current`".to_owned(),
            (true, false) => self.metadata.stats().problem()?,
        };
        Some(format!(
            "its new place is not served: {reason}; the server serves the place of the earlier configuration"
        ))
    }
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
    fn begin(config: &SiteConfig, context: &WatchContext, begin: Begin) -> Self {
        let (vendor, metadata) = (&config.vendor, &config.metadata);
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
                let (vendor, origin) = (vendor.clone(), origin.clone());
                let following =
                    snapshots::follow(context.clone(), vendor, origin, Arc::clone(&health), begin);
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

    /// Whether the metadata was read at some time.
    fn is_read(&self) -> bool {
        match self {
            FollowedMetadata::Folder(folder) => folder.is_read(),
            FollowedMetadata::Snapshots { seen, .. } => seen.is_some(),
        }
    }

    /// Whether the metadata was read and there is a publication.
    fn is_published(&self) -> bool {
        self.is_read() && self.health().is_none_or(|health| !health.lacks_pointer())
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

impl WatchedSite {
    fn new(config: SiteConfig, metadata: FollowedMetadata) -> Self {
        Self {
            wanted: config.clone(),
            config,
            metadata,
            next: None,
            access: AccessPolicy::default(),
            is_gone_logged: false,
            redirected: Arc::default(),
        }
    }

    /// The site with another configuration. `begin` begins to follow the metadata of a configuration.
    ///
    /// A site with publications keeps its place until the new one was read and has a publication: the new one may be
    /// misspelt. The hosts change at once. The old place's protected repositories were never meant for the users of another
    /// access policy, and a new policy may be stricter: if the policy changes too, nobody may see them until the new
    /// place is served.
    fn with(self, wanted: SiteConfig, begin: impl FnOnce(&SiteConfig) -> FollowedMetadata) -> Self {
        if wanted.metadata == self.config.metadata {
            return Self { config: wanted.clone(), wanted, next: None, ..self };
        }
        let (vendor, place) = (&wanted.vendor, wanted.metadata.display_name());
        if !self.metadata.is_published() {
            tracing::info!(%vendor, metadata = place, "new place of a site");
            let metadata = begin(&wanted);
            return Self { config: wanted.clone(), wanted, metadata, next: None, ..self };
        }
        let next = match self.next {
            Some(next) if self.wanted.metadata == wanted.metadata => next,
            _ => {
                let serves = self.config.metadata.display_name();
                tracing::info!(%vendor, metadata = place, serves, "reading the new place of a site");
                NextPlace { metadata: begin(&wanted), is_failure_logged: false }
            }
        };
        let keeps_users = wanted.has_users_of(&self.config);
        if !keeps_users {
            tracing::warn!(
                %vendor,
                "the access policy changes with the place: nobody may see protected repositories until the new place is served"
            );
        }
        let admitted = if keeps_users { wanted.clone() } else { wanted.clone().without_users() };
        let config = SiteConfig {
            metadata: self.config.metadata,
            bucket: self.config.bucket,
            proxy_rules: self.config.proxy_rules,
            crane: self.config.crane,
            ..admitted
        };
        Self { config, wanted, next: Some(next), ..self }
    }

    /// Serves the new place if it was read. Returns whether it does.
    fn take_next_place(&mut self) -> bool {
        let Some(mut next) = self.next.take() else { return false };
        next.metadata.poll();
        let vendor = &self.wanted.vendor;
        if next.metadata.is_published() {
            tracing::info!(%vendor, metadata = self.wanted.metadata.display_name(), "serving the new place of a site");
            (self.config, self.metadata) = (self.wanted.clone(), next.metadata);
            return true;
        }
        if let Some(reason) = next.failure()
            && !next.is_failure_logged
        {
            let (metadata, serves) =
                (self.wanted.metadata.display_name(), self.config.metadata.display_name());
            tracing::error!(%vendor, metadata, serves, reason, "cannot serve the new place of a site");
            next.is_failure_logged = true;
        }
        self.next = Some(next);
        false
    }

    /// Whether the metadata was read and has no repository.
    fn publishes_nothing(&self) -> bool {
        let is_empty = |catalog: Arc<Catalog>| catalog.repository_count() == 0;
        self.metadata.is_read() && self.metadata.catalog().is_some_and(is_empty)
    }

    /// Logs once that the files of the site are gone.
    fn log_if_gone(&mut self) {
        let vendor = &self.config.vendor;
        if self.config.is_gone && !self.is_gone_logged {
            tracing::error!(
                %vendor,
                metadata = self.config.metadata.display_name(),
                "the files of a vendor are gone; the server serves what it last read of them until they are back or the \
                 server is started again"
            );
        } else if !self.config.is_gone && self.is_gone_logged {
            tracing::info!(%vendor, "the files of a vendor are back");
        }
        self.is_gone_logged = self.config.is_gone;
    }
}

impl<S: SiteSource> Watcher<S> {
    pub(crate) fn new(source: Arc<S>, context: WatchContext) -> Self {
        let (sites, claimed) = (BTreeMap::new(), BTreeSet::new());
        Self { source, context, sites, last_error: None, claimed, refused: BTreeMap::new() }
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
        let (configs, error) = match self.source.sites() {
            Ok(configs) => (configs, None),
            Err(error) => {
                (self.sites.values().map(|site| site.wanted.clone()).collect(), Some(error.to_string()))
            }
        };
        let before = std::mem::replace(&mut self.last_error, error);
        match (&before, &self.last_error) {
            (_, Some(error)) if before.as_ref() != Some(error) => {
                tracing::error!(error, "cannot read the list of sites; keeping the last one");
            }
            (Some(_), None) => tracing::info!("the list of sites can be read again"),
            _ => {}
        }
        let mut changed = before.is_some() != self.last_error.is_some();
        changed |= self.update(configs);
        changed |= self.refusals() != self.refused;
        changed.then(|| self.snapshot())
    }

    /// The configured vendors that are not served as they are configured, with the reasons.
    fn refusals(&self) -> BTreeMap<String, String> {
        let mut refused = self.source.refused();
        for (vendor, site) in &self.sites {
            let failure = site.next.as_ref().and_then(NextPlace::failure);
            refused.extend(failure.map(|reason| (vendor.to_string(), reason)));
        }
        refused
    }

    fn update(&mut self, configs: Vec<SiteConfig>) -> bool {
        let mut before = std::mem::take(&mut self.sites);
        let mut changed = false;
        let mut started = 0;
        for config in configs {
            if self.sites.contains_key(&config.vendor) {
                continue;
            }
            let earlier = before.remove(&config.vendor);
            if config.is_gone && earlier.as_ref().is_none_or(WatchedSite::publishes_nothing) {
                before.extend(earlier.map(|site| (config.vendor, site)));
                continue;
            }
            let mut begin = |config: &SiteConfig, meanwhile| {
                let begin = Begin { after: STAGGER * started, meanwhile };
                let metadata = FollowedMetadata::begin(config, &self.context, begin);
                started += u32::from(metadata.health().is_some());
                metadata
            };
            let mut site = match earlier {
                // An equal configuration may have caches, such as signing keys. The old one keeps them.
                Some(site) if site.wanted == config => site,
                Some(site) => {
                    changed = true;
                    site.with(config, |config| begin(config, "the place of the earlier configuration"))
                }
                None => {
                    tracing::info!(vendor = %config.vendor, metadata = config.metadata.display_name(), "new site");
                    warn_of_missing_folders(&config);
                    changed = true;
                    let metadata = begin(&config, "nothing");
                    WatchedSite::new(config, metadata)
                }
            };
            site.log_if_gone();
            changed |= site.take_next_place();
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
            catalog: site
                .metadata
                .catalog()
                .filter(|_| !site.config.is_unreadable || site.metadata.is_read()),
            health: site.metadata.health().cloned(),
            stats: site.metadata.stats(),
            redirected: Arc::clone(&site.redirected),
        };
        let sites = self.sites.values().map(site).collect();
        self.refused = self.refusals();
        let (refused, is_list_unreadable) = (self.refused.clone(), self.last_error.is_some());
        Snapshot { sites, hosts: self.hosts(), refused, is_list_unreadable }
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
