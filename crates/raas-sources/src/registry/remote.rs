//! A repository in a registry.

use raas_http::http::Method;
use raas_types::{Digest, Manifest, RepositoryName, Tag};

use super::address::RegistryAddress;
use super::connection::{Connection, RemoteOptions, Request};
use crate::registry_error::RegistryError;

/// A repository in a registry.
#[derive(Debug)]
pub struct Remote {
    pub(super) connection: Connection,
    name: RepositoryName,
}

/// The media types of manifests, and everything else: raas reads the type from the manifest itself.
pub(super) const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

impl Remote {
    /// A repository. This sends no request.
    ///
    /// # Errors
    /// A variable of the environment names an invalid proxy.
    pub fn open(address: &RegistryAddress, options: RemoteOptions) -> Result<Self, RegistryError> {
        let name = address.name.clone();
        let connection = Connection::new(&address.host, address.is_local(), &name, options)?;
        Ok(Self { connection, name })
    }

    /// The host and port of the registry.
    pub fn host(&self) -> &str {
        self.connection.host()
    }

    /// The repository in the registry.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// The number of requests so far, with those of token servers and redirects left out.
    pub fn requests(&self) -> u64 {
        self.connection.requests()
    }

    /// The name of the content with this digest in messages.
    pub(super) fn called(&self, digest: &Digest) -> String {
        format!("{}/{}@{digest}", self.host(), self.name)
    }

    /// The length of a blob; `None` if the registry does not have it, or does not say its length.
    pub(super) fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let what = self.called(digest);
        let path = format!("/v2/{}/blobs/{digest}", self.name);
        let request = Request { method: &Method::HEAD, ..Request::get(&path, "*/*", &what) };
        Ok(self.connection.read(&request, 0)?.and_then(|document| document.length))
    }

    /// The digest that a tag has now; `None` if the registry does not have the tag. The registry is asked with HEAD, or
    /// with GET if its answer has no digest. A registry that understands conditions is not made to read or send what is
    /// `known`, the digest that the tag had.
    ///
    /// # Errors
    /// There is no good answer after all attempts.
    pub fn digest_of(&self, tag: &Tag, known: Option<&Digest>) -> Result<Option<Digest>, RegistryError> {
        let what = format!("{}/{}:{tag}", self.host(), self.name);
        let path = format!("/v2/{}/manifests/{tag}", self.name);
        let request = Request { method: &Method::HEAD, known, ..Request::get(&path, MANIFESTS, &what) };
        let Some(head) = self.connection.read(&request, 0)? else { return Ok(None) };
        if head.is_known {
            return Ok(known.copied());
        }
        if let Some(digest) = head.digest.and_then(|digest| digest.parse().ok()) {
            return Ok(Some(digest));
        }
        let whole = self.connection.read(&Request { method: &Method::GET, ..request }, Manifest::MAX_SIZE)?;
        Ok(whole.and_then(|whole| match whole.is_known {
            true => known.copied(),
            false => Some(Digest::of(&whole.bytes)),
        }))
    }
}
