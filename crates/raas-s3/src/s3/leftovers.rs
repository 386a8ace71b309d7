//! Removing unfinished uploads: of this run if it is interrupted, and of runs that were killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use super::errors::{Action, FailedRequest};
use super::{Engine, Shared};
use raas_base::interrupt;
use raas_publish::storage::StorageError;

/// How old an unfinished upload of another run must be. A younger one may be of a live run, or may be resumed.
pub(super) const GRACE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// An unfinished upload, or an object under a temporary name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leftover {
    /// Its key in the bucket.
    pub(super) key: String,
    /// The upload's id; `None` for an object.
    pub(super) upload: Option<String>,
}

/// Everything that this run would leave behind if it ended now.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    state: Mutex<State>,
    watching: OnceLock<interrupt::CleanUp>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeSet<Leftover>,
    /// The replacements of some of them: a key and its content.
    replacements: BTreeMap<Leftover, (String, Vec<u8>)>,
    interrupted: bool,
}

impl Leftovers {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds something that the service has made.
    pub(super) async fn add(&self, leftover: Leftover) {
        // An interruption goes on removing until nothing is left, so it also removes this.
        self.state().open.insert(leftover);
        self.hold_if_interrupted().await;
    }

    /// Waits for ever if the run is interrupted. Otherwise a request could fail because its upload was removed, and end
    /// the program before everything is removed.
    pub(super) async fn hold_if_interrupted(&self) {
        let removing = self.state().interrupted;
        if removing || interrupt::is_interrupted() {
            std::future::pending::<()>().await;
        }
    }

    /// Sets the replacement of a leftover that is about to be added.
    pub(super) fn replace_by(&self, leftover: Leftover, replacement: (String, Vec<u8>)) {
        self.state().replacements.insert(leftover, replacement);
    }

    /// Forgets a leftover that is finished or removed.
    pub(super) fn remove(&self, leftover: &Leftover) {
        let mut state = self.state();
        state.open.remove(leftover);
        state.replacements.remove(leftover);
    }

    fn take_replacement(&self, leftover: &Leftover) -> Option<(String, Vec<u8>)> {
        self.state().replacements.remove(leftover)
    }

    fn interrupt(&self) -> BTreeSet<Leftover> {
        let mut state = self.state();
        state.interrupted = true;
        std::mem::take(&mut state.open)
    }
}

impl Engine {
    /// From now on, an interruption removes this run's unfinished uploads before the program ends.
    pub(super) fn watch_for_interrupts(&self) {
        self.shared.leftovers.watching.get_or_init(|| {
            let (shared, handle) = (Arc::downgrade(&self.shared), self.handle().clone());
            interrupt::CleanUp::new(move || {
                let shared = shared.upgrade()?;
                handle.block_on(shared.remove_all())
            })
        });
    }
}

impl Shared {
    /// Removes everything that this run would leave behind, and says what stays.
    async fn remove_all(self: &Arc<Self>) -> Option<String> {
        let (mut removed, mut left) = (0, 0);
        loop {
            let open = self.leftovers.interrupt();
            if open.is_empty() {
                break;
            }
            let mut removing = JoinSet::new();
            for leftover in open {
                let shared = self.clone();
                let replacement = self.leftovers.take_replacement(&leftover);
                removing.spawn(async move {
                    if let Some((key, content)) = replacement {
                        let put = shared.client().put_object().bucket(&shared.location.bucket).key(key);
                        let put =
                            put.body(content.into()).customize().config_override(shared.requests.quick());
                        // If storing the replacement fails, the old object must stay: it says the same after its time.
                        if put.send().await.is_err() {
                            return false;
                        }
                    }
                    shared.remove_leftover(&leftover).await
                });
            }
            for done in removing.join_all().await {
                *(if done { &mut removed } else { &mut left }) += 1;
            }
        }
        let name = self.location.name();
        match (removed, left) {
            (0, 0) => None,
            (_, 0) => Some(format!("what was unfinished in {name} is removed")),
            _ => Some(format!(
                "{left} unfinished objects or uploads stay in {name}, and a later run removes them"
            )),
        }
    }

    /// Removes a leftover with few retries. If that fails, a later run removes it.
    pub(super) async fn remove_leftover(&self, leftover: &Leftover) -> bool {
        let bucket = &self.location.bucket;
        match &leftover.upload {
            Some(id) => {
                let request =
                    self.client().abort_multipart_upload().bucket(bucket).key(&leftover.key).upload_id(id);
                let aborted = request.customize().config_override(self.requests.quick()).send().await;
                aborted.is_ok()
            }
            None => {
                let request = self.client().delete_object().bucket(bucket).key(&leftover.key);
                request.customize().config_override(self.requests.quick()).send().await.is_ok()
            }
        }
    }

    /// Removes the leftovers of killed runs that are older than [`GRACE`], and returns their number. Younger uploads of
    /// killed runs of this home are taken over, to be resumed.
    pub(super) async fn abort_stale_uploads(&self) -> Result<usize, StorageError> {
        // A failure only means that no upload is resumed.
        drop(self.upload_notes.take_over());
        let Some(before) = SystemTime::now().checked_sub(GRACE) else { return Ok(0) };
        let uploads = self.unfinished_uploads().await?;
        let known = uploads.as_ref().map(|uploads| {
            uploads.iter().filter_map(|(leftover, _)| leftover.upload.clone()).collect::<BTreeSet<_>>()
        });
        self.upload_notes.forget_ended(known.as_ref(), GRACE);
        let uploads = uploads.unwrap_or_default().into_iter();
        let mut stale: Vec<_> =
            uploads.filter(|(_, initiated)| *initiated < before).map(|(leftover, _)| leftover).collect();
        stale.extend(self.stale_objects(before).await?);
        let mut removed = 0;
        for leftover in &stale {
            removed += usize::from(self.remove_leftover(leftover).await);
        }
        Ok(removed)
    }

    /// All unfinished uploads, with the time when each began; `None` if the service does not say.
    async fn unfinished_uploads(&self) -> Result<Option<Vec<(Leftover, SystemTime)>>, StorageError> {
        let mut found = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let request = self
                .client()
                .list_multipart_uploads()
                .bucket(&self.location.bucket)
                .prefix(&self.location.prefix)
                .set_key_marker(key_marker.take())
                .set_upload_id_marker(id_marker.take());
            let page = match request.send().await {
                Ok(page) => page,
                Err(error) => {
                    let failed = FailedRequest::of(&error);
                    // Nothing else needs this permission, so a run without it must not fail.
                    // Services without this operation answer 501, 405 or 400.
                    if failed.denied() || failed.unsupported() || failed.status == Some(400) {
                        return Ok(None);
                    }
                    return Err(self
                        .explain("cannot look for unfinished uploads", Action::LIST_UPLOADS, &error)
                        .await);
                }
            };
            for upload in page.uploads.unwrap_or_default() {
                let initiated = upload.initiated.and_then(|at| SystemTime::try_from(at).ok());
                if let (Some(key), Some(id), Some(initiated)) = (upload.key, upload.upload_id, initiated) {
                    found.push((Leftover { key, upload: Some(id) }, initiated));
                }
            }
            if page.is_truncated != Some(true) || page.next_key_marker.is_none() {
                return Ok(Some(found));
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    async fn stale_objects(&self, before: SystemTime) -> Result<Vec<Leftover>, StorageError> {
        let mut stale = Vec::new();
        self.list_keys(&self.location.uploads(), &mut |object| {
            if object.modified < before {
                stale.push(Leftover { key: object.key, upload: None });
            }
        })
        .await?;
        Ok(stale)
    }
}
