//! Pulls, counted beside the requests: a request leaves what it was for in a queue and goes on. Whoever counts comes by
//! every tenth of a second, and whenever somebody looks.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use raas_types::Utc;
use raas_types::pulls::{Counted, Counter, Fetch};

use super::{Fetched, Pulls};
use crate::notify::{Notice, Notifier};

/// As many as may wait to be counted: enough for 160,000 a second.
const MOST: usize = 16_384;

/// How often what waits is counted.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// A request that was answered well.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) fetched: Fetched,
    /// Whether the client got it: GET and a whole answer.
    pub(crate) got: bool,
    pub(crate) client: IpAddr,
    pub(crate) user_agent: Option<Box<str>>,
    /// Where pulls are told: the host that was asked, and whether by TLS.
    pub(crate) host: Option<(Box<str>, bool)>,
}

/// The queue, and what counts.
#[derive(Debug)]
pub(crate) struct Tally {
    queue: SyncSender<Asked>,
    counting: Mutex<Counting>,
    uncounted: AtomicU64,
    /// Who is told of pulls.
    pub(crate) notifier: Option<Notifier>,
}

#[derive(Debug)]
struct Counting {
    waiting: Receiver<Asked>,
    counter: Counter,
}

impl Tally {
    pub(crate) fn new(notifier: Option<Notifier>) -> Self {
        let (queue, waiting) = sync_channel(MOST);
        let counting = Mutex::new(Counting { waiting, counter: Counter::default() });
        Self { queue, counting, uncounted: AtomicU64::new(0), notifier }
    }

    /// Leaves a request to be counted. It waits for nothing: where too many wait already, that one is not.
    pub(crate) fn take(&self, asked: Asked) {
        if self.queue.try_send(asked).is_err() {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests that were not counted, since too many waited.
    pub(crate) fn uncounted(&self) -> u64 {
        self.uncounted.load(Ordering::Relaxed)
    }

    /// Counts all that wait.
    pub(crate) fn count(&self, pulls: &Pulls) {
        let mut counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let Counting { waiting, counter } = &mut *counting;
        // They came since this was done last, and a clock that is read for each costs more than its tenth of a second
        // is worth.
        let time = SystemTime::now();
        // No more than there may be now, so that it ends.
        for asked in waiting.try_iter().take(MOST) {
            let told = asked.fetched.told();
            let (vendor, repository) = (asked.fetched.vendor.as_str(), asked.fetched.repository.as_str());
            let counted = counter.count(&Fetch {
                time: Utc::of(time),
                client: asked.client,
                user_agent: asked.user_agent.as_deref().unwrap_or_default(),
                vendor,
                repository,
                kind: told.kind,
                got: asked.got,
                tag: told.tag,
                tags: &told.tags,
                digest: told.digest,
            });
            pulls.add(vendor, repository, &counted);
            if let (Some(notifier), Counted::Pull(label)) = (&self.notifier, &counted) {
                notifier.tell(Notice::new(time, &asked, label));
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
    use crate::metrics::What;

    #[test]
    fn a_request_waits_for_nobody_who_counts() {
        const MORE: usize = 3;
        let tally = Arc::new(Tally::new(None));
        let asked = || Asked {
            fetched: Fetched {
                vendor: "acme".parse().unwrap(),
                repository: "app".parse().unwrap(),
                what: What::Tags,
            },
            got: true,
            client: Ipv4Addr::LOCALHOST.into(),
            user_agent: None,
            host: None,
        };
        let counting = tally.counting.lock().unwrap();
        let (done, is_done) = mpsc::channel();
        let taking = Arc::clone(&tally);
        thread::spawn(move || {
            (0..MOST + MORE).for_each(|_| taking.take(asked()));
            done.send(()).unwrap();
        });
        is_done.recv_timeout(Duration::from_secs(20)).expect("nothing is waited for, be the queue full");
        assert_eq!(tally.uncounted(), MORE as u64);
        drop(counting);
        tally.count(&Pulls::default());
        tally.take(asked());
        assert_eq!(tally.uncounted(), MORE as u64, "there is room again");
    }
}
