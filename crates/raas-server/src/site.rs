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

use crate::auth::{Gate, TokenIssuer};
use crate::below::{Below, Links};
use crate::catalog::Catalog;
use crate::crane::CraneRules;
use crate::error::{Code, Failure};
use crate::health::Health;
use crate::host::HostName;
use crate::metrics::Redirected;
use crate::origin::Origin;
use crate::passing::Passing;

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
    pub passing: Option<Passing>,
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
            passing: None,
            crane: None,
        }
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
    pub(crate) fn shown(&self) -> String {
        match self {
            Metadata::Folder(folder) | Metadata::Crane(folder, _) => folder.display().to_string(),
            Metadata::Snapshots(origin) => origin.shown().to_owned(),
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
pub(crate) enum Place {
    /// A file of this machine, to be streamed.
    File(Below),
    /// A URL that the client is sent to.
    Elsewhere(HeaderValue),
    /// A bucket that the server asks itself.
    Passed(Origin),
    /// Nowhere here.
    Nowhere,
}

impl Bucket {
    /// Where the object with this key is. A key is made of parsed names and digests only, so no request can name
    /// anything outside the folder or the bucket.
    fn place(&self, method: &Method, key: &ObjectKey, size: Option<u64>) -> Result<Place, Failure> {
        match self {
            Bucket::Folder(folder) => Ok(Place::File(Below {
                folder: folder.clone(),
                path: key.to_string(),
                links: Links::Refused,
            })),
            Bucket::Nowhere => Ok(Place::Nowhere),
            Bucket::Proxy(origin) => Ok(Place::Passed(origin.clone())),
            Bucket::Redirect(origin) => match origin.url(method, key, size) {
                Ok(url) => {
                    let url = HeaderValue::try_from(url);
                    Ok(Place::Elsewhere(
                        url.expect("a base URL and what is percent-encoded are visible ASCII"),
                    ))
                }
                Err(error) => {
                    tracing::error!(bucket = origin.shown(), %error, "no URL can be signed");
                    let message = "this registry cannot open its storage at present; try again later";
                    Err(Failure::new(Code::Unavailable, message))
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
    pub(crate) gate: Gate,
    pub(crate) passing: Option<Passing>,
    pub(crate) crane: Option<CraneRules>,
    /// Nothing until it was first loaded.
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// How the metadata is, where it is in a bucket.
    pub(crate) health: Option<Arc<Health>>,
    /// How many documents do not load.
    pub(crate) faulty: Arc<AtomicUsize>,
    /// What its clients were sent for.
    pub(crate) redirected: Arc<Redirected>,
}

impl Site {
    /// Where an object of a repository is.
    pub(crate) fn place(
        &self,
        method: &Method,
        repository: &RepositoryName,
        key: &ObjectKey,
        size: Option<u64>,
    ) -> Result<Place, Failure> {
        match (self.passes(repository).and_then(|passing| passing.origin.as_ref()), &self.bucket) {
            (Some(origin), Bucket::Redirect(_)) => Ok(Place::Passed(origin.clone())),
            (_, bucket) => bucket.place(method, key, size),
        }
    }

    /// How this repository's bytes are passed on; nothing if they are not by an exception.
    pub(crate) fn passes(&self, repository: &RepositoryName) -> Option<&Passing> {
        self.passing.as_ref().filter(|passing| passing.has(repository))
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
