//! One site's metadata in a bucket, followed: a pointer object that is replaced, and archives that never change.
//!
//! Only an archive with just the digest, the length and the revision that the pointer says is taken, and only as a
//! whole. Whatever else is found, the last good one goes on being served.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, Response, StatusCode};
use raas_types::{Digest, ObjectKey, Pointer, PointerError, Sha256, Utc};
use tokio::task::spawn_blocking;

use super::archive::{Archive, ArchiveError, Limits};
use super::shelf::Shelf;
use crate::catalog::{Catalog, load};
use crate::client::{Client, ClientError};
use crate::health::Health;
use crate::origin::{CredentialError, Origin};

/// How long a bucket may be silent in the middle of an object.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause after something went wrong again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Why what a bucket has is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no URL can be signed: {0}")]
    Sign(#[from] CredentialError),
    #[error("{0}: {1}")]
    Ask(ObjectKey, ClientError),
    #[error("{0}: the service answers {1}")]
    Status(ObjectKey, StatusCode),
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
    Digest(ObjectKey, Digest),
    #[error("{0}: {1}")]
    Archive(ObjectKey, ArchiveError),
    #[error("the reader failed")]
    Reader,
}

/// Looks at the pointer again and again, and tells what comes of it.
pub(super) async fn follow(client: Arc<Client>, origin: Origin, health: Arc<Health>, every: Duration) {
    let mut reader = Reader::new(origin, Arc::clone(health.faulty()));
    let mut pause = every;
    loop {
        match reader.poll(&client).await {
            Ok(news) => {
                pause = every;
                health.good(news, reader.pointer.as_ref());
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                if health.refused(&reason) {
                    let bucket = reader.origin.shown();
                    tracing::error!(
                        bucket,
                        reason,
                        "published metadata is not taken; the last good one is served"
                    );
                }
                pause = (pause * 2).min(LONGEST_PAUSE.max(every));
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// What is known of a bucket's metadata.
struct Reader {
    origin: Origin,
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
    fn new(origin: Origin, faulty: Arc<AtomicUsize>) -> Self {
        Self { origin, faulty, pointer: None, etag: None, shelf: None }
    }

    /// The catalog, if it is another one than before.
    async fn poll(&mut self, client: &Client) -> Result<Option<Arc<Catalog>>, Refusal> {
        let known = self.etag.take();
        let answer = self.ask(client, &ObjectKey::Pointer, known.as_ref()).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED if known.is_some() => {
                self.etag = known;
                return Ok(None);
            }
            // Nothing was ever published. The registry is there all the same, and empty.
            StatusCode::NOT_FOUND if self.pointer.is_none() => return Ok(None),
            StatusCode::NOT_FOUND => return Err(Refusal::Gone),
            StatusCode::OK => {}
            status => return Err(Refusal::Status(ObjectKey::Pointer, status)),
        }
        let etag = answer.headers().get(ETAG).cloned();
        let pointer = Pointer::parse(&read(answer, &ObjectKey::Pointer, Pointer::MAX_SIZE).await?)?;
        let news = match &self.pointer {
            Some(served) if served.digest == pointer.digest && served.revision == pointer.revision => None,
            _ => Some(self.load(client, &pointer).await?),
        };
        // From here on an unchanged pointer is one whose archive is served.
        self.pointer = Some(pointer);
        self.etag = etag;
        Ok(news)
    }

    /// Takes the archive of a pointer, if it is just what the pointer says.
    async fn load(&mut self, client: &Client, pointer: &Pointer) -> Result<Arc<Catalog>, Refusal> {
        let key = ObjectKey::Snapshot(pointer.digest);
        let answer = self.ask(client, &key, None).await?;
        if answer.status() != StatusCode::OK {
            return Err(Refusal::Status(key, answer.status()));
        }
        let packed = read(answer, &key, pointer.size).await?;
        if packed.len() as u64 != pointer.size {
            return Err(Refusal::Size(key, packed.len() as u64, pointer.size));
        }
        let shelf = self.shelf.take();
        let mut shelf =
            shelf.unwrap_or_else(|| Shelf::new(self.origin.shown().to_owned(), Arc::clone(&self.faulty)));
        let pointer = pointer.clone();
        let reading = spawn_blocking(move || {
            let result = take(&mut shelf, &packed, &pointer);
            (shelf, result)
        });
        let (shelf, result) = reading.await.map_err(|_| Refusal::Reader)?;
        self.shelf = Some(shelf);
        result
    }

    async fn ask(
        &self,
        client: &Client,
        key: &ObjectKey,
        unless: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Refusal> {
        let url = self.origin.url(&Method::GET, key, None)?;
        let headers = unless.map(|etag| (IF_NONE_MATCH, etag.clone()));
        let asked = client.ask(&Method::GET, &url, headers.as_slice()).await;
        asked.map_err(|error| Refusal::Ask(key.clone(), error))
    }
}

/// Puts an archive's documents on the shelf, if the archive is what the pointer says.
fn take(shelf: &mut Shelf<Digest>, packed: &[u8], pointer: &Pointer) -> Result<Arc<Catalog>, Refusal> {
    let key = || ObjectKey::Snapshot(pointer.digest);
    let mut digest = Sha256::default();
    digest.update(packed);
    let digest = digest.finish();
    if digest != pointer.digest {
        return Err(Refusal::Digest(key(), digest));
    }
    let archive = Archive::unpack(packed, &pointer.revision, Limits::default());
    let archive = archive.map_err(|error| Refusal::Archive(key(), error))?;
    // A document that does not load goes on as it last loaded, as in a folder; the others are not held back.
    shelf.take(
        archive.documents(),
        |path, _, before| load(&archive, archive.file(path)?, before),
        |path| archive.file(path).is_err(),
    );
    shelf.assemble(Bytes::copy_from_slice(pointer.revision.as_bytes()), Utc::parse(&pointer.published));
    Ok(shelf.catalog())
}

/// An answer's bytes, if they are not more than that.
async fn read(answer: Response<Incoming>, key: &ObjectKey, limit: u64) -> Result<Bytes, Refusal> {
    let too_long = || Refusal::TooLong(key.clone(), limit);
    let mut body = answer.into_body();
    let mut bytes = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
        let frame = frame.map_err(|_| Refusal::Broken(key.clone(), "the service is silent".into()))?;
        let Some(frame) = frame else { return Ok(bytes.freeze()) };
        let frame = frame.map_err(|error| Refusal::Broken(key.clone(), error.to_string()))?;
        if let Ok(piece) = frame.into_data() {
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
        }
    }
}
