//! What a server tells of slow work, for traces. Who sends the traces is not the server's business.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Receives what took long. Requests call it, so it must not wait.
pub trait TraceReceiver: Send + Sync {
    /// Takes one piece of work.
    fn take(&self, work: SlowWork);

    /// The numbers since the start.
    fn counts(&self) -> SpanCounts;
}

/// How many spans were sent and dropped, and how many requests to the collector failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Spans that the collector has taken.
    pub sent: u64,
    /// Spans that were dropped.
    pub dropped: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// Work that took long, and has just ended.
#[derive(Debug, Clone)]
pub struct SlowWork {
    /// The name, which is the same for all work of its kind.
    pub name: String,
    /// Whether the work was the answer to a request.
    pub is_request: bool,
    /// How long it took.
    pub duration: Duration,
    /// The `traceparent` of the client, as it was sent.
    pub traceparent: Option<String>,
    /// Names of OpenTelemetry's semantic conventions, and names of raas, which begin with `raas.`.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// What failed, if it failed. It may be empty.
    pub error: Option<String>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
    /// A truth value.
    Truth(bool),
}

/// Which work is slow, and who receives it.
#[derive(Clone)]
pub struct Traces {
    slower_than: Duration,
    receiver: Arc<dyn TraceReceiver>,
}

impl Traces {
    /// Gives the receiver what takes this long or longer.
    pub fn new(slower_than: Duration, receiver: impl TraceReceiver + 'static) -> Self {
        Self { slower_than, receiver: Arc::new(receiver) }
    }

    pub(crate) fn is_slow(&self, duration: Duration) -> bool {
        duration >= self.slower_than
    }

    pub(crate) fn take(&self, work: SlowWork) {
        self.receiver.take(work);
    }

    /// Name, help text and value of each counter.
    pub(crate) fn counters(&self) -> [(&'static str, &'static str, u64); 3] {
        let SpanCounts { sent, dropped, failed } = self.receiver.counts();
        [
            ("raas_trace_spans_sent_total", "Spans of slow work that the collector has taken.", sent),
            (
                "raas_trace_spans_dropped_total",
                "Spans of slow work that were dropped, because the collector did not take them in time.",
                dropped,
            ),
            ("raas_trace_requests_failed_total", "Failed requests to the collector of traces.", failed),
        ]
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("slower_than", &self.slower_than).finish_non_exhaustive()
    }
}

impl SlowWork {
    /// Sets an attribute that has a value.
    pub(crate) fn set(&mut self, key: &'static str, value: Option<impl Into<String>>) {
        self.attributes.extend(value.map(|text| (key, AttributeValue::Text(text.into()))));
    }
}
