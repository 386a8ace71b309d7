//! What must not stay behind: uploads that are not finished, of this run when it is interrupted, and of runs that
//! were killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::errors::{Action, Facts};
use super::{Engine, Shared, client};
use raas_base::interrupt;
use raas_publish::storage::StorageError;

/// How long an unfinished upload of another run is left alone: that run may live, or may be run again.
pub(super) const GRACE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// The exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// An upload that is not finished, or an object under a temporary name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leftover {
    /// Its key in the bucket.
    pub(super) key: String,
    /// The upload's id; `None` for an object.
    pub(super) upload: Option<String>,
}

/// What this run would leave behind if it ended now.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    state: Mutex<State>,
    watching: OnceLock<()>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeSet<Leftover>,
    /// What takes the place of some of them: a key and its content.
    instead: BTreeMap<Leftover, (String, Vec<u8>)>,
    interrupted: bool,
}

impl Leftovers {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one more, which the service has made.
    pub(super) async fn add(&self, leftover: Leftover) {
        // Whoever interrupts goes on until nothing is open.
        self.state().open.insert(leftover);
        self.hold_if_interrupted().await;
    }

    /// Never returns once the run is interrupted: it ends when all is removed, and not before, as it would if a
    /// request failed for what was removed.
    pub(super) async fn hold_if_interrupted(&self) {
        let interrupted = self.state().interrupted;
        if interrupted {
            std::future::pending::<()>().await;
        }
    }

    /// Says what takes the place of one that is about to be noted.
    pub(super) fn leave(&self, leftover: Leftover, instead: (String, Vec<u8>)) {
        self.state().instead.insert(leftover, instead);
    }

    /// Forgets one that is finished or removed.
    pub(super) fn remove(&self, leftover: &Leftover) {
        let mut state = self.state();
        state.open.remove(leftover);
        state.instead.remove(leftover);
    }

    fn instead(&self, leftover: &Leftover) -> Option<(String, Vec<u8>)> {
        self.state().instead.remove(leftover)
    }

    fn interrupt(&self) -> BTreeSet<Leftover> {
        let mut state = self.state();
        state.interrupted = true;
        std::mem::take(&mut state.open)
    }
}

impl Engine {
    /// From now on an interruption removes this run's unfinished uploads before the program ends.
    pub(super) fn watch_for_interrupts(&self) {
        let shared = self.shared.clone();
        self.shared.leftovers.watching.get_or_init(|| {
            interrupt::caller_exits();
            self.handle().spawn(async move {
                if interrupted().await.is_ok() {
                    // A second one does not wait.
                    tokio::select! {
                        () = shared.remove_all() => {}
                        _ = interrupted() => {}
                    }
                    interrupt::clean_up_and_exit(INTERRUPTED);
                }
            });
        });
    }
}

/// Waits for Ctrl-C, a request to end, or the end of the terminal.
async fn interrupted() -> io::Result<()> {
    let mut listening = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        // `nohup` and the like mean that it is to be ignored.
        if !is_ignored(kind) {
            listening.push(signal(kind)?);
        }
    }
    std::future::poll_fn(|context| {
        let came = listening.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if came { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    Ok(())
}

/// Whether whoever started this program has had a signal ignored. Source: proc_pid_status(5), `SigIgn`.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

impl Shared {
    /// Removes all that this run would leave behind.
    async fn remove_all(self: &Arc<Self>) {
        self.say.line(
            "Interrupted: removing what is unfinished; what is stored is not sent again by the next push",
        );
        loop {
            let open = self.leftovers.interrupt();
            if open.is_empty() {
                return;
            }
            let mut removing = JoinSet::new();
            for leftover in open {
                let shared = self.clone();
                let instead = self.leftovers.instead(&leftover);
                removing.spawn(async move {
                    if let Some((key, content)) = instead {
                        let put = shared.client.put_object().bucket(&shared.place.bucket).key(key);
                        let put = put.body(content.into()).customize().config_override(client::hasty());
                        // Without it the other one stays too, and says the same later.
                        if put.send().await.is_err() {
                            return false;
                        }
                    }
                    shared.remove_leftover(&leftover).await
                });
            }
            removing.join_all().await;
        }
    }

    /// Removes a leftover, if that can be done soon; otherwise the sweep of a later run does.
    pub(super) async fn remove_leftover(&self, leftover: &Leftover) -> bool {
        let bucket = &self.place.bucket;
        match &leftover.upload {
            Some(id) => {
                let request =
                    self.client.abort_multipart_upload().bucket(bucket).key(&leftover.key).upload_id(id);
                let aborted = request.customize().config_override(client::hasty()).send().await;
                aborted.is_ok()
            }
            None => {
                let request = self.client.delete_object().bucket(bucket).key(&leftover.key);
                request.customize().config_override(client::hasty()).send().await.is_ok()
            }
        }
    }

    /// Removes what runs that were killed have left longer ago than the grace, and says how much that was. What runs of
    /// this home have left since is taken over, to be gone on with.
    pub(super) async fn sweep(&self) -> Result<usize, StorageError> {
        // Without notes there is nothing to go on with, and that is all.
        drop(self.unfinished.take_over());
        let Some(before) = SystemTime::now().checked_sub(GRACE) else { return Ok(0) };
        let mut stale = self.stale_uploads(before).await?;
        stale.extend(self.stale_objects(before).await?);
        let mut removed = 0;
        for leftover in &stale {
            removed += usize::from(self.remove_leftover(leftover).await);
        }
        Ok(removed)
    }

    async fn stale_uploads(&self, before: SystemTime) -> Result<Vec<Leftover>, StorageError> {
        let mut stale = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let request = self
                .client
                .list_multipart_uploads()
                .bucket(&self.place.bucket)
                .prefix(&self.place.prefix)
                .set_key_marker(key_marker.take())
                .set_upload_id_marker(id_marker.take());
            let page = match request.send().await {
                Ok(page) => page,
                Err(error) => {
                    let facts = Facts::of(&error);
                    // Tidying up is a courtesy, and needs a permission that nothing else needs.
                    if facts.denied() || facts.unsupported() {
                        return Ok(stale);
                    }
                    return Err(self
                        .explain("cannot look for unfinished uploads", Action::LIST_UPLOADS, &error)
                        .await);
                }
            };
            for upload in page.uploads.unwrap_or_default() {
                let initiated = upload.initiated.and_then(|at| SystemTime::try_from(at).ok());
                if let (Some(key), Some(id), Some(initiated)) = (upload.key, upload.upload_id, initiated)
                    && initiated < before
                {
                    stale.push(Leftover { key, upload: Some(id) });
                }
            }
            if page.is_truncated != Some(true) || page.next_key_marker.is_none() {
                return Ok(stale);
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    async fn stale_objects(&self, before: SystemTime) -> Result<Vec<Leftover>, StorageError> {
        let mut stale = Vec::new();
        self.list_keys(&self.place.uploads(), &mut |object| {
            if object.modified < before {
                stale.push(Leftover { key: object.key, upload: None });
            }
        })
        .await?;
        Ok(stale)
    }
}
