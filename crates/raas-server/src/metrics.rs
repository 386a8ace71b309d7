//! The server's counters. A counter that exists is an atomic; only a new combination of labels takes a write lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::StatusCode;
use raas_types::pulls::Counted;

use crate::route::Api;

mod labels;
mod latency;
mod redirected;

pub(crate) use labels::labels;
pub(crate) use latency::Latency;
pub(crate) use redirected::{RedirectCounters, RedirectTarget};

/// All counters since the server started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) pulls: PullCounters,
    /// By API and class of status.
    pub(crate) responses: [[AtomicU64; 5]; 3],
    /// By API.
    pub(crate) latencies: [Latency; 3],
    pub(crate) sent: AtomicU64,
    /// By name.
    pub(crate) certificate_failures: CounterFamily,
    /// The open connections.
    pub(crate) connections: AtomicU64,
    pub(crate) closed_connections: ClosedConnections,
}

/// The connections that the server closed to have room for others.
#[derive(Debug, Default)]
pub(crate) struct ClosedConnections {
    /// New ones of an address with too many.
    address: AtomicU64,
    /// Those without a complete request.
    unfinished: AtomicU64,
}

impl ClosedConnections {
    pub(crate) fn over_address(&self) {
        self.address.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unfinished(&self) {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers by reason.
    pub(crate) fn all(&self) -> [(&'static str, u64); 2] {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        [("address", read(&self.address)), ("unfinished", read(&self.unfinished))]
    }
}

/// Pulls and similar requests by vendor and repository.
#[derive(Debug, Default)]
pub(crate) struct PullCounters {
    /// By tag.
    pub(crate) pulls: CounterFamily,
    /// By kind.
    pub(crate) attachments: CounterFamily,
    pub(crate) polls: CounterFamily,
    pub(crate) mirrors: CounterFamily,
}

impl PullCounters {
    pub(crate) fn add(&self, vendor: &str, repository: &str, counted: &Counted<'_>) {
        let (vendor, repository) = (("vendor", vendor), ("repository", repository));
        match counted {
            Counted::Pull(tag) => self.pulls.add(&[vendor, repository, ("tag", tag)], 1),
            Counted::Attachment(kind) => {
                self.attachments.add(&[vendor, repository, ("kind", kind.name())], 1);
            }
            Counted::Poll => self.polls.add(&[vendor, repository], 1),
            Counted::Mirror => self.mirrors.add(&[vendor, repository], 1),
            Counted::Again | Counted::Other => {}
        }
    }
}

impl Metrics {
    /// Adds a name to the counter of failures, so that it is there from the start.
    pub(crate) fn certificate_wanted(&self, name: &str) {
        self.certificate_failures.add(&[("name", name)], 0);
    }

    /// Counts a failure to obtain a certificate.
    pub(crate) fn certificate_failed(&self, name: &str) {
        self.certificate_failures.add(&[("name", name)], 1);
    }

    /// Counts an answer, with the time from the request to the beginning of the answer.
    pub(crate) fn answered(&self, api: Api, status: StatusCode, after: Duration) {
        self.latencies[api as usize].add(after);
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.responses[api as usize][class].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the bytes of a body.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Counters with the same name and different labels.
#[derive(Debug, Default)]
pub(crate) struct CounterFamily {
    /// By the labels in Prometheus' text format.
    numbers: RwLock<HashMap<Box<str>, Arc<AtomicU64>>>,
}

impl CounterFamily {
    /// The maximal number of different labels. Further labels share one counter.
    const MAX: usize = 20_000;

    fn add(&self, labels: &[(&str, &str)], count: u64) {
        let written = self::labels(labels);
        self.number(&written).fetch_add(count, Ordering::Relaxed);
    }

    fn number(&self, labels: &str) -> Arc<AtomicU64> {
        if let Some(number) = self.numbers.read().unwrap_or_else(PoisonError::into_inner).get(labels) {
            return Arc::clone(number);
        }
        let mut numbers = self.numbers.write().unwrap_or_else(PoisonError::into_inner);
        let labels = if numbers.len() < Self::MAX { labels } else { "overflow=\"true\"" };
        Arc::clone(numbers.entry(labels.into()).or_default())
    }

    /// All counters, in the order of their labels.
    pub(crate) fn all(&self) -> Vec<(Box<str>, u64)> {
        let numbers = self.numbers.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            numbers.iter().map(|(labels, n)| (labels.clone(), n.load(Ordering::Relaxed))).collect();
        all.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        let family = CounterFamily::default();
        for n in 0..CounterFamily::MAX + 10 {
            family.add(&[("tag", &n.to_string())], 1);
        }
        family.add(&[("tag", "7")], 1);
        let all = family.all();
        assert_eq!(all.len(), CounterFamily::MAX + 1);
        assert!(all.contains(&("overflow=\"true\"".into(), 10)));
        assert!(all.contains(&("tag=\"7\"".into(), 2)));
    }
}
