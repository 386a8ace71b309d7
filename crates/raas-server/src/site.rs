//! Sites: what a vendor publishes, where the bytes are, and who may read them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderValue;
use raas_types::{ObjectKey, RepositoryName, VendorName};

use crate::auth::{AccessConfig, AccessPolicy, ClientCaConfig, TokenIssuer};
use crate::catalog::Catalog;
use crate::error::{ApiError, ApiErrorCode};
use crate::files::{ConfinedFile, Links};
use crate::http::host::{self, HostName};
use crate::metrics::RedirectCounters;
use crate::origin::Origin;

mod crane_rules;
mod health;
mod load_stats;
mod proxy_rules;

pub use crane_rules::{ContentFolders, CraneRules};
pub(crate) use health::MetadataHealth;
pub(crate) use load_stats::LoadStats;
pub use proxy_rules::ProxyRules;

/// The configuration of a vendor's registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteConfig {
    /// The vendor. The site answers at `<vendor>.localhost`.
    pub vendor: VendorName,
    /// Further hosts of the site.
    pub hosts: Vec<HostName>,
    /// Where the metadata comes from.
    pub metadata: Metadata,
    /// Where the objects are.
    pub bucket: Bucket,
    /// Whether the source of the site knows that its metadata cannot be read now. Until the metadata was read once, the
    /// site is not loaded: it answers 503, since a 404 would say that nothing is published.
    pub is_unreadable: bool,
    /// Whether the source of the site knows that its files are gone. An existing site keeps its last metadata,
    /// unless that has no repository. No new site begins while its files are gone.
    pub is_gone: bool,
    /// A file of users, as `htpasswd -B` writes it. Users may read protected repositories.
    pub users: Option<PathBuf>,
    /// Another issuer of tokens for protected repositories.
    pub issuer: Option<TokenIssuer>,
    /// A PEM file of authorities. Clients with a certificate of one of them are users.
    pub client_ca: Option<PathBuf>,
    /// Whether these clients see only the protected repositories that their entitlement certificates list.
    pub client_entitlements: bool,
    /// The repositories whose bytes the server passes on, although other clients are redirected to the bucket.
    pub proxy_rules: Option<ProxyRules>,
    /// The rules of a legacy Crane that the site replaces.
    pub crane: Option<CraneRules>,
}

impl SiteConfig {
    /// A site without optional settings.
    pub fn new(vendor: VendorName, metadata: Metadata, bucket: Bucket) -> Self {
        Self {
            vendor,
            hosts: Vec::new(),
            metadata,
            bucket,
            is_unreadable: false,
            is_gone: false,
            users: None,
            issuer: None,
            client_ca: None,
            client_entitlements: false,
            proxy_rules: None,
            crane: None,
        }
    }

    /// Whether both sites admit the same visitors, besides the customers that a publication names.
    pub(crate) fn has_users_of(&self, other: &Self) -> bool {
        self.access() == other.access()
    }

    /// The site without its users, its token issuer and its client certificates.
    pub(crate) fn without_users(self) -> Self {
        Self { users: None, issuer: None, client_ca: None, client_entitlements: false, ..self }
    }

    /// The configured sources of the site's access policy.
    pub(crate) fn access(&self) -> AccessConfig<'_> {
        let entitlements = self.client_entitlements;
        let client_ca = self.client_ca.as_deref().map(|file| ClientCaConfig { file, entitlements });
        AccessConfig { users: self.users.as_deref(), issuer: self.issuer.as_ref(), client_ca }
    }
}

/// Where a site's metadata comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// A folder with a metadata tree. The server follows its changes.
    Folder(PathBuf),
    /// A folder of a legacy Crane, with documents anywhere below it, and how often it is read.
    Crane(PathBuf, Duration),
    /// A bucket with snapshots: archives of parts of the metadata tree, and a pointer to the current ones.
    Snapshots(Origin),
}

impl Metadata {
    /// The name for the log.
    pub(crate) fn display_name(&self) -> String {
        match self {
            Metadata::Folder(folder) | Metadata::Crane(folder, _) => folder.display().to_string(),
            Metadata::Snapshots(origin) => origin.display_name().to_owned(),
        }
    }
}

/// Where a site's objects are, and so how a client gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bucket {
    /// A folder with the objects. Their keys are the paths. The server streams them.
    Folder(PathBuf),
    /// The server redirects clients to this origin.
    Redirect(Origin),
    /// The server fetches the bytes from this origin and passes them on.
    Proxy(Origin),
    /// There is no bucket: the documents name the URL of all content, as the documents of a legacy Crane do.
    Nowhere,
}

/// A source of the configured sites.
pub trait SiteSource: Send + Sync + 'static {
    /// All sites as they are configured now. The server asks at every poll, so that new vendors appear without a
    /// restart. The function may read files. Of two sites with the same vendor the first is served. A host of two sites
    /// belongs to the first by vendor.
    ///
    /// # Errors
    /// The sites cannot be read. The server keeps the sites that it has.
    fn sites(&self) -> io::Result<Vec<SiteConfig>>;

    /// The configured vendors that cannot be served as they are configured, each with the reason: they are no sites, or have the
    /// site of an earlier configuration. The source logs the reasons. The server shows them to operators. A name may be that of
    /// a section which names no vendor.
    fn refused(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// A fixed list of sites.
impl SiteSource for Vec<SiteConfig> {
    fn sites(&self) -> io::Result<Vec<SiteConfig>> {
        Ok(self.clone())
    }
}

/// Where the bytes of an object come from.
pub(crate) enum ObjectSource {
    /// From a file on this machine.
    File(ConfinedFile),
    /// From a URL that the client is redirected to.
    Redirect(HeaderValue),
    /// From an origin that the server fetches from.
    Proxy(Origin),
    /// Nowhere.
    Missing,
}

impl Bucket {
    /// Where the object with this key is. Keys consist of valid names and digests, so no request can name anything
    /// outside the folder or the bucket.
    fn locate(
        &self,
        method: &Method,
        key: &ObjectKey,
        size: Option<u64>,
        is_protected: bool,
    ) -> Result<ObjectSource, ApiError> {
        match self {
            Bucket::Folder(folder) => Ok(ObjectSource::File(ConfinedFile {
                folder: folder.clone(),
                path: key.to_string(),
                links: Links::Refused,
            })),
            Bucket::Nowhere => Ok(ObjectSource::Missing),
            Bucket::Proxy(origin) => Ok(ObjectSource::Proxy(origin.clone())),
            Bucket::Redirect(origin) => match if is_protected {
                origin.short_url(method, key, size)
            } else {
                origin.url(method, key, size)
            } {
                Ok(url) => {
                    let url = HeaderValue::try_from(url);
                    Ok(ObjectSource::Redirect(
                        url.expect("a base URL and what is percent-encoded are visible ASCII"),
                    ))
                }
                Err(error) => {
                    tracing::error!(bucket = origin.display_name(), %error, "cannot sign a URL");
                    let message = "this registry has no access to its storage at present; try again later";
                    Err(ApiError::new(ApiErrorCode::Unavailable, message))
                }
            },
        }
    }
}

/// A site as it is served.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) vendor: VendorName,
    pub(crate) bucket: Bucket,
    pub(crate) access: AccessPolicy,
    pub(crate) proxy_rules: Option<ProxyRules>,
    pub(crate) crane: Option<CraneRules>,
    /// None until the metadata was loaded for the first time.
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// The state of the metadata, if it is in a bucket.
    pub(crate) health: Option<Arc<MetadataHealth>>,
    /// What loading the metadata has come to.
    pub(crate) stats: Arc<LoadStats>,
    /// The bytes of redirects.
    pub(crate) redirected: Arc<RedirectCounters>,
}

impl Site {
    /// Whether the served metadata was the newest when it was last looked for.
    pub(crate) fn is_current(&self) -> bool {
        self.health.as_ref().map_or_else(|| self.stats.is_current(), |health| health.is_current())
    }

    /// The time since the served metadata was last confirmed to be the newest.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.health.as_ref().map_or_else(|| self.stats.age(), |health| health.age())
    }

    /// Where an object of a repository is.
    pub(crate) fn locate(
        &self,
        method: &Method,
        repository: &RepositoryName,
        key: &ObjectKey,
        size: Option<u64>,
    ) -> Result<ObjectSource, ApiError> {
        match (self.proxy_rules_for(repository).and_then(|rules| rules.origin.as_ref()), &self.bucket) {
            (Some(origin), Bucket::Redirect(_)) => Ok(ObjectSource::Proxy(origin.clone())),
            (_, bucket) => {
                let is_protected =
                    self.catalog.as_ref().is_some_and(|catalog| catalog.is_protected(repository));
                bucket.locate(method, key, size, is_protected)
            }
        }
    }

    /// The proxy rules, if they cover this repository.
    pub(crate) fn proxy_rules_for(&self, repository: &RepositoryName) -> Option<&ProxyRules> {
        self.proxy_rules.as_ref().filter(|rules| rules.covers(repository))
    }
}

/// All sites as they are served. A snapshot is immutable; the next one replaces it.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Ordered by vendor.
    pub(crate) sites: Vec<Site>,
    /// The index of the site for each host.
    pub(crate) hosts: HashMap<HostName, usize>,
    /// The configured vendors that cannot be served as they are configured, each with the reason.
    pub(crate) refused: BTreeMap<String, String>,
    /// Whether the list of sites cannot be read. The sites are those of the last list.
    pub(crate) is_list_unreadable: bool,
}

impl Snapshot {
    /// The site for the host that a client names.
    ///
    /// A site's own hosts and `<vendor>.localhost` lead to exactly that site. Every other host leads to the only site,
    /// if it is the only configured one. `<vendor>.localhost` of another vendor never does: a server that has one site for a
    /// while must not answer for the vendors that are missing.
    pub(crate) fn site_for_host(&self, host: Option<&str>) -> Option<&Site> {
        let sites = self.sites.as_slice();
        if let Some(name) = host.and_then(host::without_port) {
            let name = host::lower(name);
            if let Some(at) = self.hosts.get(&*name) {
                return sites.get(*at);
            }
            if let Some(label) = host::vendor_label(&name) {
                let at = sites.binary_search_by(|site| site.vendor.as_str().cmp(label)).ok()?;
                return sites.get(at);
            }
        }
        match sites {
            [only] if self.missing().next().is_none() => Some(only),
            _ => None,
        }
    }

    /// Whether a host without a site may be that of a refused vendor. Hosts other than `<vendor>.localhost` may be anybody's.
    pub(crate) fn may_be_refused(&self, host: Option<&str>) -> bool {
        let name = host.and_then(host::without_port).map(host::lower);
        match name.as_deref().and_then(host::vendor_label) {
            Some(label) => self.missing().any(|missing| missing == label),
            None => self.missing().next().is_some(),
        }
    }

    /// The refused vendors that have no site.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &str> {
        let is_served =
            |name: &str| self.sites.binary_search_by(|site| site.vendor.as_str().cmp(name)).is_ok();
        self.refused.keys().map(String::as_str).filter(move |name| !is_served(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_compared_and_can_be_left_out() {
        let none = SiteConfig::new("acme".parse().unwrap(), Metadata::Folder("/m".into()), Bucket::Nowhere);
        let with_users = SiteConfig { users: Some("users".into()), ..none.clone() };
        let with_authority = SiteConfig { client_ca: Some("ca".into()), ..none.clone() };
        for one in [&with_users, &with_authority] {
            assert!(one.has_users_of(one) && !one.has_users_of(&none) && !none.has_users_of(one));
            assert!(one.clone().without_users().has_users_of(&none));
        }
        let elsewhere = SiteConfig { metadata: Metadata::Folder("/n".into()), ..with_users.clone() };
        assert!(with_users.has_users_of(&elsewhere));
    }
}
