//! The bytes of published configs and layers, wherever they are.

use std::io::Read;

use raas_base::failure::{Failure, Kind};
use raas_publish::storage::Storage;
use raas_sources::LocationReader;
use raas_types::crane::BlobEntry;
use raas_types::{Digest, ObjectKey, RepositoryName};

/// A published config or layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublishedBlob {
    pub(crate) digest: Digest,
    /// Its length in bytes.
    pub(crate) size: u64,
    pub(crate) place: BlobPlace,
}

/// Where the bytes of a blob are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BlobPlace {
    /// In the vendor's storage, with this repository.
    Stored(RepositoryName),
    /// At this URL: the blob is a masked layer.
    Elsewhere(String),
}

impl PublishedBlob {
    /// A blob of a repository, as its document describes it.
    pub(crate) fn new(repository: &RepositoryName, digest: Digest, entry: &BlobEntry) -> Self {
        let place = match &entry.location {
            Some(location) => BlobPlace::Elsewhere(location.clone()),
            None => BlobPlace::Stored(repository.clone()),
        };
        Self { digest, size: entry.size, place }
    }

    /// Whether the vendor's storage does not have the blob.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self.place, BlobPlace::Elsewhere(_))
    }

    /// Begins to read the bytes. Nobody has compared them with the digest yet.
    ///
    /// # Errors
    /// The blob is not there, or the storage or the server fails.
    pub(crate) fn open(&self, storage: &dyn Storage) -> Result<Box<dyn Read + Send>, Failure> {
        match &self.place {
            BlobPlace::Stored(repository) => {
                let key = ObjectKey::Blob(repository.clone(), self.digest);
                storage.read(&key)?.ok_or_else(|| {
                    let message = format!("{} lacks {key}, which is published", storage.display_name());
                    Failure::new(Kind::Environment, message)
                        .hint("run `raas status ISV` to see what is missing, and push the image again")
                })
            }
            BlobPlace::Elsewhere(location) => {
                let opened = LocationReader::open(location, self.size);
                opened.map(|reader| Box::new(reader) as Box<dyn Read + Send>).map_err(|error| {
                    let message = format!("cannot fetch the masked layer {} from {location}", self.digest);
                    Failure::new(Kind::Environment, message)
                        .caused_by(error)
                        .hint("check the location with `curl -I`, and the network of this machine")
                })
            }
        }
    }

    /// The failure for bytes that break off, or that are not those of the blob.
    pub(crate) fn failure(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        let (from, hint) = match &self.place {
            BlobPlace::Stored(repository) => (
                format!("of {repository}"),
                "run `raas status ISV --deep` to find damaged objects, and push the image again",
            ),
            BlobPlace::Elsewhere(location) => (
                format!("at {location}"),
                "run the command again; if the location has other bytes, ask its operator",
            ),
        };
        Failure::new(Kind::Environment, format!("cannot use the blob {} {from}", self.digest))
            .caused_by(cause)
            .hint(hint)
    }
}
