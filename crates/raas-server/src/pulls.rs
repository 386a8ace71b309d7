//! Counts pulls outside of the requests: a request only queues what it was for. The queue is counted every tenth of a
//! second, and when the metrics are read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use raas_types::Utc;
use raas_types::pulls::{Counted, Counter, Fetch};

use crate::fetched::{Countable, CountableRequest};
use crate::metrics::PullCounters;
use crate::notify::{Notifier, PullEvent};

/// The maximal number of queued requests, enough for 160,000 requests a second.
const MAX: usize = 16_384;

/// How often the queue is counted.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// The queue of requests to be counted.
#[derive(Debug)]
pub(crate) struct PullQueue {
    queue: SyncSender<CountableRequest>,
    counting: Mutex<Counting>,
    uncounted: AtomicU64,
    /// Sends notifications of pulls.
    pub(crate) notifier: Option<Notifier<PullEvent>>,
}

#[derive(Debug)]
struct Counting {
    waiting: Receiver<CountableRequest>,
    counter: Counter,
}

impl PullQueue {
    pub(crate) fn new(notifier: Option<Notifier<PullEvent>>) -> Self {
        let (queue, waiting) = sync_channel(MAX);
        let counting = Mutex::new(Counting { waiting, counter: Counter::default() });
        Self { queue, counting, uncounted: AtomicU64::new(0), notifier }
    }

    /// Queues a request without waiting. A request that finds the queue full is not counted.
    pub(crate) fn push(&self, request: CountableRequest) {
        if self.queue.try_send(request).is_err() {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of requests that found the queue full.
    pub(crate) fn uncounted(&self) -> u64 {
        self.uncounted.load(Ordering::Relaxed)
    }

    /// Counts all queued requests.
    pub(crate) fn count_into(&self, pulls: &PullCounters) {
        let mut counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let Counting { waiting, counter } = &mut *counting;
        // All queued requests get the same time. They are at most a tenth of a second old, and reading the clock for each
        // request is slow.
        let time = SystemTime::now();
        // The bound ends the loop although requests keep coming.
        for request in waiting.try_iter().take(MAX) {
            let Countable { fetched, got, user_agent, .. } = &*request.what;
            let fields = fetched.log_fields();
            let (vendor, repository) = (fetched.vendor.as_str(), fetched.repository.as_str());
            let counted = counter.count(&Fetch {
                time: Utc::of(time),
                client: request.client,
                user_agent: user_agent.as_deref().unwrap_or_default(),
                customer: fetched.key.as_ref().map_or("", |key| key.customer.as_str()),
                vendor,
                repository,
                kind: fields.kind,
                got: *got,
                tag: fields.tag,
                tags: &fields.tags,
                digest: fields.digest,
            });
            pulls.add(vendor, repository, &counted);
            if let (Some(notifier), Counted::Pull(label)) = (&self.notifier, &counted) {
                notifier.send(PullEvent::new(time, &request, label));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;
    use crate::fetched::{Fetched, FetchedItem};

    #[test]
    fn a_full_queue_does_not_block_requests() {
        const MORE: usize = 3;
        let pull_queue = Arc::new(PullQueue::new(None));
        let fetched = Fetched {
            vendor: "acme".parse().unwrap(),
            repository: "app".parse().unwrap(),
            item: FetchedItem::Tags,
            key: None,
        };
        let what = Arc::new(Countable { fetched, got: true, user_agent: None, host: None });
        let request =
            move || CountableRequest { client: Ipv4Addr::LOCALHOST.into(), what: Arc::clone(&what) };
        let counting = pull_queue.counting.lock().unwrap();
        let (done, is_done) = mpsc::channel();
        let (taking, made) = (Arc::clone(&pull_queue), request.clone());
        thread::spawn(move || {
            (0..MAX + MORE).for_each(|_| taking.push(made()));
            done.send(()).unwrap();
        });
        is_done.recv_timeout(Duration::from_secs(20)).expect("push never blocks, even if the queue is full");
        assert_eq!(pull_queue.uncounted(), MORE as u64);
        drop(counting);
        pull_queue.count_into(&PullCounters::default());
        pull_queue.push(request());
        assert_eq!(pull_queue.uncounted(), MORE as u64, "the queue has room again");
    }
}
