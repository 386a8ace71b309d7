//! What loading the metadata of a site has come to, for the metrics and for `raas status`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::catalog::MemoryBudget;

/// What loading the metadata of a site has come to.
#[derive(Debug)]
pub(crate) struct LoadStats {
    /// The number of documents that do not load.
    pub(crate) faulty: AtomicUsize,
    /// How many entries of documents were left out, at a site that replaces a Crane.
    pub(crate) left_out: AtomicU64,
    /// The memory of the metadata.
    pub(crate) memory: Arc<MemoryBudget>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why the newest metadata is not served, or not all of it. Everybody may see it, so it names no repository.
    problem: Option<String>,
    /// When the newest metadata was last read.
    read: Option<Instant>,
    /// Whether it was read when it was last looked for.
    is_current: bool,
}

impl LoadStats {
    /// Nothing is loaded. `memory` is the most memory that the metadata may take, in bytes.
    pub(crate) fn new(memory: u64) -> Arc<Self> {
        let (faulty, left_out) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { faulty, left_out, memory: MemoryBudget::new(memory), state: Mutex::default() })
    }

    /// Why the newest metadata is not served, or not all of it.
    pub(crate) fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    /// Whether the newest metadata was read when it was last looked for.
    pub(crate) fn is_current(&self) -> bool {
        self.state().is_current
    }

    /// The time since the newest metadata was last read.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.state().read.map(|read| read.elapsed())
    }

    /// Sets the reason why the newest metadata is not served, or not all of it.
    pub(crate) fn refused(&self, reason: String) {
        let mut state = self.state();
        (state.problem, state.is_current) = (Some(reason), false);
    }

    /// Records that the metadata that was last read counts as the newest until it is to be read again.
    pub(crate) fn is_read_as_often_as_configured(&self) {
        self.state().read = Some(Instant::now());
    }

    /// Records that the newest metadata was read, and which of it is not served.
    pub(crate) fn read(&self) {
        let problem = match self.faulty.load(Ordering::Relaxed) {
            0 => None,
            faulty => Some(format!("documents that are not served: {faulty}; the server's log says why")),
        };
        *self.state() = State { problem, read: Some(Instant::now()), is_current: true };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
