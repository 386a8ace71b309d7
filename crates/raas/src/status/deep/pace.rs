//! Limits the bytes that are read in a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Keeps the readers of all threads together below a rate.
pub(super) struct Pace {
    /// Bytes in a second.
    rate: Option<u64>,
    begun: Instant,
    passed: AtomicU64,
}

impl Pace {
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self { rate, begun: Instant::now(), passed: AtomicU64::new(0) }
    }

    /// Counts bytes that were read, and waits if they came too fast.
    pub(super) fn passed(&self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let total = self.passed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        thread::sleep(too_early(total, rate, self.begun.elapsed()));
    }
}

/// How long after `elapsed` this number of bytes is due.
fn too_early(total: u64, rate: u64, elapsed: Duration) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a part in 2^53 of the time does not matter")]
    let due = Duration::try_from_secs_f64(total as f64 / rate as f64).unwrap_or(Duration::MAX);
    due.saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_waits_until_its_bytes_are_due() {
        let second = Duration::from_secs(1);
        assert_eq!(too_early(100, 100, Duration::ZERO), second);
        assert_eq!(too_early(300, 100, second), 2 * second);
        assert_eq!(too_early(100, 100, 2 * second), Duration::ZERO);
    }
}
