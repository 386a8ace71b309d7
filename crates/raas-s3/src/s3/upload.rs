//! Uploading an object: a small object is one request; a large one is sent in parts while it is still read.

use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use raas_types::{Digest, ObjectKey, Reference};

use super::checksums::Integrity;
use super::errors::Action;
use super::multipart::{Multipart, UploadTarget};
use super::pool::Buffer;
use super::{Engine, Shared};
use raas_publish::storage::{OnStored, PutOptions, StorageError, Upload};

/// An object of a known length up to this number of parts is one request.
const SINGLE: u64 = 2;

/// The most parts that a known length is divided into. S3 takes 10,000; the rest is a margin for other services.
const MOST_PARTS: u64 = 9_000;

/// An object that is being uploaded.
pub(super) struct S3Upload {
    engine: Arc<Engine>,
    key: Option<ObjectKey>,
    on_stored: Option<OnStored>,
    /// How many bytes one request carries.
    room: usize,
    /// Whether the length is known to fit in one request.
    single: bool,
    buffer: Option<Buffer>,
    parts: Option<Multipart>,
}

impl S3Upload {
    pub(super) fn new(engine: Arc<Engine>, options: PutOptions) -> Self {
        let part = engine.shared.pool.part();
        let single = options.size.is_some_and(|size| size <= SINGLE * part as u64);
        let room = match options.size {
            Some(size) if single => (size as usize).max(1),
            size => part_size(size, part),
        };
        let PutOptions { key, on_stored, .. } = options;
        Self { engine, key, on_stored, room, single, buffer: None, parts: None }
    }

    /// Sends the buffer as a part, in the background.
    fn send_part(&mut self) -> Result<(), StorageError> {
        let Some(buffer) = self.buffer.take() else { return Ok(()) };
        if self.single {
            let message = "it has more bytes than were announced";
            return Err(StorageError::new("cannot store an object", io::Error::other(message)));
        }
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => {
                let target = match &self.key {
                    Some(key) => UploadTarget::Final(key.clone()),
                    None => UploadTarget::Temporary(temporary_name()),
                };
                none.insert(Multipart::begin(&self.engine, target, self.room, self.on_stored.clone())?)
            }
        };
        parts.send(buffer)
    }
}

/// The size in bytes of the parts of an object of this length: at least `least`, and larger if the object would have
/// too many parts.
fn part_size(size: Option<u64>, least: usize) -> usize {
    const MIB: u64 = 1 << 20;
    let needed = size.unwrap_or_default().div_ceil(MOST_PARTS).next_multiple_of(MIB);
    usize::try_from(needed).unwrap_or(usize::MAX).max(least)
}

fn temporary_name() -> String {
    // Random, so that no two runs choose the same name.
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(20).collect();
    format!("{}-{random}", std::process::id())
}

impl Write for S3Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        // A full buffer is sent when the next byte comes. So the last part is never empty.
        if self.buffer.as_ref().is_some_and(Buffer::is_full) {
            self.send_part()?;
        }
        let room = self.room;
        let engine = &self.engine;
        let buffer = self.buffer.get_or_insert_with(|| engine.block_on(engine.shared.pool.take(room)));
        Ok(buffer.fill(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        // Only full parts are sent: a service refuses small ones.
        Ok(())
    }
}

impl Upload for S3Upload {
    fn commit(mut self: Box<Self>, key: &ObjectKey) -> Result<(), StorageError> {
        if self.parts.is_some() {
            self.send_part()?;
        }
        match self.parts.take() {
            Some(parts) => parts.complete(key),
            None => {
                let buffer = self.buffer.take();
                let size = buffer.as_ref().map_or(0, |buffer| buffer.len() as u64);
                self.engine.block_on(self.engine.shared.put(key, buffer))?;
                if let Some(on_stored) = &self.on_stored {
                    on_stored(size);
                }
                Ok(())
            }
        }
    }
}

impl Shared {
    /// Stores a small object.
    async fn put(&self, key: &ObjectKey, buffer: Option<Buffer>) -> Result<(), StorageError> {
        let bytes = buffer.map(Buffer::into_bytes).unwrap_or_default();
        let settings = || match key {
            ObjectKey::Pointer | ObjectKey::PublishLease(_) => self.requests.timely(),
            _ => self.requests.patient(),
        };
        let sent = self.send_verified(self.checksums.integrity(), |integrity| {
            let request = self
                .client()
                .put_object()
                .bucket(&self.location.bucket)
                .set_acl(self.location.acl(key))
                .key(self.location.key(key))
                .content_type(key.content_type())
                .cache_control(key.cache_control())
                .content_length(bytes.len() as i64)
                .body(bytes.clone().into());
            if integrity == Integrity::SignedPayload {
                return request.customize().config_override(settings()).send();
            }
            // If the key has a digest, the service checks the bytes against that digest.
            let digest = digest_of(key).unwrap_or_else(|| Digest::of(&bytes));
            let request = request.checksum_sha256(base64_of(&digest)).customize();
            request.disable_payload_signing().config_override(settings()).send()
        });
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(format!("cannot store {key}"), Action::PUT, &error).await),
        }
    }
}

/// The digest in a key.
fn digest_of(key: &ObjectKey) -> Option<Digest> {
    match key {
        ObjectKey::Blob(_, digest) | ObjectKey::Manifest { reference: Reference::Digest(digest), .. } => {
            Some(*digest)
        }
        ObjectKey::Static(key) => key.digest(),
        _ => None,
    }
}

/// A digest as S3 writes checksums.
pub(super) fn base64_of(digest: &Digest) -> String {
    BASE64_STANDARD.encode(digest.bytes())
}

#[cfg(test)]
mod tests {
    use super::super::pool::PART;
    use super::*;

    #[test]
    fn parts_are_larger_for_objects_that_would_have_too_many() {
        const GIB: u64 = 1 << 30;
        assert_eq!(part_size(None, PART), PART);
        assert_eq!(part_size(Some(11 << 20), PART), PART);
        assert_eq!(part_size(Some(43 * GIB), PART), PART);
        assert_eq!(part_size(Some(44 * GIB), PART), 6 << 20);
        assert!((5 << 40_u64) / part_size(Some(5 << 40), PART) as u64 <= MOST_PARTS);
    }
}
