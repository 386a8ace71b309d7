//! What loading the metadata of a site has come to, for the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use crate::catalog::MemoryBudget;

/// What loading the metadata of a site has come to.
#[derive(Debug)]
pub(crate) struct LoadStats {
    /// The number of documents that do not load.
    pub(crate) faulty: AtomicUsize,
    /// How many entries of documents were left out, in the place of a Crane.
    pub(crate) left_out: AtomicU64,
    /// The memory of the metadata.
    pub(crate) memory: Arc<MemoryBudget>,
}

impl LoadStats {
    /// Nothing is loaded. `memory` is the most memory that the metadata may take, in bytes.
    pub(crate) fn new(memory: u64) -> Arc<Self> {
        let (faulty, left_out) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { faulty, left_out, memory: MemoryBudget::new(memory) })
    }
}
