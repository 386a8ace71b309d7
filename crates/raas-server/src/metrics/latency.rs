//! A histogram of the time until an answer begins.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds in microseconds. An answer from memory takes tens of microseconds, an answer from a bucket
/// thousands.
const BOUNDS: [u64; 10] = [50, 100, 250, 500, 1_000, 5_000, 25_000, 100_000, 1_000_000, 10_000_000];

/// A histogram.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// The requests up to each bound and above the bound before it. The last bucket is above all bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// The sum of all times, in microseconds.
    sum: AtomicU64,
}

impl Latency {
    pub(crate) fn add(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Each upper bound in seconds, `+Inf` last, with the number of requests up to it.
    pub(crate) fn cumulated(&self) -> Vec<(String, u64)> {
        let bounds = BOUNDS.iter().map(|bound| (*bound as f64 / 1e6).to_string());
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let mut sum = 0;
        bounds
            .zip(&self.buckets)
            .map(|(bound, bucket)| {
                sum += bucket.load(Ordering::Relaxed);
                (bound, sum)
            })
            .collect()
    }

    /// The sum of all times, in seconds.
    pub(crate) fn sum(&self) -> f64 {
        self.sum.load(Ordering::Relaxed) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let latency = Latency::default();
        for micros in [1, 50, 51, 2_000, 60_000_000] {
            latency.add(Duration::from_micros(micros));
        }
        let found = latency.cumulated();
        let of = |bound: &str| found.iter().find(|(b, _)| b == bound).unwrap().1;
        assert_eq!([of("0.00005"), of("0.0001"), of("0.005"), of("10"), of("+Inf")], [2, 3, 4, 4, 5]);
        assert_eq!(latency.sum(), 60.002102);
    }
}
