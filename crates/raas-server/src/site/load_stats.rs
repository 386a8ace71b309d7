//! What loading the metadata of a site has come to, for the metrics and for `raas status`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Why the newest metadata is not served, or not all of it. Everybody may see it, so it names no repository.
    problem: Mutex<Option<String>>,
}

impl LoadStats {
    /// Nothing is loaded. `memory` is the most memory that the metadata may take, in bytes.
    pub(crate) fn new(memory: u64) -> Arc<Self> {
        let (faulty, left_out) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { faulty, left_out, memory: MemoryBudget::new(memory), problem: Mutex::default() })
    }

    /// Why the newest metadata is not served, or not all of it.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the reason why the newest metadata is not served, or not all of it.
    pub(crate) fn refused(&self, reason: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Records that the newest metadata was read, and which of it is not served.
    pub(crate) fn read(&self) {
        let problem = match self.faulty.load(Ordering::Relaxed) {
            0 => None,
            faulty => Some(format!("documents that are not served: {faulty}; the server's log says why")),
        };
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}
