//! Large objects: parts that are sent while the next are being read, and an earlier run's that are there already.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use md5::{Digest as _, Md5};
use raas_types::{Digest, ObjectKey};
use tokio::task::JoinSet;

use super::errors::{Action, Facts};
use super::leftovers::Leftover;
use super::pool::Buffer;
use super::upload::base64_of;
use super::{Engine, Shared, client, etag_md5};
use raas_publish::storage::{OnStored, StorageError};

/// The most parts that an upload has.
const MOST_PARTS: i32 = 10_000;

/// Where the parts go.
pub(super) enum Target {
    /// To the object itself.
    Final(ObjectKey),
    /// To an object of this name among the uploads, which is copied to its key when that is known.
    Temporary(String),
}

/// A multipart upload.
pub(super) struct Multipart {
    engine: Arc<Engine>,
    target: Target,
    session: Arc<Session>,
    part_size: usize,
    /// Parts that an earlier run has sent, by number.
    there: BTreeMap<i32, Earlier>,
    next: i32,
    /// The length so far, in bytes.
    size: u64,
    sending: JoinSet<Result<CompletedPart, StorageError>>,
    sent: Vec<CompletedPart>,
    on_stored: Option<OnStored>,
    /// Whether the service, and not the source, is why it does not go on.
    failed: bool,
    done: bool,
}

/// What identifies an upload to the service.
struct Session {
    key: String,
    id: String,
    shared: Arc<Shared>,
}

/// A part that an earlier run has sent.
#[derive(Debug, Clone)]
struct Earlier {
    size: u64,
    etag: String,
    /// As the service says it, if it does.
    sha256: Option<String>,
}

impl Multipart {
    /// Begins an upload, or goes on with one of the same key that a run that was killed has left.
    pub(super) fn begin(
        engine: &Arc<Engine>,
        target: Target,
        part_size: usize,
        on_stored: Option<OnStored>,
    ) -> Result<Self, StorageError> {
        let shared = &engine.shared;
        engine.watch_for_interrupts();
        let (session, there) = engine.block_on(async {
            let key = match &target {
                Target::Final(key) => shared.place.key(key),
                Target::Temporary(name) => format!("{}{name}", shared.place.uploads()),
            };
            if let Target::Final(_) = target
                && let Some((id, there)) = shared.resumable(&key, part_size).await
            {
                return Ok((Session { key, id, shared: shared.clone() }, there));
            }
            let id = shared.create_upload(&target, &key).await?;
            if let Target::Final(_) = target {
                shared.unfinished.begun(&key, &id);
            }
            Ok::<_, StorageError>((Session { key, id, shared: shared.clone() }, BTreeMap::new()))
        })?;
        engine.block_on(shared.leftovers.add(session.leftover()));
        Ok(Self {
            engine: engine.clone(),
            target,
            session: Arc::new(session),
            part_size,
            there,
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
        let earlier = self.there.remove(&number);
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

    /// Makes the object of its parts, under its key.
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
        engine.shared.unfinished.ended(&self.session.id);
        match &self.target {
            Target::Final(_) => Ok(()),
            Target::Temporary(_) => engine.block_on(self.put_in_place(key)),
        }
    }

    /// Gives the object under its temporary name its key.
    async fn put_in_place(&self, key: &ObjectKey) -> Result<(), StorageError> {
        let shared = &self.engine.shared;
        let object = Leftover { key: self.session.key.clone(), upload: None };
        shared.leftovers.add(object.clone()).await;
        let copied = shared.copy(&self.session.key, key, self.size).await;
        let removed = shared.remove(&self.session.key).await;
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
        // Parts of an object that will come again are kept if it was the service that failed: the next run goes on
        // with them. What belongs to nothing any more is removed.
        let keep = self.failed && matches!(self.target, Target::Final(_));
        self.engine.block_on(async {
            self.sending.shutdown().await;
            if !keep {
                shared.remove_leftover(&leftover).await;
            }
        });
        if keep {
            shared.unfinished.free(&self.session.id);
        } else {
            shared.unfinished.ended(&self.session.id);
        }
        shared.leftovers.remove(&leftover);
    }
}

impl Session {
    fn leftover(&self) -> Leftover {
        Leftover { key: self.key.clone(), upload: Some(self.id.clone()) }
    }

    /// Sends a part, unless it is there.
    async fn part(
        &self,
        number: i32,
        buffer: Buffer,
        earlier: Option<Earlier>,
    ) -> Result<CompletedPart, StorageError> {
        let checksum = base64_of(&Digest::of(&buffer));
        let part = CompletedPart::builder().part_number(number).checksum_sha256(&checksum);
        if let Some(earlier) = earlier.filter(|earlier| earlier.is(&buffer, &checksum)) {
            return Ok(part.e_tag(earlier.etag).build());
        }
        let shared = &self.shared;
        let sent = shared
            .client
            .upload_part()
            .bucket(&shared.place.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .content_length(buffer.len() as i64)
            .checksum_sha256(checksum)
            .body(buffer.into_body())
            .customize()
            // The signature covers the checksum, which covers the body.
            .disable_payload_signing()
            .config_override(client::patient())
            .send()
            .await;
        match sent {
            Ok(sent) => Ok(part.set_e_tag(sent.e_tag).build()),
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
            .client
            .complete_multipart_upload()
            .bucket(&shared.place.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .config_override(client::patient())
            .send()
            .await;
        let Err(error) = completed else { return Ok(()) };
        let error_facts = Facts::of(&error);
        // An answer that was lost.
        if error_facts.is("NoSuchUpload")
            && shared.head(&self.key, key).await?.is_some_and(|found| found.size == size)
        {
            return Ok(());
        }
        Err(shared.explain(format!("cannot store {key}"), Action::PUT, &error).await)
    }
}

impl Earlier {
    /// Whether it is just these bytes.
    fn is(&self, bytes: &[u8], checksum: &str) -> bool {
        self.size == bytes.len() as u64
            && match &self.sha256 {
                Some(sha256) => sha256 == checksum,
                None => etag_md5(&self.etag).is_some_and(|md5| md5 == <[u8; 16]>::from(Md5::digest(bytes))),
            }
    }
}

impl Shared {
    async fn create_upload(&self, target: &Target, key: &str) -> Result<String, StorageError> {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.place.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256);
        let request = match target {
            Target::Final(key) => request
                .content_type(key.content_type())
                .cache_control(key.cache_control())
                .set_acl(self.place.acl(key)),
            Target::Temporary(_) => request,
        };
        let what = || format!("cannot begin to store {key}");
        match request.send().await {
            Ok(created) => created
                .upload_id
                .ok_or_else(|| StorageError::new(what(), io::Error::other("the service names no upload"))),
            Err(error) => Err(self.explain(what(), Action::PUT, &error).await),
        }
    }

    /// An upload of this key that a run that was killed has left and that has parts of this size, with its parts. Those
    /// that do not fit are removed.
    ///
    /// Going on is a saving and no duty: where it cannot be found out, there is none.
    async fn resumable(&self, key: &str, part_size: usize) -> Option<(String, BTreeMap<i32, Earlier>)> {
        let mut found: Option<(String, BTreeMap<i32, Earlier>)> = None;
        for id in self.unfinished.take(key) {
            let Ok(parts) = self.parts(key, &id).await else {
                self.unfinished.ended(&id);
                continue;
            };
            let last = parts.keys().next_back().copied();
            let fits = |(number, part): (&i32, &Earlier)| {
                part.size == part_size as u64 || (Some(*number) == last && part.size < part_size as u64)
            };
            let best = found.as_ref().is_none_or(|(_, best)| best.len() < parts.len());
            let unfit = if best && parts.iter().all(fits) {
                found.replace((id, parts)).map(|(id, _)| id)
            } else {
                Some(id)
            };
            if let Some(id) = unfit {
                self.remove_leftover(&Leftover { key: key.to_owned(), upload: Some(id.clone()) }).await;
                self.unfinished.ended(&id);
            }
        }
        found
    }

    async fn parts(&self, key: &str, id: &str) -> Result<BTreeMap<i32, Earlier>, StorageError> {
        let request = self.client.list_parts().bucket(&self.place.bucket).key(key).upload_id(id);
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
                parts.insert(number, Earlier { size, etag, sha256: part.checksum_sha256 });
            }
        }
        Ok(parts)
    }
}
