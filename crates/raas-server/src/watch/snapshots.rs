//! One site's metadata in a bucket, followed: a pointer object that is replaced, and archives that never change.
//!
//! Only an archive with just the digest, the length and the revision that the pointer says is taken, and only as a
//! whole. Whatever else is found, the last good one goes on being served.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, Response, StatusCode};
use raas_types::{Digest, ObjectKey, Pointer, PointerError, Sha256, Utc};
use tokio::task::spawn_blocking;

use super::Bench;
use super::archive::{ArchiveError, Limits};
use super::error_code::ErrorCode;
use super::intake;
use super::shelf::Shelf;
use crate::catalog::Catalog;
use crate::client::ClientError;
use crate::health::Health;
use crate::origin::{CredentialError, Origin};

/// How long a bucket may be silent in the middle of an object.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause after something went wrong again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Why what a bucket has is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is no such bucket")]
    NoBucket,
    #[error("no URL can be signed: {0}")]
    Sign(#[from] CredentialError),
    #[error("{0}: {1}")]
    Ask(ObjectKey, ClientError),
    #[error("{0}: the service answers {1}{2}")]
    Status(ObjectKey, StatusCode, String),
    #[error("{0}: it broke off: {1}")]
    Broken(ObjectKey, String),
    #[error("{0}: it is longer than {1} bytes")]
    TooLong(ObjectKey, u64),
    #[error("the pointer is gone")]
    Gone,
    #[error("the pointer: {0}")]
    Pointer(#[from] PointerError),
    #[error("{0}: it has {1} bytes instead of {2}")]
    Size(ObjectKey, u64, u64),
    #[error("{0}: its content has the digest {1}")]
    Digest(Box<ObjectKey>, Digest),
    #[error("{0}: {1}")]
    Archive(Box<ObjectKey>, ArchiveError),
    #[error("the reader failed")]
    Reader,
}

impl Refusal {
    fn status(key: ObjectKey, status: StatusCode, code: Option<ErrorCode>) -> Self {
        Refusal::Status(key, status, code.map_or(String::new(), |code| format!(" ({code})")))
    }
}

/// Looks at the pointer again and again, and tells what comes of it; for the first time after a while.
pub(super) async fn follow(bench: Bench, origin: Origin, health: Arc<Health>, after: Duration) {
    let (every, watcher) = (bench.every, Arc::clone(&bench.news));
    let mut reader = Reader::new(origin, bench, Arc::clone(health.faulty()));
    let mut pause = every;
    let mut empty = false;
    tokio::time::sleep(after).await;
    loop {
        match reader.poll().await {
            Ok(news) => {
                pause = every;
                let is_new = news.is_some();
                health.good(news, reader.pointer.as_ref());
                if is_new {
                    watcher.notify_one();
                }
                if reader.pointer.is_none() && !empty {
                    empty = true;
                    let bucket = reader.origin.shown();
                    tracing::info!(bucket, "nothing is published there yet: the registry is empty");
                }
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                if health.refused(&reason) {
                    let bucket = reader.origin.shown();
                    let serves = if health.catalog().is_some() { "the last good one" } else { "nothing" };
                    tracing::error!(bucket, reason, serves, "what is published is not taken");
                }
                pause = (pause * 2).min(LONGEST_PAUSE.max(every));
            }
        }
        tokio::time::sleep(scattered(pause)).await;
    }
}

/// About as long, so that sites that began together, and servers that did, do not stay together.
fn scattered(pause: Duration) -> Duration {
    pause.mul_f64(fastrand::f64().mul_add(0.2, 0.9))
}

/// What is known of a bucket's metadata.
struct Reader {
    origin: Origin,
    bench: Bench,
    /// How many documents do not load.
    faulty: Arc<AtomicUsize>,
    /// The pointer whose archive is served.
    pointer: Option<Pointer>,
    /// The entity tag that the pointer had.
    etag: Option<HeaderValue>,
    /// The documents of the archive that is served; lent to the thread that reads the next.
    shelf: Option<Shelf<Digest>>,
}

impl Reader {
    fn new(origin: Origin, bench: Bench, faulty: Arc<AtomicUsize>) -> Self {
        Self { origin, bench, faulty, pointer: None, etag: None, shelf: None }
    }

    /// The catalog, if it is another one than before.
    async fn poll(&mut self) -> Result<Option<Arc<Catalog>>, Refusal> {
        let known = self.etag.take();
        let answer = self.ask(&ObjectKey::Pointer, known.as_ref()).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED if known.is_some() => {
                self.etag = known;
                return Ok(None);
            }
            StatusCode::OK => {}
            status => {
                let code = ErrorCode::read(answer).await;
                return match status {
                    StatusCode::NOT_FOUND if code.as_ref().is_some_and(ErrorCode::is_no_bucket) => {
                        Err(Refusal::NoBucket)
                    }
                    // Nothing was ever published. The registry is there all the same, and empty.
                    StatusCode::NOT_FOUND if self.pointer.is_none() => Ok(None),
                    StatusCode::NOT_FOUND => Err(Refusal::Gone),
                    status => Err(Refusal::status(ObjectKey::Pointer, status, code)),
                };
            }
        }
        let etag = answer.headers().get(ETAG).cloned();
        let pointer = Pointer::parse(&read(answer, &ObjectKey::Pointer, Pointer::MAX_SIZE).await?.0)?;
        let news = match &self.pointer {
            Some(served) if served.digest == pointer.digest && served.revision == pointer.revision => None,
            _ => Some(self.load(&pointer).await?),
        };
        // From here on an unchanged pointer is one whose archive is served.
        self.pointer = Some(pointer);
        self.etag = etag;
        Ok(news)
    }

    /// Takes the archive of a pointer, if it is just what the pointer says.
    async fn load(&mut self, pointer: &Pointer) -> Result<Arc<Catalog>, Refusal> {
        let key = ObjectKey::Snapshot(pointer.digest);
        let answer = self.ask(&key, None).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            return Err(Refusal::status(key, status, ErrorCode::read(answer).await));
        }
        let (packed, digest) = read(answer, &key, pointer.size).await?;
        if packed.len() as u64 != pointer.size {
            return Err(Refusal::Size(key, packed.len() as u64, pointer.size));
        }
        if digest != pointer.digest {
            return Err(Refusal::Digest(key.into(), digest));
        }
        // Not before the bytes are here: a slow bucket must not keep the others from being read.
        let _turn = self.bench.unpacking.acquire().await.map_err(|_| Refusal::Reader)?;
        let shelf = self.shelf.take();
        let mut shelf =
            shelf.unwrap_or_else(|| Shelf::new(self.origin.shown().to_owned(), Arc::clone(&self.faulty)));
        let pointer = pointer.clone();
        let reading = spawn_blocking(move || {
            let result = take(&mut shelf, packed, &pointer);
            (shelf, result)
        });
        let (shelf, result) = reading.await.map_err(|_| Refusal::Reader)?;
        self.shelf = Some(shelf);
        result
    }

    async fn ask(
        &self,
        key: &ObjectKey,
        unless: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Refusal> {
        let url = self.origin.url(&Method::GET, key, None)?;
        let headers = unless.map(|etag| (IF_NONE_MATCH, etag.clone()));
        let asked = self.bench.client.ask(&Method::GET, &url, headers.as_slice()).await;
        asked.map_err(|error| Refusal::Ask(key.clone(), error))
    }
}

/// Puts an archive's documents on the shelf, if the archive is what the pointer says.
fn take(shelf: &mut Shelf<Digest>, packed: Vec<u8>, pointer: &Pointer) -> Result<Arc<Catalog>, Refusal> {
    let found = intake::read(&packed, &pointer.revision, Limits::default(), shelf);
    // Before the catalog is made, which is memory too.
    drop(packed);
    let found = found.map_err(|error| Refusal::Archive(ObjectKey::Snapshot(pointer.digest).into(), error))?;
    // A document that does not load goes on as it last loaded, as in a folder; the others are not held back. What an
    // archive does not list is gone.
    shelf.settle(found, |_| true);
    shelf.assemble(Bytes::copy_from_slice(pointer.revision.as_bytes()), Utc::parse(&pointer.published));
    Ok(shelf.catalog())
}

/// An answer's bytes with their digest, if they are not more than that.
async fn read(answer: Response<Incoming>, key: &ObjectKey, limit: u64) -> Result<(Vec<u8>, Digest), Refusal> {
    let too_long = || Refusal::TooLong(key.clone(), limit);
    let mut body = answer.into_body();
    let mut bytes = Vec::with_capacity(room(usize::try_from(limit).map_err(|_| too_long())?));
    let mut digest = Sha256::default();
    loop {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
        let frame = frame.map_err(|_| Refusal::Broken(key.clone(), "the service is silent".into()))?;
        let Some(frame) = frame else { return Ok((bytes, digest.finish())) };
        let frame = frame.map_err(|error| Refusal::Broken(key.clone(), error.to_string()))?;
        if let Ok(piece) = frame.into_data() {
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
            digest.update(&piece);
        }
    }
}

/// How much memory to take for so many bytes.
///
/// glibc's malloc takes what is larger than 32 MiB from the system, gives it back when it is freed, and learns nothing
/// from it; what is never written there costs nothing. When something smaller is freed, from then on it keeps pieces
/// of that size, and twice as much of whatever is free (`M_MMAP_THRESHOLD` in mallopt(3)).
fn room(bytes: usize) -> usize {
    const SMALL: usize = 128 * 1024;
    const OWN: usize = 32 * 1024 * 1024 + 1;
    if bytes <= SMALL { bytes } else { bytes.max(OWN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_scattered_and_about_as_long() {
        let second = Duration::from_secs(1);
        let pauses: Vec<Duration> = (0..100).map(|_| scattered(second)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| (Duration::from_millis(900)..=Duration::from_millis(1100)).contains(pause))
        );
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
