//! Writes that happen only if the object is as expected.

use std::io;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use raas_types::{Digest, ObjectKey};

use super::checksums::Integrity;
use super::errors::{Action, FailedRequest};
use super::reader::ATTEMPTS;
use super::upload::base64_of;
use super::{S3, Shared};
use raas_publish::storage::{ConditionalWrites, StorageError, Version};

impl ConditionalWrites for S3 {
    fn try_put_if(
        &self,
        key: &ObjectKey,
        content: &[u8],
        expected: Option<&Version>,
    ) -> Result<Option<Version>, StorageError> {
        self.engine.block_on(self.shared().put_if(key, content, expected))
    }

    fn read_version(
        &self,
        key: &ObjectKey,
        longest: u64,
    ) -> Result<Option<(Vec<u8>, Version)>, StorageError> {
        self.engine.block_on(self.shared().read_version(key, longest))
    }

    fn handle(&self) -> Arc<dyn ConditionalWrites> {
        Arc::new(Self { engine: self.engine.clone() })
    }
}

impl Shared {
    async fn put_if(
        &self,
        key: &ObjectKey,
        content: &[u8],
        expected: Option<&Version>,
    ) -> Result<Option<Version>, StorageError> {
        let sent = self.send_verified(self.checksums.integrity(), |integrity| {
            let request = self
                .client()
                .put_object()
                .bucket(&self.location.bucket)
                .set_acl(self.location.acl(key))
                .key(self.location.key(key))
                .content_type(key.content_type())
                .cache_control(key.cache_control())
                .content_length(content.len() as i64)
                .body(ByteStream::from(content.to_vec()));
            let request = match expected {
                Some(Version(etag)) => request.if_match(etag),
                None => request.if_none_match("*"),
            };
            let request = match integrity {
                Integrity::Checksum => request.checksum_sha256(base64_of(&Digest::of(content))),
                Integrity::SignedPayload => request,
            };
            request.customize().config_override(self.requests.timely()).send()
        });
        match sent.await {
            Ok((stored, _)) => Ok(Some(Version(stored.e_tag.unwrap_or_default()))),
            Err(error) => {
                let failed = FailedRequest::of(&error);
                // 409: another write of the object was under way. 404: there is no object with any version.
                let refused = matches!(failed.status, Some(409 | 412))
                    || failed.is("PreconditionFailed")
                    || (expected.is_some() && failed.absent());
                if refused {
                    return Ok(None);
                }
                Err(self.explain(format!("cannot store {key}"), Action::PUT, &error).await)
            }
        }
    }

    async fn read_version(
        &self,
        key: &ObjectKey,
        longest: u64,
    ) -> Result<Option<(Vec<u8>, Version)>, StorageError> {
        let mut attempt = 1;
        loop {
            let Some(mut found) = self.get(&self.location.key(key), None, None).await? else {
                return Ok(None);
            };
            match small(&mut found.body, longest).await {
                Ok(bytes) => return Ok(Some((bytes, Version(found.e_tag.unwrap_or_default())))),
                Err(error) if attempt >= ATTEMPTS => {
                    return Err(StorageError::reading(key, error));
                }
                Err(_) => attempt += 1,
            }
        }
    }
}

/// The bytes of an answer, up to `longest`.
async fn small(body: &mut ByteStream, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.map_err(io::Error::other)?);
        if bytes.len() as u64 > longest {
            bytes.truncate(usize::try_from(longest).unwrap_or(usize::MAX));
            break;
        }
    }
    Ok(bytes)
}
