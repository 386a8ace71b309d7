//! Manifests of earlier publications, for an incremental export that does not have them.

use raas_image::{Content, ImageError, Store, StoredManifest};
use raas_types::crane::tree;
use raas_types::{Digest, RepositoryName};

use raas_base::failure::Failure;
use raas_git::CommitId;
use raas_publish::history;
use raas_publish::home::Vendor;
use raas_publish::record::Record;

/// The manifests of a repository in all publications of the record. It offers no blobs: the plan looks for them in the
/// bucket.
pub(super) struct EarlierManifests<'a> {
    record: Record,
    head: CommitId,
    name: &'a RepositoryName,
}

impl<'a> EarlierManifests<'a> {
    /// The manifests of a vendor's repository. `None` before the first publication.
    pub(super) fn open(vendor: &Vendor, name: &'a RepositoryName) -> Result<Option<Self>, Failure> {
        if !vendor.exists() {
            return Ok(None);
        }
        let record = vendor.record();
        Ok(record.head()?.map(|head| Self { record, head, name }))
    }

    fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Failure> {
        let path = tree::manifest(self.name, digest);
        if let Some(bytes) = self.record.read(&self.head, &path)? {
            return Ok(Some(bytes));
        }
        // The manifest may be removed by now. The last two commits that changed its path are then its removal and its
        // addition.
        for entry in history::entries(&self.record, &self.head, std::slice::from_ref(&path), Some(2))? {
            if let Some(bytes) = self.record.read(&entry.commit, &path)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

impl Store for EarlierManifests<'_> {
    fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError> {
        let found = self.read(digest).map_err(|failure| ImageError::Read {
            what: "the record".to_owned(),
            source: std::io::Error::other(failure.to_string()),
        })?;
        Ok(found.map(|bytes| StoredManifest { bytes, media_type: None }))
    }

    fn blob(&self, _: &Digest) -> Result<Option<Content>, ImageError> {
        Ok(None)
    }

    fn name(&self, digest: &Digest) -> String {
        tree::manifest(self.name, digest)
    }
}
