//! Keeps a lease object alive where the service has conditional writes: a thread writes the object again and again, each time
//! only if it is as this home wrote it last. A lease that another home has reclaimed is never put back.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use raas_types::ObjectKey;

use super::uptime;
use crate::storage::{ConditionalWrites, StorageError, Version, put_if};

/// A lease object that a thread keeps alive until this is dropped.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    writes: Arc<dyn ConditionalWrites>,
    key: ObjectKey,
    state: Mutex<State>,
    /// Held during a write: two writes of the object must not cross.
    writing: Mutex<()>,
    /// Wakes the thread at the end.
    ended: Condvar,
}

struct State {
    content: Vec<u8>,
    version: Version,
    /// When the last successful write began, by [`uptime`].
    since: Duration,
    /// Whether another home has removed the object.
    lost: bool,
    ended: bool,
}

impl Keeper {
    /// Stores the lease object, and keeps it alive from now on. `every` is the time between two writes.
    pub(super) fn begin(
        writes: &dyn ConditionalWrites,
        key: &ObjectKey,
        content: Vec<u8>,
        every: Duration,
    ) -> Result<Self, StorageError> {
        let since = uptime();
        // The key is random, so no other home has it.
        let version = put_if(writes, key, &content, None)?.ok_or_else(|| {
            StorageError::new(format!("cannot store {key}"), std::io::Error::other("the key is taken"))
        })?;
        let state = State { content, version, since, lost: false, ended: false };
        let shared = Arc::new(Shared {
            writes: writes.handle(),
            key: key.clone(),
            state: Mutex::new(state),
            writing: Mutex::default(),
            ended: Condvar::new(),
        });
        let of_thread = shared.clone();
        let thread = thread::Builder::new().name("lease".into()).spawn(move || of_thread.keep(every));
        let thread = thread.map_err(|error| StorageError::new("cannot start a thread", error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// When the last successful write of the object began, by [`uptime`].
    pub(super) fn since(&self) -> Duration {
        self.shared.state().since
    }

    /// Whether another home has removed the object.
    pub(super) fn is_lost(&self) -> bool {
        self.shared.state().lost
    }

    /// Replaces the content of the object.
    pub(super) fn replace(&self, content: Vec<u8>) -> Result<(), StorageError> {
        self.shared.write(Some(content))
    }

    /// Ends the renewals. Afterwards no write of the object is on its way.
    pub(super) fn end(&mut self) {
        self.shared.state().ended = true;
        self.shared.ended.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread does not panic. If it had, it would write no more.
            drop(thread.join());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, every: Duration) {
        loop {
            let waited = self.ended.wait_timeout_while(self.state(), every, |state| !state.ended);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.ended || state.lost {
                return;
            }
            drop(state);
            // A failure is tried again in time; the holder checks `since` before each change.
            drop(self.write(None));
        }
    }

    /// Writes the object with this content, or with the content that it has.
    fn write(&self, content: Option<Vec<u8>>) -> Result<(), StorageError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = uptime();
        let (content, version) = {
            let state = self.state();
            (content.unwrap_or_else(|| state.content.clone()), state.version.clone())
        };
        let written = put_if(self.writes.as_ref(), &self.key, &content, Some(&version))?;
        let mut state = self.state();
        match written {
            Some(version) => (state.content, state.version, state.since) = (content, version, since),
            None => state.lost = true,
        }
        Ok(())
    }
}
