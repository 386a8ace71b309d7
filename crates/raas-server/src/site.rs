//! Sites: what is served, for whom, and where the bytes are.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use raas_types::{ObjectKey, VendorName};

use crate::catalog::Catalog;

/// A vendor's registry, as it is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteConfig {
    /// The vendor, whose name is the first label of the site's host.
    pub vendor: VendorName,
    /// The folder that holds the metadata tree.
    pub metadata: PathBuf,
    /// Where the objects are.
    pub bucket: Bucket,
}

/// Where a site's objects are, and so how a client gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bucket {
    /// A folder with the objects under their keys as paths; the server streams them.
    Folder(PathBuf),
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
}

impl Bucket {
    /// Where the object with this key is. A key is made of parsed names and digests only, so no request can name a
    /// file outside the folder.
    pub(crate) fn place(&self, key: &ObjectKey) -> Place {
        match self {
            Bucket::Folder(folder) => Place::File(folder.join(key.to_string())),
        }
    }
}

/// A site as it is served.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) vendor: VendorName,
    pub(crate) bucket: Bucket,
    pub(crate) catalog: Arc<Catalog>,
}

/// All sites as they are served, ordered by vendor. It never changes; the next one replaces it.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) sites: Vec<Site>,
}
