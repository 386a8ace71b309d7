//! Reading an object. If the connection breaks, reading goes on from there.

use std::io::{self, Read};
use std::sync::Arc;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf as _, Bytes};

use super::errors::{Action, FailedRequest};
use super::{Engine, Shared};
use raas_publish::storage::StorageError;

/// How many attempts without a new byte a broken body has.
pub(super) const ATTEMPTS: u32 = 4;

/// An object that is being read.
pub(super) struct S3Reader {
    engine: Arc<Engine>,
    key: String,
    etag: Option<String>,
    body: ByteStream,
    chunk: Bytes,
    /// How many bytes have come.
    position: u64,
    /// How many bytes the object has.
    size: u64,
    failures: u32,
}

impl S3Reader {
    /// Begins to read; `None` if there is no such object.
    pub(super) fn open(engine: Arc<Engine>, key: String) -> Result<Option<Self>, StorageError> {
        let Some(found) = engine.block_on(engine.shared.get(&key, None, None))? else { return Ok(None) };
        let size = found.content_length.and_then(|length| length.try_into().ok()).unwrap_or_default();
        let (etag, body) = (found.e_tag, found.body);
        Ok(Some(Self { engine, key, etag, body, chunk: Bytes::new(), position: 0, size, failures: 0 }))
    }

    /// The next bytes; nothing at the end.
    fn next(&mut self) -> io::Result<Bytes> {
        while self.position < self.size {
            let broken = match self.engine.block_on(self.body.next()) {
                Some(Ok(chunk)) => {
                    self.failures = 0;
                    self.position += chunk.len() as u64;
                    return Ok(chunk);
                }
                Some(Err(error)) => io::Error::other(error),
                None => io::ErrorKind::UnexpectedEof.into(),
            };
            self.failures += 1;
            if self.failures >= ATTEMPTS {
                return Err(StorageError::reading(&self.key, broken).into());
            }
            // With the entity tag: if the object was replaced meanwhile, the rest would be of other bytes.
            let again = self.engine.shared.get(&self.key, Some(self.position), self.etag.as_deref());
            let found = self.engine.block_on(again)?.ok_or(io::ErrorKind::NotFound)?;
            self.body = found.body;
        }
        Ok(Bytes::new())
    }
}

impl Read for S3Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.chunk = self.next()?;
        }
        let count = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Shared {
    pub(super) async fn get(
        &self,
        key: &str,
        from: Option<u64>,
        etag: Option<&str>,
    ) -> Result<Option<GetObjectOutput>, StorageError> {
        let request = self
            .client()
            .get_object()
            .bucket(&self.location.bucket)
            .key(key)
            .set_range(from.map(|from| format!("bytes={from}-")))
            .set_if_match(etag.map(str::to_owned));
        let request = request.customize();
        // A read that goes on after a break has waited already, so it waits less.
        let request = if from.is_some() { request.config_override(self.requests.timely()) } else { request };
        match request.send().await {
            Ok(found) => Ok(Some(found)),
            Err(error) if self.is_absent(key, &FailedRequest::of(&error)).await => Ok(None),
            Err(error) => Err(self.explain(format!("cannot read {key}"), Action::GET, &error).await),
        }
    }
}
