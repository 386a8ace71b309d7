//! Manifests and blobs by their digests.

use std::collections::BTreeMap;

use raas_types::Digest;

use crate::{Content, ImageError};

/// Manifests and blobs by their digests: those of an archive, a registry or a bucket.
///
/// A store promises nothing about the bytes: [`ManifestSet`](crate::ManifestSet) holds manifests whose digests were
/// compared, and [`copy`](crate::copy) compares those of blobs.
pub trait Store {
    /// A manifest; `None` if the store does not have it.
    ///
    /// # Errors
    /// The store cannot be read.
    fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError>;

    /// A config, a layer or another file of an artifact; `None` if the store does not have it.
    ///
    /// # Errors
    /// The store cannot be read.
    fn blob(&self, digest: &Digest) -> Result<Option<Content>, ImageError>;

    /// What messages call the file of this digest, whether the store has it or not.
    fn name(&self, digest: &Digest) -> String;
}

/// A manifest as a [`Store`] has it.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// The bytes, whose digest nobody has compared yet.
    pub bytes: Vec<u8>,
    /// The media type that the store knows the manifest under, if it knows one.
    pub media_type: Option<String>,
}

/// A source, the manifests that raas made of it, and what the vendor's bucket has of earlier publications. An
/// incremental export lacks what an earlier export had.
pub(crate) struct Layered<'a> {
    pub(crate) made: BTreeMap<Digest, StoredManifest>,
    pub(crate) source: &'a dyn Store,
    pub(crate) earlier: Option<&'a dyn Store>,
}

impl Store for Layered<'_> {
    fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError> {
        if let Some(made) = self.made.get(digest) {
            return Ok(Some(made.clone()));
        }
        match (self.source.manifest(digest)?, self.earlier) {
            (None, Some(earlier)) => earlier.manifest(digest),
            (found, _) => Ok(found),
        }
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Content>, ImageError> {
        match (self.source.blob(digest)?, self.earlier) {
            (None, Some(earlier)) => earlier.blob(digest),
            (found, _) => Ok(found),
        }
    }

    fn name(&self, digest: &Digest) -> String {
        self.source.name(digest)
    }
}
