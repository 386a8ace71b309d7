//! Copying an object inside the service; through this machine if the service cannot.

use std::io;
use std::sync::Arc;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective};
use raas_types::ObjectKey;

use super::errors::{Action, FailedRequest};
use super::leftovers::Leftover;
use super::reader::S3Reader;
use super::upload::S3Upload;
use super::{Engine, Shared};
use raas_publish::storage::{PutOptions, StorageError, Upload as _, escaped};

const GIB: u64 = 1 << 30;

/// How much one request copies.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopySizes {
    /// The most bytes of an object that is copied by one request.
    pub(super) whole: u64,
    /// The bytes of each part of a larger object.
    pub(super) part: u64,
}

/// The sizes for S3, which copies up to 5 GiB by one request.
const SIZES: CopySizes = CopySizes { whole: 5 * GIB, part: GIB };

/// Why an object is not copied.
enum CopyError {
    /// The service does not have the operation.
    Lacking,
    Failed(StorageError),
}

impl Engine {
    /// Copies an object of this length from a key of the bucket.
    pub(super) fn copy(self: &Arc<Self>, from: &str, to: &ObjectKey, size: u64) -> Result<(), StorageError> {
        self.copy_by(from, to, size, SIZES)
    }

    /// Copies an object with requests of these sizes.
    pub(super) fn copy_by(
        self: &Arc<Self>,
        from: &str,
        to: &ObjectKey,
        size: u64,
        sizes: CopySizes,
    ) -> Result<(), StorageError> {
        let shared = &self.shared;
        let in_parts = size > sizes.whole;
        if in_parts {
            match self.block_on(shared.copy_in_parts(from, to, size, sizes.part)) {
                Ok(()) => return Ok(()),
                Err(CopyError::Failed(error)) => return Err(error),
                Err(CopyError::Lacking) => {}
            }
        }
        match self.block_on(shared.copy_whole(from, to)) {
            Ok(()) => Ok(()),
            // A service that does not copy parts may still copy a large object whole. Some do not.
            Err(CopyError::Failed(_)) if in_parts => self.copy_through(from, to, size),
            Err(CopyError::Lacking) => self.copy_through(from, to, size),
            Err(CopyError::Failed(error)) => Err(error),
        }
    }

    /// Copies an object by reading it and storing it again.
    fn copy_through(self: &Arc<Self>, from: &str, to: &ObjectKey, size: u64) -> Result<(), StorageError> {
        let what = || format!("cannot copy {from} to {to}");
        let none = || StorageError::new(what(), io::Error::from(io::ErrorKind::NotFound));
        let mut reader = S3Reader::open(self.clone(), from.to_owned())?.ok_or_else(none)?;
        let mut upload = S3Upload::new(self.clone(), PutOptions::of(to, size));
        io::copy(&mut reader, &mut upload).map_err(|error| StorageError::new(what(), error))?;
        Box::new(upload).commit(to)
    }
}

impl Shared {
    async fn copy_whole(&self, from: &str, to: &ObjectKey) -> Result<(), CopyError> {
        let copied = self
            .client()
            .copy_object()
            .bucket(&self.location.bucket)
            .copy_source(self.source(from))
            .key(self.location.key(to))
            .set_acl(self.location.acl(to))
            .metadata_directive(MetadataDirective::Replace)
            .content_type(to.content_type())
            .cache_control(to.cache_control())
            .customize()
            .send()
            .await;
        let Err(error) = copied else { return Ok(()) };
        if FailedRequest::of(&error).unsupported() {
            return Err(CopyError::Lacking);
        }
        let what = format!("cannot copy {from} to {to}");
        Err(CopyError::Failed(self.explain(what, Action::PUT, &error).await))
    }

    /// `<bucket>/<key>`, escaped for a header.
    fn source(&self, key: &str) -> String {
        format!("{}/{}", self.location.bucket, escaped(key.as_bytes()))
    }

    /// Copies an object in parts of `step` bytes.
    async fn copy_in_parts(&self, from: &str, to: &ObjectKey, size: u64, step: u64) -> Result<(), CopyError> {
        let key = self.location.key(to);
        let created = self.send_verified(self.checksums.integrity(), |integrity| {
            self.client()
                .create_multipart_upload()
                .bucket(&self.location.bucket)
                .key(&key)
                .set_acl(self.location.acl(to))
                .content_type(to.content_type())
                .cache_control(to.cache_control())
                .set_checksum_algorithm(integrity.algorithm())
                .send()
        });
        let id = match created.await {
            Ok((created, _)) => created.upload_id.unwrap_or_default(),
            Err(error) => {
                let what = format!("cannot copy {from} to {to}");
                return Err(CopyError::Failed(self.explain(what, Action::PUT, &error).await));
            }
        };
        let leftover = Leftover { key: key.clone(), upload: Some(id.clone()) };
        self.leftovers.add(leftover.clone()).await;
        let copied = self.copy_parts(from, to, &id, (size, step)).await;
        if copied.is_err() {
            self.remove_leftover(&leftover).await;
        }
        self.leftovers.remove(&leftover);
        copied
    }

    async fn copy_parts(
        &self,
        from: &str,
        to: &ObjectKey,
        id: &str,
        (size, step): (u64, u64),
    ) -> Result<(), CopyError> {
        let key = self.location.key(to);
        let what = || format!("cannot copy {from} to {to}");
        let mut parts = Vec::new();
        for (number, start) in (1..).zip((0..size).step_by(step as usize)) {
            let end = (start + step).min(size) - 1;
            let copied = self
                .client()
                .upload_part_copy()
                .bucket(&self.location.bucket)
                .key(&key)
                .upload_id(id)
                .part_number(number)
                .copy_source(self.source(from))
                .copy_source_range(format!("bytes={start}-{end}"))
                .customize()
                .send()
                .await;
            let result = match copied {
                Ok(copied) => copied.copy_part_result,
                Err(error) => {
                    let failed = FailedRequest::of(&error);
                    // Services without this operation answer 501, 405 or 400.
                    if failed.unsupported() || failed.status == Some(400) {
                        return Err(CopyError::Lacking);
                    }
                    return Err(CopyError::Failed(self.explain(what(), Action::PUT, &error).await));
                }
            };
            let (etag, sha256) = result.map(|part| (part.e_tag, part.checksum_sha256)).unwrap_or_default();
            let part =
                CompletedPart::builder().part_number(number).set_e_tag(etag).set_checksum_sha256(sha256);
            parts.push(part.build());
        }
        let completed = self
            .client()
            .complete_multipart_upload()
            .bucket(&self.location.bucket)
            .key(&key)
            .upload_id(id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .send()
            .await;
        match completed {
            Ok(_) => Ok(()),
            Err(error) => Err(CopyError::Failed(self.explain(what(), Action::PUT, &error).await)),
        }
    }
}
