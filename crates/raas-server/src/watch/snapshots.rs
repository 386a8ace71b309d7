//! One site's metadata in a bucket, followed: a pointer object that is replaced, and the parts that it names, which
//! never change.
//!
//! Only parts with just the digest and the length that the pointer says are taken, and only all of them together. Whatever
//! else is found, the last good ones go on being served.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue};
use raas_types::crane::partition;
use raas_types::{Digest, ObjectKey, Pointer, Utc};
use tokio::task::spawn_blocking;

use super::Bench;
use super::archive::{Allowance, Limits, Place, Used};
use super::error_code::ErrorCode;
use super::shelf::{Became, Found, Shelf};
use crate::catalog::Catalog;
use crate::health::Health;
use crate::origin::Origin;

mod intake;
mod refusal;
mod remote;

use intake::Intake;
use refusal::Refusal;
use remote::{Remote, read};

/// The longest pause after something went wrong again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

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
                    let bucket = reader.remote.origin.shown();
                    tracing::info!(bucket, "nothing is published there yet: the registry is empty");
                }
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                if health.refused(&reason) {
                    let bucket = reader.remote.origin.shown();
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
    remote: Remote,
    bench: Bench,
    /// The pointer whose parts are served.
    pointer: Option<Pointer>,
    /// How much each of these parts holds.
    used: Vec<Used>,
    /// The entity tag that the pointer had.
    etag: Option<HeaderValue>,
    /// The documents of the parts that are served. Those who read the next ones compare with them.
    shelf: Arc<RwLock<Shelf<Digest>>>,
}

impl Reader {
    fn new(origin: Origin, bench: Bench, faulty: Arc<AtomicUsize>) -> Self {
        let shelf = Arc::new(RwLock::new(Shelf::new(origin.shown().to_owned(), faulty)));
        let remote = Remote { origin, client: Arc::clone(&bench.client) };
        Self { remote, bench, pointer: None, used: Vec::new(), etag: None, shelf }
    }

    /// The catalog, if it is another one than before.
    async fn poll(&mut self) -> Result<Option<Arc<Catalog>>, Refusal> {
        let known = self.etag.take();
        let answer = self.remote.ask(&ObjectKey::Pointer, known.as_ref()).await?;
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
            Some(served) if served.parts == pointer.parts && served.revision == pointer.revision => None,
            _ => Some(self.load(&pointer).await?),
        };
        // From here on an unchanged pointer is one whose parts are served.
        self.pointer = Some(pointer);
        self.etag = etag;
        Ok(news)
    }

    /// Takes the parts of a pointer that are not served already, if all are just what the pointer says.
    async fn load(&mut self, pointer: &Pointer) -> Result<Arc<Catalog>, Refusal> {
        if pointer.parts.is_empty() {
            return Err(Refusal::Older);
        }
        let parts = pointer.parts.len();
        let mut used = self.used.clone();
        used.resize(parts, Used::default());
        let served = self.pointer.as_ref().filter(|served| served.parts.len() == parts);
        let is_kept: Vec<bool> = pointer
            .parts
            .iter()
            .enumerate()
            .map(|(at, part)| served.is_some_and(|served| served.parts[at] == *part))
            .collect();
        let others = is_kept.iter().zip(&used).filter(|(kept, _)| **kept).map(|(_, used)| *used);
        let intake = Intake {
            remote: self.remote.clone(),
            unpacking: Arc::clone(&self.bench.unpacking),
            shelf: Arc::clone(&self.shelf),
            allowance: Allowance::beside(others, Limits::default()),
        };
        let places = (0..parts).map(|at| Place { at, parts }).zip(pointer.parts.iter().copied());
        let changed = places.filter(|(place, _)| !is_kept[place.at]).collect();
        let mut found = Found::default();
        for taken in intake.take(changed).await? {
            used[taken.place.at] = taken.used;
            found.extend(taken.found);
        }
        let _turn = self.bench.unpacking.acquire().await.map_err(|_| Refusal::Reader)?;
        let (shelf, pointer) = (Arc::clone(&self.shelf), pointer.clone());
        let settling = spawn_blocking(move || {
            let mut shelf = shelf.write().unwrap_or_else(PoisonError::into_inner);
            // A document that does not load goes on as it last loaded, as in a folder; the others are not held back. What
            // a part does not list any more is gone.
            shelf.settle(found, |path| {
                if is_kept[partition::part_of(path, parts)] { Became::Kept } else { Became::Gone }
            });
            let revision = Bytes::copy_from_slice(pointer.revision.as_bytes());
            shelf.assemble(revision, Utc::parse(&pointer.published));
            shelf.catalog()
        });
        let catalog = settling.await.map_err(|_| Refusal::Reader)?;
        self.used = used;
        Ok(catalog)
    }
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
