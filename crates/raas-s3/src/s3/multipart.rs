//! Uploading a large object: parts are sent while the next ones are read, and parts that a killed run has sent are
//! used.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use md5::{Digest as _, Md5};
use raas_types::{Digest, ObjectKey};
use tokio::task::JoinSet;

use super::checksums::Integrity;
use super::errors::{Action, FailedRequest};
use super::leftovers::Leftover;
use super::pool::Buffer;
use super::upload::base64_of;
use super::upload_notes::OpenUpload;
use super::{Engine, Shared, etag_md5};
use raas_publish::storage::{OnStored, StorageError};

/// The most parts of an upload.
const MOST_PARTS: i32 = 10_000;

/// The object that the parts become.
pub(super) enum UploadTarget {
    /// The object under its key.
    Final(ObjectKey),
    /// An object of this name in `_uploads/`. When its key is known, it is copied there.
    Temporary(String),
}

/// A multipart upload.
pub(super) struct Multipart {
    engine: Arc<Engine>,
    target: UploadTarget,
    session: Arc<UploadSession>,
    part_size: usize,
    /// The parts that a killed run has sent, by number.
    already_sent: BTreeMap<i32, SentPart>,
    next: i32,
    /// The length so far, in bytes.
    size: u64,
    sending: JoinSet<Result<CompletedPart, StorageError>>,
    sent: Vec<CompletedPart>,
    on_stored: Option<OnStored>,
    /// Whether the service has failed, and not the source of the bytes.
    failed: bool,
    done: bool,
}

/// An upload as the service knows it.
struct UploadSession {
    key: String,
    id: String,
    /// Whether its parts have checksums. A service wants them for all parts of an upload, or for none.
    checksums: AtomicBool,
    shared: Arc<Shared>,
}

/// A part that a killed run has sent.
#[derive(Debug, Clone)]
struct SentPart {
    size: u64,
    etag: String,
    /// Its checksum, if the service says it.
    sha256: Option<String>,
}

impl Multipart {
    /// Begins an upload, or resumes an upload of the same key that a killed run has left.
    pub(super) fn begin(
        engine: &Arc<Engine>,
        target: UploadTarget,
        part_size: usize,
        on_stored: Option<OnStored>,
    ) -> Result<Self, StorageError> {
        let shared = &engine.shared;
        engine.watch_for_interrupts();
        let (session, already_sent) = engine.block_on(async {
            let key = match &target {
                UploadTarget::Final(key) => shared.location.key(key),
                UploadTarget::Temporary(name) => format!("{}{name}", shared.location.uploads()),
            };
            if let UploadTarget::Final(_) = target
                && let Some((id, parts)) = shared.resumable(&key, part_size).await
            {
                return Ok((UploadSession::new(key, id, shared.checksums.integrity(), shared), parts));
            }
            let (id, integrity) = shared.create_upload(&target, &key).await?;
            if let UploadTarget::Final(_) = target {
                shared.upload_notes.begun(&key, &id, integrity == Integrity::Checksum);
            }
            Ok::<_, StorageError>((UploadSession::new(key, id, integrity, shared), BTreeMap::new()))
        })?;
        engine.block_on(shared.leftovers.add(session.leftover()));
        Ok(Self {
            engine: engine.clone(),
            target,
            session: Arc::new(session),
            part_size,
            already_sent,
            next: 1,
            size: 0,
            sending: JoinSet::new(),
            sent: Vec::new(),
            on_stored,
            failed: false,
            done: false,
        })
    }

    /// Sends the next part in the background.
    pub(super) fn send(&mut self, buffer: Buffer) -> Result<(), StorageError> {
        while let Some(ended) = self.sending.try_join_next() {
            self.take(ended)?;
        }
        let number = self.next;
        if number > MOST_PARTS {
            let message = format!("it has more than {MOST_PARTS} parts of {} bytes", self.part_size);
            return Err(StorageError::new(
                format!("cannot store {}", self.session.key),
                io::Error::other(message),
            ));
        }
        self.next += 1;
        self.size += buffer.len() as u64;
        let earlier = self.already_sent.remove(&number);
        let (session, on_stored) = (self.session.clone(), self.on_stored.clone());
        let part = async move {
            let size = buffer.len() as u64;
            let part = session.part(number, buffer, earlier).await?;
            if let Some(on_stored) = on_stored {
                on_stored(size);
            }
            Ok(part)
        };
        self.sending.spawn_on(part, self.engine.handle());
        Ok(())
    }

    /// Completes the object under its key.
    pub(super) fn complete(mut self, key: &ObjectKey) -> Result<(), StorageError> {
        let engine = self.engine.clone();
        while let Some(ended) = engine.block_on(self.sending.join_next()) {
            self.take(ended)?;
        }
        let mut parts = std::mem::take(&mut self.sent);
        parts.sort_by_key(|part| part.part_number);
        let completed = engine.block_on(self.session.complete(key, parts, self.size));
        self.failed = completed.is_err();
        completed?;
        self.done = true;
        engine.shared.leftovers.remove(&self.session.leftover());
        engine.shared.upload_notes.ended(&self.session.id);
        match &self.target {
            UploadTarget::Final(_) => Ok(()),
            UploadTarget::Temporary(_) => self.put_in_place(key),
        }
    }

    /// Moves the object from its temporary name to its key.
    fn put_in_place(&self, key: &ObjectKey) -> Result<(), StorageError> {
        let shared = &self.engine.shared;
        let object = Leftover { key: self.session.key.clone(), upload: None };
        self.engine.block_on(shared.leftovers.add(object.clone()));
        let copied = self.engine.copy(&self.session.key, key, self.size);
        let removed = self.engine.block_on(shared.remove(&self.session.key));
        shared.leftovers.remove(&object);
        copied.and(removed)
    }

    fn take(
        &mut self,
        ended: Result<Result<CompletedPart, StorageError>, tokio::task::JoinError>,
    ) -> Result<(), StorageError> {
        let part = match ended {
            Ok(part) => part,
            Err(error) => Err(StorageError::new(format!("cannot store {}", self.session.key), error)),
        };
        self.failed |= part.is_err();
        self.sent.push(part?);
        Ok(())
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let shared = &self.engine.shared;
        let leftover = self.session.leftover();
        // If the service has failed, the parts stay for the next attempt to upload this object. Otherwise they are
        // useless.
        let keep = self.failed && matches!(self.target, UploadTarget::Final(_));
        self.engine.block_on(async {
            self.sending.shutdown().await;
            if !keep {
                shared.remove_leftover(&leftover).await;
            }
        });
        if keep {
            shared.upload_notes.free(&self.session.id);
        } else {
            shared.upload_notes.ended(&self.session.id);
        }
        shared.leftovers.remove(&leftover);
    }
}

impl UploadSession {
    fn new(key: String, id: String, integrity: Integrity, shared: &Arc<Shared>) -> Self {
        let checksums = AtomicBool::new(integrity == Integrity::Checksum);
        Self { key, id, checksums, shared: shared.clone() }
    }

    fn integrity(&self) -> Integrity {
        if self.checksums.load(Ordering::Relaxed) { Integrity::Checksum } else { Integrity::SignedPayload }
    }

    fn leftover(&self) -> Leftover {
        Leftover { key: self.key.clone(), upload: Some(self.id.clone()) }
    }

    /// Sends a part, unless a killed run has sent it.
    async fn part(
        &self,
        number: i32,
        buffer: Buffer,
        earlier: Option<SentPart>,
    ) -> Result<CompletedPart, StorageError> {
        let bytes = buffer.into_bytes();
        let part = CompletedPart::builder().part_number(number);
        let integrity = self.integrity();
        let is_needed = integrity == Integrity::Checksum || earlier.is_some();
        let checksum = is_needed.then(|| base64_of(&Digest::of(&bytes)));
        let of_part = |integrity| checksum.clone().filter(|_| integrity == Integrity::Checksum);
        if let Some(earlier) = earlier.filter(|earlier| earlier.is(&bytes, checksum.as_deref())) {
            return Ok(part.e_tag(earlier.etag).set_checksum_sha256(of_part(integrity)).build());
        }
        let shared = &self.shared;
        let sent = shared.send_verified(integrity, |integrity| {
            let request = shared
                .client()
                .upload_part()
                .bucket(&shared.location.bucket)
                .key(&self.key)
                .upload_id(&self.id)
                .part_number(number)
                .content_length(bytes.len() as i64)
                .set_checksum_sha256(of_part(integrity))
                .body(bytes.clone().into())
                .customize();
            match integrity {
                Integrity::Checksum => request.disable_payload_signing().send(),
                Integrity::SignedPayload => request.send(),
            }
        });
        match sent.await {
            Ok((sent, integrity)) => {
                self.checksums.fetch_and(integrity == Integrity::Checksum, Ordering::Relaxed);
                Ok(part.set_e_tag(sent.e_tag).set_checksum_sha256(of_part(integrity)).build())
            }
            Err(error) => {
                let what = format!("cannot store part {number} of {}", self.key);
                Err(shared.explain(what, Action::PUT, &error).await)
            }
        }
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        parts: Vec<CompletedPart>,
        size: u64,
    ) -> Result<(), StorageError> {
        let shared = &self.shared;
        let completed = shared
            .client()
            .complete_multipart_upload()
            .bucket(&shared.location.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .send()
            .await;
        let Err(error) = completed else { return Ok(()) };
        let failed = FailedRequest::of(&error);
        // The first answer was lost, or this one cannot be read: the upload may be complete already.
        if (failed.is("NoSuchUpload") || failed.succeeded_unreadably())
            && shared.head(&self.key, key).await?.is_some_and(|found| found.size == size)
        {
            return Ok(());
        }
        Err(shared.explain(format!("cannot store {key}"), Action::PUT, &error).await)
    }
}

impl SentPart {
    /// Whether the part has these bytes.
    fn is(&self, bytes: &[u8], checksum: Option<&str>) -> bool {
        self.size == bytes.len() as u64
            && match &self.sha256 {
                Some(sha256) => Some(sha256.as_str()) == checksum,
                None => etag_md5(&self.etag).is_some_and(|md5| md5 == <[u8; 16]>::from(Md5::digest(bytes))),
            }
    }
}

impl Shared {
    /// Begins an upload. Returns its id, and how its parts are verified.
    async fn create_upload(
        &self,
        target: &UploadTarget,
        key: &str,
    ) -> Result<(String, Integrity), StorageError> {
        let created = self.send_verified(self.checksums.integrity(), |integrity| {
            let request = self
                .client()
                .create_multipart_upload()
                .bucket(&self.location.bucket)
                .key(key)
                .set_checksum_algorithm(integrity.algorithm());
            let request = match target {
                UploadTarget::Final(key) => request
                    .content_type(key.content_type())
                    .cache_control(key.cache_control())
                    .set_acl(self.location.acl(key)),
                UploadTarget::Temporary(_) => request,
            };
            request.send()
        });
        let what = || format!("cannot begin to store {key}");
        match created.await {
            Ok((created, integrity)) => {
                let none =
                    || StorageError::new(what(), io::Error::other("the answer has no id of an upload"));
                Ok((created.upload_id.ok_or_else(none)?, integrity))
            }
            Err(error) => Err(self.explain(what(), Action::PUT, &error).await),
        }
    }

    /// An upload of this key that a killed run has left, with its parts, if they have this size. Uploads that do not
    /// fit are removed. Resuming only saves time: if the parts cannot be listed, the object is uploaded anew.
    async fn resumable(&self, key: &str, part_size: usize) -> Option<(String, BTreeMap<i32, SentPart>)> {
        let mut found: Option<(String, BTreeMap<i32, SentPart>)> = None;
        let checksums = self.checksums.integrity() == Integrity::Checksum;
        for OpenUpload { id, checksums: has_checksums } in self.upload_notes.take(key) {
            // Without a list, the parts are of no use.
            let parts = if has_checksums == checksums { self.parts(key, &id).await.ok() } else { None };
            let is_usable = parts.is_some();
            let parts = parts.unwrap_or_default();
            let last = parts.keys().next_back().copied();
            let fits = |(number, part): (&i32, &SentPart)| {
                part.size == part_size as u64 || (Some(*number) == last && part.size < part_size as u64)
            };
            let best = found.as_ref().is_none_or(|(_, best)| best.len() < parts.len());
            let unfit = if is_usable && best && parts.iter().all(fits) {
                found.replace((id, parts)).map(|(id, _)| id)
            } else {
                Some(id)
            };
            if let Some(id) = unfit {
                self.remove_leftover(&Leftover { key: key.to_owned(), upload: Some(id.clone()) }).await;
                self.upload_notes.ended(&id);
            }
        }
        found
    }

    async fn parts(&self, key: &str, id: &str) -> Result<BTreeMap<i32, SentPart>, StorageError> {
        let request = self.client().list_parts().bucket(&self.location.bucket).key(key).upload_id(id);
        let mut pages = request.into_paginator().send();
        let mut parts = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    return Err(self
                        .explain(format!("cannot list the parts of {key}"), Action::LIST_PARTS, &error)
                        .await);
                }
            };
            for part in page.parts.unwrap_or_default() {
                let (Some(number), Some(size), Some(etag)) = (part.part_number, part.size, part.e_tag) else {
                    continue;
                };
                let size = size.try_into().unwrap_or_default();
                parts.insert(number, SentPart { size, etag, sha256: part.checksum_sha256 });
            }
        }
        Ok(parts)
    }
}
