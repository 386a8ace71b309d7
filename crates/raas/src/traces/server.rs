//! The traces of a server: spans of what takes long.

use std::time::Duration;

use raas_server::{AttributeValue, SlowWork, SpanCounts, TraceReceiver, Traces};
use raas_traces::{Counts, Report, Span, SpanContext, SpanKind, Tracer, Value};

use super::{PATIENCE, start};

/// The traces of a server. When this is dropped, the last spans are sent, for a short time.
pub(crate) struct ServerTraces {
    tracer: Option<Tracer>,
    slower_than: Duration,
}

impl ServerTraces {
    /// Starts a tracer, if the environment names a collector. The log must have been started.
    pub(crate) fn start(slower_than: Duration) -> Self {
        let started = start(&|warning| tracing::warn!("{warning}"), |report| match report {
            Report::Failing(error) => {
                tracing::warn!(error, "cannot send traces; the metrics count the spans that are dropped");
            }
            Report::Recovered => tracing::info!("traces are sent again"),
        });
        let tracer = started.map(|(tracer, url)| {
            let ms = slower_than.as_millis();
            tracing::info!(
                url,
                "sending traces of requests and of reading metadata that take {ms} ms or longer"
            );
            tracer
        });
        Self { tracer, slower_than }
    }

    /// What the server gives spans to. None if there are no traces.
    pub(crate) fn receiver(&self) -> Option<Traces> {
        let tracer = self.tracer.clone()?;
        Some(Traces::new(self.slower_than, Receiver(tracer)))
    }
}

impl Drop for ServerTraces {
    fn drop(&mut self) {
        if let Some(unsent) = self.tracer.as_ref().and_then(|tracer| tracer.finish(PATIENCE)) {
            tracing::warn!(error = unsent.why, "{} spans were not sent before the end", unsent.spans);
        }
    }
}

#[derive(Debug)]
struct Receiver(Tracer);

impl TraceReceiver for Receiver {
    fn take(&self, work: SlowWork) {
        self.0.send(span(work));
    }

    fn counts(&self) -> SpanCounts {
        let Counts { sent, dropped, failed } = self.0.counts();
        SpanCounts { sent, dropped, failed }
    }
}

/// The span of slow work. A slow request is worth a span also if its client records no trace.
fn span(work: SlowWork) -> Span {
    let parent = work.traceparent.as_deref().and_then(SpanContext::parse);
    let kind = if work.is_request { SpanKind::Server } else { SpanKind::Internal };
    let mut span = Span::new(work.name, kind, parent).ended_after(work.duration);
    for (key, value) in work.attributes {
        let value = match value {
            AttributeValue::Text(text) => Value::Text(text),
            AttributeValue::Number(number) => Value::from(number),
            AttributeValue::Truth(truth) => Value::Truth(truth),
        };
        span.set(key, value);
    }
    if let Some(error) = work.error {
        span.fail(&error);
    }
    span
}
