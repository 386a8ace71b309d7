//! What the vendor has of earlier publications: manifests in the record, and blobs in the bucket. They complete an
//! incremental export, and a push stores none of them again.

use raas_image::{Content, ImageError, Store, StoredManifest};
use raas_types::crane::tree;
use raas_types::{Digest, ObjectKey, RepositoryName};

use super::lookup::StoredBlob;
use raas_base::failure::Failure;
use raas_git::CommitId;
use raas_publish::history;
use raas_publish::home::Vendor;
use raas_publish::record::Record;
use raas_publish::repository_listing::RepositoryListing;

/// The manifests of a repository in all publications of the record. A manifest has to be read to know the image; a blob
/// only has to be there: see [`EarlierBlobs`].
pub(super) struct EarlierManifests<'a> {
    record: Record,
    head: CommitId,
    name: &'a RepositoryName,
}

impl<'a> EarlierManifests<'a> {
    /// The manifests of a vendor's repository. `None` before the first publication.
    pub(super) fn open(vendor: &Vendor, name: &'a RepositoryName) -> Result<Option<Self>, Failure> {
        if !vendor.exists()? {
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

/// Where the bucket has a blob.
pub(super) enum EarlierBlob {
    /// In the pushed repository.
    Here,
    /// In another repository, from which a push may copy it.
    In(StoredBlob),
}

/// The blobs that the bucket has, whether the last publication names them or an earlier one did.
pub(super) struct EarlierBlobs<'a> {
    /// The pushed repository.
    pub(super) name: &'a RepositoryName,
    pub(super) listing: &'a RepositoryListing<'a>,
}

impl EarlierBlobs<'_> {
    /// Looks for a blob of this length, in this repository or in the repository of `published`. `None` if the bucket does not
    /// have the blob.
    pub(super) fn find(
        &self,
        digest: &Digest,
        size: u64,
        published: Option<&StoredBlob>,
    ) -> Result<Option<EarlierBlob>, Failure> {
        if self.listing.has(&ObjectKey::Blob(self.name.clone(), *digest), size)? {
            return Ok(Some(EarlierBlob::Here));
        }
        let Some(blob) = published else { return Ok(None) };
        let key = ObjectKey::Blob(blob.repository.clone(), *digest);
        let can_copy = self.listing.has_to_copy(&key, size, digest)?;
        Ok(can_copy.then(|| EarlierBlob::In(blob.clone())))
    }
}
