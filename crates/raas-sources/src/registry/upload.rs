//! Storing blobs and manifests in a repository of a registry.
//!
//! Source: OCI distribution-spec 1.1, "Push".

use std::io::Read as _;

use raas_base::failure::{Context as _, Failure};
use raas_http::http::Method;
use raas_image::Content;
use raas_types::{Digest, Reference};

use super::challenge::escaped;
use super::connection::{Payload, Repeat, Request};
use super::remote::Remote;
use super::url::local_path;
use crate::registry_error::RegistryError;

/// The bytes of a blob that one request sends. They are in memory, in case the registry asks for a login first.
const PART: usize = 4 * 1024 * 1024;

const OCTETS: &str = "application/octet-stream";

impl Remote {
    /// Stores a blob, unless the repository has it. `passed` gets the number of bytes of each step. Returns whether the
    /// blob was stored.
    ///
    /// # Errors
    /// The content cannot be read, or the registry does not take it.
    pub fn put_blob(
        &self,
        content: &Content,
        digest: &Digest,
        passed: &dyn Fn(u64),
    ) -> Result<bool, Failure> {
        let what = self.called(digest);
        let path = format!("/v2/{}/blobs/{digest}", self.name());
        let head = Request { method: &Method::HEAD, ..Request::get(&path, "*/*", &what) };
        if self.connection.read(&head, 0)?.is_some() {
            passed(content.size());
            return Ok(false);
        }
        let patience = *self.connection.patience();
        let mut attempt = 1;
        loop {
            match self.send_blob(content, digest, passed) {
                Ok(()) => return Ok(true),
                Err(BlobFault::Content(failure)) => return Err(failure),
                // An upload that broke off is begun anew: the registry may have taken a part of the bytes.
                Err(BlobFault::Registry(error)) => {
                    match patience.pause_after(attempt, None).filter(|_| error.may_pass()) {
                        Some(pause) => std::thread::sleep(pause),
                        None => return Err(error.into()),
                    }
                }
            }
            attempt += 1;
        }
    }

    fn send_blob(&self, content: &Content, digest: &Digest, passed: &dyn Fn(u64)) -> Result<(), BlobFault> {
        let what = self.called(digest);
        let start = format!("/v2/{}/blobs/uploads/", self.name());
        let empty = Payload { media_type: OCTETS, bytes: &[], range: None };
        let post =
            Request { method: &Method::POST, payload: Some(empty), ..Request::get(&start, "*/*", &what) };
        let mut location = self.next(&post, Repeat::Unsafe)?;
        let unreadable = || format!("cannot read {}", content.name());
        let mut reader = content.open().context(unreadable)?;
        let (mut part, mut at) = (Vec::new(), 0_u64);
        while at < content.size() {
            part.clear();
            reader.by_ref().take(PART as u64).read_to_end(&mut part).context(unreadable)?;
            let range = format!("{at}-{}", at + part.len() as u64 - 1);
            let payload = Payload { media_type: OCTETS, bytes: &part, range: Some(&range) };
            let patch = Request {
                method: &Method::PATCH,
                payload: Some(payload),
                ..Request::get(&location, "*/*", &what)
            };
            let next = self.next(&patch, Repeat::Unsafe)?;
            at += part.len() as u64;
            passed(part.len() as u64);
            location = next;
        }
        let separator = if location.contains('?') { '&' } else { '?' };
        let end = format!("{location}{separator}digest={}", escaped(&digest.to_string()));
        let put = Request { method: &Method::PUT, payload: Some(empty), ..Request::get(&end, "*/*", &what) };
        self.connection.change(&put, Repeat::Safe)?;
        Ok(())
    }

    /// Sends a request of an upload. Returns where the upload goes on.
    fn next(&self, request: &Request<'_>, repeat: Repeat) -> Result<String, RegistryError> {
        let answer = self.connection.change(request, repeat)?;
        let location = answer.location.as_deref().and_then(|target| local_path(request.path, target));
        location.ok_or_else(|| self.connection.content(request, "its answer names no `Location`".into()))
    }

    /// Stores a manifest under a tag or under its digest. Its blobs and the manifests that it lists are there.
    ///
    /// # Errors
    /// The registry does not take it.
    pub fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let separator = if matches!(reference, Reference::Tag(_)) { ':' } else { '@' };
        let what = format!("{}/{}{separator}{reference}", self.host(), self.name());
        let path = format!("/v2/{}/manifests/{reference}", self.name());
        let payload = Payload { media_type, bytes, range: None };
        let put =
            Request { method: &Method::PUT, payload: Some(payload), ..Request::get(&path, "*/*", &what) };
        self.connection.change(&put, Repeat::Safe).map(drop)
    }
}

enum BlobFault {
    Content(Failure),
    Registry(RegistryError),
}

impl From<Failure> for BlobFault {
    fn from(failure: Failure) -> Self {
        Self::Content(failure)
    }
}

impl From<RegistryError> for BlobFault {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}
