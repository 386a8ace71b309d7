//! Limits the memory that the metadata of a site takes.
//!
//! A limit on archives and documents is no limit on memory: a few bytes of an archive may become gigabytes. So memory
//! is charged before anything is built in it, and given back when it is freed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The memory that the metadata of a site may take, and takes. It counts the metadata that is served and the metadata
/// that is being loaded.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    limit: u64,
    used: AtomicU64,
    /// Whether something was refused since this was last taken.
    exceeded: AtomicBool,
    /// How often loading was stopped.
    refusals: AtomicU64,
}

/// The metadata of a site would take too much memory. The value is the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metadata of this site would take more than {0} bytes of memory")]
pub(crate) struct OverBudget(u64);

/// Bytes of a budget, which are given back when this is dropped.
#[derive(Debug)]
pub(crate) struct MemoryCharge {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl MemoryBudget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        let used = AtomicU64::new(0);
        Arc::new(Self { limit, used, exceeded: AtomicBool::new(false), refusals: AtomicU64::new(0) })
    }

    /// The bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// How often loading was stopped because the budget was exceeded.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Whether anything was refused since the last call.
    pub(crate) fn take_exceeded(&self) -> Option<OverBudget> {
        let exceeded = self.exceeded.swap(false, Ordering::Relaxed);
        exceeded.then(|| {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            OverBudget(self.limit)
        })
    }

    /// A charge of nothing yet.
    pub(crate) fn empty_charge(self: &Arc<Self>) -> MemoryCharge {
        MemoryCharge { budget: Arc::clone(self), bytes: 0 }
    }

    /// Charges some bytes.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Result<MemoryCharge, OverBudget> {
        let mut charge = self.empty_charge();
        charge.grow(bytes)?;
        Ok(charge)
    }
}

impl MemoryCharge {
    /// Charges some more bytes.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        let MemoryBudget { limit, used, exceeded, .. } = &*self.budget;
        let more = |used: u64| used.checked_add(bytes).filter(|used| used <= limit);
        match used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => {
                exceeded.store(true, Ordering::Relaxed);
                Err(OverBudget(*limit))
            }
        }
    }
}

impl MemoryCharge {
    /// Charges some more bytes for what can be left out, unless half of the budget is in use. Returns whether it did.
    pub(crate) fn grow_for_extra(&mut self, bytes: u64) -> bool {
        let MemoryBudget { limit, used, .. } = &*self.budget;
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit / 2);
        let charged = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.bytes += if charged { bytes } else { 0 };
        charged
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_limited_and_given_back() {
        let budget = MemoryBudget::new(10);
        let mut first = budget.charge(4).unwrap();
        first.grow(5).unwrap();
        assert_eq!((budget.used(), budget.take_exceeded()), (9, None));
        assert_eq!(budget.charge(2).unwrap_err(), OverBudget(10));
        assert_eq!(first.grow(u64::MAX), Err(OverBudget(10)));
        assert_eq!((budget.take_exceeded(), budget.take_exceeded()), (Some(OverBudget(10)), None));
        drop(first);
        assert_eq!((budget.used(), budget.refusals()), (0, 1));
        let mut half = budget.charge(3).unwrap();
        assert!(half.grow_for_extra(2) && !half.grow_for_extra(1));
        assert_eq!((budget.used(), budget.take_exceeded()), (5, None));
        drop(half);
        assert!(budget.charge(10).is_ok());
    }
}
