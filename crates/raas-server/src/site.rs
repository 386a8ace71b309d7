//! Sites: what is served, for whom, and where the bytes are.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderValue;
use raas_types::{ObjectKey, RepositoryName, VendorName};

use crate::auth::{AccessConfig, AccessPolicy, TokenIssuer};
use crate::catalog::Catalog;
use crate::error::{ApiError, ApiErrorCode};
use crate::files::{ConfinedFile, Links};
use crate::http::host::{self, HostName};
use crate::metrics::RedirectCounters;
use crate::origin::Origin;

mod crane_rules;
mod health;
mod proxy_rules;

pub use crane_rules::{ContentFolders, CraneRules};
pub(crate) use health::MetadataHealth;
pub use proxy_rules::{ProxyRules, RepositoryPattern};

/// A vendor's registry, as it is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteConfig {
    /// The vendor, whose name is the first label of the site's host below `localhost`.
    pub vendor: VendorName,
    /// The hosts that the site is asked for at, beside that one.
    pub hosts: Vec<HostName>,
    /// Where the metadata comes from.
    pub metadata: Metadata,
    /// Where the objects are.
    pub bucket: Bucket,
    /// The users who see what is protected, in a file as `htpasswd -B` writes it; nobody sees it without one.
    pub users: Option<PathBuf>,
    /// Who else gives out tokens for it.
    pub issuer: Option<TokenIssuer>,
    /// The authorities whose client certificates let their owners see it, in PEM.
    pub client_ca: Option<PathBuf>,
    /// The repositories whose bytes are passed on, where clients are sent to the bucket for the rest.
    pub proxy_rules: Option<ProxyRules>,
    /// The rules of a legacy Crane, where the site stands in for one.
    pub crane: Option<CraneRules>,
}

impl SiteConfig {
    /// A site without a host of its own, that lets nobody in, and without exceptions.
    pub fn new(vendor: VendorName, metadata: Metadata, bucket: Bucket) -> Self {
        Self {
            vendor,
            hosts: Vec::new(),
            metadata,
            bucket,
            users: None,
            issuer: None,
            client_ca: None,
            proxy_rules: None,
            crane: None,
        }
    }

    /// The configured sources of the site's access policy.
    pub(crate) fn access(&self) -> AccessConfig<'_> {
        let (users, client_ca) = (self.users.as_deref(), self.client_ca.as_deref());
        AccessConfig { users, issuer: self.issuer.as_ref(), client_ca }
    }
}

/// Where a site's metadata comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// A folder that holds the metadata tree, followed as it changes.
    Folder(PathBuf),
    /// A folder of a legacy Crane, with documents anywhere below it, looked at so often.
    Crane(PathBuf, Duration),
    /// Archives of parts of the tree, and the pointer that says which of them are served.
    Snapshots(Origin),
}

impl Metadata {
    /// What the log calls it.
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
    /// A folder with the objects under their keys as paths; the server streams them.
    Folder(PathBuf),
    /// Clients are sent there.
    Redirect(Origin),
    /// The server takes the bytes from there and passes them on.
    Proxy(Origin),
    /// There is none: documents say where everything is, as a legacy Crane's do.
    Nowhere,
}

/// What knows which sites there are.
pub trait SiteSource: Send + Sync + 'static {
    /// All sites, as they are set up now. It is asked again at every poll, so that vendors set up later appear; it
    /// may read files. Of two sites of one vendor the first counts, and of two of one host the first by vendor. On an error, the server goes on with the sites
    /// that it has.
    fn sites(&self) -> io::Result<Vec<SiteConfig>>;
}

/// A fixed list of sites.
impl SiteSource for Vec<SiteConfig> {
    fn sites(&self) -> io::Result<Vec<SiteConfig>> {
        Ok(self.clone())
    }
}

/// Where an object's bytes come from.
pub(crate) enum ObjectSource {
    /// A file of this machine, to be streamed.
    File(ConfinedFile),
    /// A URL that the client is sent to.
    Redirect(HeaderValue),
    /// A bucket that the server asks itself.
    Proxy(Origin),
    /// Nowhere here.
    Missing,
}

impl Bucket {
    /// Where the object with this key is. A key is made of parsed names and digests only, so no request can name
    /// anything outside the folder or the bucket.
    fn locate(&self, method: &Method, key: &ObjectKey, size: Option<u64>) -> Result<ObjectSource, ApiError> {
        match self {
            Bucket::Folder(folder) => Ok(ObjectSource::File(ConfinedFile {
                folder: folder.clone(),
                path: key.to_string(),
                links: Links::Refused,
            })),
            Bucket::Nowhere => Ok(ObjectSource::Missing),
            Bucket::Proxy(origin) => Ok(ObjectSource::Proxy(origin.clone())),
            Bucket::Redirect(origin) => match origin.url(method, key, size) {
                Ok(url) => {
                    let url = HeaderValue::try_from(url);
                    Ok(ObjectSource::Redirect(
                        url.expect("a base URL and what is percent-encoded are visible ASCII"),
                    ))
                }
                Err(error) => {
                    tracing::error!(bucket = origin.display_name(), %error, "no URL can be signed");
                    let message = "this registry cannot open its storage at present; try again later";
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
    /// Nothing until it was first loaded.
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// How the metadata is, where it is in a bucket.
    pub(crate) health: Option<Arc<MetadataHealth>>,
    /// How many documents do not load.
    pub(crate) faulty: Arc<AtomicUsize>,
    /// What its clients were sent for.
    pub(crate) redirected: Arc<RedirectCounters>,
}

impl Site {
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
            (_, bucket) => bucket.locate(method, key, size),
        }
    }

    /// How this repository's bytes are passed on; nothing if they are not by an exception.
    pub(crate) fn proxy_rules_for(&self, repository: &RepositoryName) -> Option<&ProxyRules> {
        self.proxy_rules.as_ref().filter(|rules| rules.covers(repository))
    }
}

/// All sites as they are served. It never changes; the next one replaces it.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Ordered by vendor.
    pub(crate) sites: Vec<Site>,
    /// Which of them is asked for at a host.
    pub(crate) hosts: HashMap<HostName, usize>,
}

impl Snapshot {
    /// The site for the host that a client names.
    ///
    /// A site's own hosts and `<vendor>.localhost` lead to exactly that site. Every other host leads to the only site,
    /// if there is only one. `<vendor>.localhost` of another vendor never does: a server that has one site for a while
    /// must not answer for the vendors that are missing.
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
            [only] => Some(only),
            _ => None,
        }
    }
}
