//! Copying an object inside the service.

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, MetadataDirective};
use raas_types::ObjectKey;

use super::Shared;
use super::errors::Action;
use super::leftovers::Leftover;
use raas_publish::storage::{StorageError, escaped};

const GIB: u64 = 1 << 30;

/// The most bytes that one request copies.
const AT_ONCE: u64 = 5 * GIB;

impl Shared {
    /// Copies an object of this length from a key of the bucket.
    pub(super) async fn copy(&self, from: &str, to: &ObjectKey, size: u64) -> Result<(), StorageError> {
        if size > AT_ONCE {
            return self.copy_in_parts(from, to, size, GIB).await;
        }
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
            .send()
            .await;
        match copied {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(format!("cannot copy {from} to {to}"), Action::PUT, &error).await),
        }
    }

    /// `<bucket>/<key>`, escaped for a header.
    fn source(&self, key: &str) -> String {
        format!("{}/{}", self.location.bucket, escaped(key.as_bytes()))
    }

    /// Copies an object in parts of `step` bytes.
    pub(super) async fn copy_in_parts(
        &self,
        from: &str,
        to: &ObjectKey,
        size: u64,
        step: u64,
    ) -> Result<(), StorageError> {
        let key = self.location.key(to);
        let what = || format!("cannot copy {from} to {to}");
        let created = self
            .client()
            .create_multipart_upload()
            .bucket(&self.location.bucket)
            .key(&key)
            .set_acl(self.location.acl(to))
            .content_type(to.content_type())
            .cache_control(to.cache_control())
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await;
        let id = match created {
            Ok(created) => created.upload_id.unwrap_or_default(),
            Err(error) => return Err(self.explain(what(), Action::PUT, &error).await),
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
    ) -> Result<(), StorageError> {
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
                .send()
                .await;
            let result = match copied {
                Ok(copied) => copied.copy_part_result,
                Err(error) => return Err(self.explain(what(), Action::PUT, &error).await),
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
            .send()
            .await;
        match completed {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(what(), Action::PUT, &error).await),
        }
    }
}
