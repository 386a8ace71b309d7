//! Sites: what is served, for whom, and where the bytes are.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hyper::Method;
use hyper::header::HeaderValue;
use raas_types::{ObjectKey, VendorName};

use crate::auth::{Gate, TokenIssuer};
use crate::catalog::Catalog;
use crate::error::{Code, Failure};
use crate::health::Health;
use crate::origin::Origin;

/// A vendor's registry, as it is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteConfig {
    /// The vendor, whose name is the first label of the site's host.
    pub vendor: VendorName,
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
}

/// Where a site's metadata comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// A folder that holds the metadata tree, followed as it changes.
    Folder(PathBuf),
    /// Archives of the tree, and the pointer that says which of them is served.
    Snapshots(Origin),
}

impl Metadata {
    /// What the log calls it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Metadata::Folder(folder) => folder.display().to_string(),
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
}

/// What knows which sites there are.
pub trait SiteSource: Send + Sync + 'static {
    /// All sites, as they are set up now. It is asked again at every poll, so that vendors set up later appear; it
    /// may read files. Of two sites of one vendor the first counts. On an error, the server goes on with the sites
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
    File(PathBuf),
    /// A URL that the client is sent to.
    Elsewhere(HeaderValue),
    /// A bucket that the server asks itself.
    Passed(Origin),
}

impl Bucket {
    /// Where the object with this key is. A key is made of parsed names and digests only, so no request can name
    /// anything outside the folder or the bucket.
    pub(crate) fn place(
        &self,
        method: &Method,
        key: &ObjectKey,
        size: Option<u64>,
    ) -> Result<Place, Failure> {
        match self {
            Bucket::Folder(folder) => Ok(Place::File(folder.join(key.to_string()))),
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
    /// Nothing until it was first loaded.
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// How the metadata is, where it is in a bucket.
    pub(crate) health: Option<Arc<Health>>,
    /// How many documents do not load.
    pub(crate) faulty: Arc<AtomicUsize>,
}

/// All sites as they are served, ordered by vendor. It never changes; the next one replaces it.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) sites: Vec<Site>,
}
