//! The spans that are open: an interrupt ends all of them, in whatever threads they are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use raas_traces::{Span, SpanContext, SpanKind, Tracer, Value};

/// All open spans, by a number of their own.
static OPEN: Mutex<Open> = Mutex::new(Open { spans: BTreeMap::new(), next: 0 });

thread_local! {
    /// The open spans of this thread, the innermost last.
    static OF_THREAD: RefCell<Vec<(u64, SpanContext)>> = const { RefCell::new(Vec::new()) };
}

struct Open {
    spans: BTreeMap<u64, (Span, Instant)>,
    next: u64,
}

fn open() -> MutexGuard<'static, Open> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A span that is open in this thread. It ends, and is sent, when this is dropped.
pub(super) struct OpenSpan<'a> {
    number: u64,
    tracer: &'a Tracer,
}

impl<'a> OpenSpan<'a> {
    pub(super) fn begin(tracer: &'a Tracer, name: &'static str, parent: Option<SpanContext>) -> Self {
        let span = Span::new(name, SpanKind::Internal, parent);
        let mut open = open();
        open.next += 1;
        let number = open.next;
        OF_THREAD.with_borrow_mut(|spans| spans.push((number, span.context())));
        open.spans.insert(number, (span, Instant::now()));
        Self { number, tracer }
    }
}

impl Drop for OpenSpan<'_> {
    fn drop(&mut self) {
        OF_THREAD.with_borrow_mut(|spans| spans.retain(|(number, _)| *number != self.number));
        let ended = open().spans.remove(&self.number);
        if let Some((mut span, begun)) = ended {
            span.end(begun.elapsed());
            self.tracer.send(span);
        }
    }
}

/// The innermost open span of this thread.
pub(super) fn current() -> Option<SpanContext> {
    OF_THREAD.with_borrow(|spans| spans.last().map(|(_, context)| *context))
}

/// Sets an attribute of the innermost open span of this thread.
pub(super) fn set(key: &'static str, value: Value) {
    change(|span| span.set(key, value));
}

/// Marks the innermost open span of this thread as failed.
pub(super) fn fail(message: &str) {
    change(|span| span.fail(message));
}

fn change(change: impl FnOnce(&mut Span)) {
    let number = OF_THREAD.with_borrow(|spans| spans.last().map(|(number, _)| *number));
    let mut open = open();
    if let Some((span, _)) = number.and_then(|number| open.spans.get_mut(&number)) {
        change(span);
    }
}

/// Ends all open spans: a signal ends the run.
pub(super) fn interrupt(tracer: &Tracer) {
    for (mut span, begun) in std::mem::take(&mut open().spans).into_values() {
        span.fail("a signal has interrupted the run");
        span.end(begun.elapsed());
        tracer.send(span);
    }
}
