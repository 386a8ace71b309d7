//! Takes spans without waiting, and sends them to the collector in a thread of its own.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::collector::Collector;
use crate::otlp;
use crate::settings::Settings;
use crate::span::Span;

/// The most spans that wait to be sent: some megabytes. Further spans are dropped.
const MOST_WAITING: usize = 2048;

/// The most spans of one request.
const BATCH: usize = 512;

/// How long spans are gathered before they are sent.
const GATHER: Duration = Duration::from_secs(1);

/// The most attempts to send a batch. The pause after the first attempt doubles with each further attempt.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Sends spans to a collector. It is cheap to clone, and clones share their queue.
#[derive(Clone)]
pub struct Tracer(Arc<Shared>);

/// What is known of the delivery, for a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The collector does not take spans, for this reason. Comes once until it takes spans again.
    Failing(String),
    /// The collector takes spans again.
    Recovered,
}

/// How many spans were sent and dropped, and how many requests failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Spans that the collector has taken.
    pub sent: u64,
    /// Spans that were dropped.
    pub dropped: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// Spans that did not reach the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// Their number.
    pub spans: u64,
    /// The reason.
    pub why: String,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    spans: Vec<Span>,
    /// The number of spans that are being sent.
    in_hand: usize,
    /// Whether the tracer ends: the thread gathers no more, and makes no further attempts.
    is_ending: bool,
    /// Whether the thread has ended.
    has_ended: bool,
    /// Why the last request failed, if it did.
    problem: Option<String>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Tracer {
    /// Starts the thread. It connects when the first span comes.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(settings: Settings, report: impl Fn(Report) + Send + 'static) -> io::Result<Self> {
        let tracer = Self(Arc::default());
        let shared = Arc::clone(&tracer.0);
        let send_all = move || shared.send_all(settings, &report);
        thread::Builder::new().name("traces".into()).spawn(send_all)?;
        Ok(tracer)
    }

    /// Queues a span. It never waits for the collector: if too many spans wait already, the span is dropped and counted.
    pub fn send(&self, span: Span) {
        let mut waiting = self.0.lock();
        if waiting.spans.len() >= MOST_WAITING || waiting.has_ended {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.spans.push(span);
        // The thread sleeps until the first span, or until a batch is full.
        if waiting.spans.len() == 1 || waiting.spans.len() == BATCH {
            self.0.changed.notify_all();
        }
    }

    /// The numbers since the start.
    pub fn counts(&self) -> Counts {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Shared { sent, dropped, failed, .. } = &*self.0;
        Counts { sent: read(sent), dropped: read(dropped), failed: read(failed) }
    }

    /// Sends the spans that wait, and takes no more. Returns after `limit` at the latest, whatever the collector does, and
    /// says what was not sent.
    pub fn finish(&self, limit: Duration) -> Option<Unsent> {
        let shared = &*self.0;
        let mut waiting = shared.lock();
        waiting.is_ending = true;
        shared.changed.notify_all();
        let waits = shared.changed.wait_timeout_while(waiting, limit, |waiting| !waiting.has_ended);
        let (waiting, _) = waits.unwrap_or_else(PoisonError::into_inner);
        let left = waiting.spans.len() + waiting.in_hand;
        let spans = left as u64 + shared.dropped.load(Ordering::Relaxed);
        let silent = || format!("the collector did not answer within {} s", limit.as_secs_f32());
        (spans > 0).then(|| Unsent { spans, why: waiting.problem.clone().unwrap_or_else(silent) })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends batches until the tracer ends and none is left.
    fn send_all(&self, settings: Settings, report: &dyn Fn(Report)) {
        let mut collector = None;
        while let Some(batch) = self.next_batch() {
            // Here and not before: the first client of the process reads the certificates of the machine.
            let collector = collector.get_or_insert_with(|| Collector::new(settings.clone()));
            let is_sent = self.deliver(collector, &batch, report);
            let number = if is_sent { &self.sent } else { &self.dropped };
            // With the lock, so that no span is counted twice or not at all.
            let mut waiting = self.lock();
            number.fetch_add(batch.len() as u64, Ordering::Relaxed);
            waiting.in_hand = 0;
        }
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// Waits for spans. None if the tracer ends and there are none.
    fn next_batch(&self) -> Option<Vec<Span>> {
        let is_empty = |waiting: &mut Waiting| waiting.spans.is_empty() && !waiting.is_ending;
        let waiting = self.changed.wait_while(self.lock(), is_empty).unwrap_or_else(PoisonError::into_inner);
        let is_small = |waiting: &mut Waiting| waiting.spans.len() < BATCH && !waiting.is_ending;
        let gathered = self.changed.wait_timeout_while(waiting, GATHER, is_small);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        let length = waiting.spans.len().min(BATCH);
        let rest = waiting.spans.split_off(length);
        let batch = std::mem::replace(&mut waiting.spans, rest);
        waiting.in_hand = batch.len();
        (!batch.is_empty()).then_some(batch)
    }

    /// Sends a batch, again and again if that may help. Returns whether the collector has it.
    fn deliver(&self, collector: &Collector, batch: &[Span], report: &dyn Fn(Report)) -> bool {
        let body = otlp::export_request(collector.resource(), batch);
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let error = match collector.post(&body) {
                Ok(()) => {
                    if self.lock().problem.take().is_some() {
                        report(Report::Recovered);
                    }
                    return true;
                }
                Err(error) => error,
            };
            self.failed.fetch_add(1, Ordering::Relaxed);
            if self.lock().problem.replace(error.to_string()).is_none() {
                report(Report::Failing(error.to_string()));
            }
            // A random time from half the pause to all of it, so that many servers do not send at the same moment.
            let random = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            let is_last = attempt == ATTEMPTS || !error.is_temporary();
            if is_last || !self.sleep(random.max(error.pause())) {
                return false;
            }
            pause *= 2;
        }
        false
    }

    /// Sleeps, but not beyond the beginning of the end. Returns whether there is time for another attempt.
    fn sleep(&self, pause: Duration) -> bool {
        let slept = self.changed.wait_timeout_while(self.lock(), pause, |waiting| !waiting.is_ending);
        !slept.unwrap_or_else(PoisonError::into_inner).0.is_ending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use raas_testkit::http::{End, Reply};
    use raas_testkit::otlp::Collector as TestCollector;

    use super::*;
    use crate::span::SpanKind;

    const LIMIT: Duration = Duration::from_secs(20);

    fn settings(url: &str) -> Settings {
        let variable = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(url.to_owned()),
            "OTEL_EXPORTER_OTLP_HEADERS" => Some("api-key=hunter2,x-scope=a%20b".to_owned()),
            _ => None,
        };
        Settings::read(&[("service.version", "1".into())], &variable).unwrap().unwrap()
    }

    fn span(name: &str) -> Span {
        Span::new(name, SpanKind::Internal, None)
    }

    fn silent(_: Report) {}

    #[test]
    fn spans_reach_the_collector_with_their_attributes_and_the_headers() {
        let collector = TestCollector::start();
        let tracer = Tracer::start(settings(&collector.endpoint()), silent).unwrap();
        let mut parent = Span::new("GET", SpanKind::Server, None).ended_after(Duration::from_secs(2));
        let mut child = Span::new("work", SpanKind::Internal, Some(parent.context()));
        child.set("bytes", 300_u64);
        child.set("changed", true);
        child.set("tags", vec!["1.0".to_owned(), "latest".to_owned()]);
        child.end(Duration::from_millis(1500));
        parent.set("path", "/v2/");
        parent.fail("it broke");
        tracer.send(child);
        tracer.send(parent);
        assert_eq!(tracer.finish(LIMIT), None);
        assert_eq!(tracer.counts(), Counts { sent: 2, dropped: 0, failed: 0 });
        let spans = collector.spans();
        let (child, parent) = (&spans[0], &spans[1]);
        assert_eq!((child.name.as_str(), child.kind, child.error.as_ref()), ("work", 1, None));
        assert_eq!(child.attributes["bytes"], 300);
        assert_eq!(child.attributes["changed"], true);
        assert_eq!(child.attributes["tags"], serde_json::json!(["1.0", "latest"]));
        assert_eq!(child.duration, Duration::from_millis(1500));
        assert_eq!((parent.kind, parent.error.as_deref()), (2, Some("it broke")));
        assert_eq!((&child.trace, &child.parent), (&parent.trace, &Some(parent.id.clone())));
        assert_eq!((parent.duration, parent.parent.as_ref()), (Duration::from_secs(2), None));
        assert_eq!(parent.resource["service.name"], "raas");
        assert_eq!(parent.resource["service.version"], "1");
        let request = &collector.requests()[0];
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert_eq!((&*request.headers["api-key"], &*request.headers["x-scope"]), ("hunter2", "a b"));
    }

    #[test]
    fn a_collector_that_hangs_delays_the_end_by_the_limit_only() {
        let collector =
            TestCollector::scripted(|_| Reply::new(200, "").with("Content-Length", 9).then(End::Hang));
        // A head without an end.
        let silent_collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent_collector.local_addr().unwrap());
        let limit = Duration::from_millis(300);
        for url in [collector.endpoint(), url] {
            let tracer = Tracer::start(settings(&url), silent).unwrap();
            tracer.send(span("x"));
            let begun = Instant::now();
            let unsent = tracer.finish(limit).expect("nobody took the span");
            assert_eq!((unsent.spans, unsent.why.as_str()), (1, "the collector did not answer within 0.3 s"));
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    }

    #[test]
    fn a_collector_that_refuses_is_asked_once_at_the_end_and_the_reason_has_no_secret() {
        let refusing = TestCollector::scripted(|_| Reply::new(401, "hunter2"));
        let busy = TestCollector::scripted(|_| Reply::new(503, ""));
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (url, why) in [
            (refusing.endpoint(), "the collector answers with the status 401"),
            (busy.endpoint(), "the collector answers with the status 503"),
            (format!("http://{nobody}"), "no connection"),
        ] {
            let tracer = Tracer::start(settings(&url), silent).unwrap();
            tracer.send(span("x"));
            let begun = Instant::now();
            let unsent = tracer.finish(LIMIT).expect("nobody took the span");
            assert!(unsent.spans == 1 && unsent.why.starts_with(why), "{unsent:?}");
            assert!(!unsent.why.contains("hunter2"), "{unsent:?}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
        assert_eq!(busy.requests().len(), 1);
    }

    #[test]
    fn a_busy_collector_is_asked_again_and_the_log_says_so_once() {
        let asked = AtomicU64::new(0);
        let collector = TestCollector::scripted(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Reply::new(503, ""),
            _ => Reply::new(200, ""),
        });
        let (reports, reported) = channel();
        let report = move |report| reports.send(report).unwrap();
        let tracer = Tracer::start(settings(&collector.endpoint()), report).unwrap();
        tracer.send(span("x"));
        let next = || reported.recv_timeout(LIMIT).unwrap();
        assert_eq!(next(), Report::Failing("the collector answers with the status 503".into()));
        assert_eq!(next(), Report::Recovered);
        assert_eq!(tracer.finish(LIMIT), None);
        assert_eq!(tracer.counts(), Counts { sent: 1, dropped: 0, failed: 2 });
    }

    #[test]
    fn spans_beyond_the_limit_are_dropped_and_counted_without_waiting() {
        let silent_collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent_collector.local_addr().unwrap());
        let tracer = Tracer::start(settings(&url), silent).unwrap();
        let begun = Instant::now();
        let many = MOST_WAITING + BATCH + 100;
        for _ in 0..many {
            tracer.send(span("x"));
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let dropped = tracer.counts().dropped;
        assert!((100..=100 + BATCH as u64).contains(&dropped), "{dropped}");
        let unsent = tracer.finish(Duration::ZERO).expect("nobody took the spans");
        assert_eq!(unsent.spans, many as u64);
    }

    #[test]
    fn no_redirect_is_followed_with_the_headers() {
        let elsewhere = TestCollector::start();
        let to = elsewhere.endpoint();
        let collector = TestCollector::scripted(move |_| Reply::new(307, "").with("Location", &to));
        let tracer = Tracer::start(settings(&collector.endpoint()), silent).unwrap();
        tracer.send(span("x"));
        let unsent = tracer.finish(LIMIT).expect("nobody took the span");
        assert_eq!(unsent.why, "the collector answers with the status 307");
        assert!(elsewhere.requests().is_empty());
    }
}
