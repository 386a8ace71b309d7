//! Traces for OpenTelemetry, of what raas publishes and of slow work of a server.
//!
//! A command that publishes is one span, below that of the CI job if `TRACEPARENT` names one. [`stage`] makes a span of a
//! part of the work, below the span that is open in the same thread. Nothing of this does anything unless the environment
//! names a collector.

mod open;
mod server;

use std::sync::OnceLock;
use std::time::Duration;

use raas_base::failure::{Failure, Kind};
use raas_base::interrupt::CleanUp;
use raas_traces::{Report, Settings, SpanContext, Tracer, Unsent, Value};

use open::OpenSpan;
pub(crate) use server::ServerTraces;

/// How long the end of a command waits for the collector.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long an interrupted command waits for it.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// The tracer of a command. It is not set if there are no traces.
static TRACER: OnceLock<Tracer> = OnceLock::new();

/// Runs a command as one span, and sends what is left of its trace. The failure of a trace is a line for `warn`, and
/// nothing else.
///
/// # Errors
/// Those of the command.
pub(crate) fn command<T>(
    name: &'static str,
    vendor: Option<&str>,
    warn: &dyn Fn(&str),
    run: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let parent = variable("TRACEPARENT").and_then(|text| SpanContext::parse(&text));
    // A parent that is not recorded wants no spans of its children either.
    if parent.is_some_and(|parent| !parent.is_sampled()) {
        return run();
    }
    let Some((tracer, collector)) = start(&|warning| warn(&format!("Note: {warning}")), |_| {}) else {
        return run();
    };
    let tracer = TRACER.get_or_init(|| tracer);
    let interrupted = CleanUp::new(|| {
        open::interrupt(tracer);
        tracer.finish(SHORT_PATIENCE);
        None
    });
    let done = Parent(parent).stage(name, || {
        vendor.into_iter().for_each(|vendor| set("raas.vendor", vendor));
        run()
    });
    drop(interrupted);
    if let Some(unsent) = tracer.finish(PATIENCE) {
        let Unsent { spans, why } = unsent;
        warn(&format!(
            "Note: the trace is not complete: {spans} of its spans did not reach {collector}: {why}. The command itself is \
             not affected"
        ));
    }
    done
}

/// Makes a span of a part of the work.
///
/// # Errors
/// Those of the work.
pub(crate) fn stage<T>(name: &'static str, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    current().stage(name, run)
}

/// Sets an attribute of the span that is open in this thread.
pub(crate) fn set(key: &'static str, value: impl Into<Value>) {
    if TRACER.get().is_some() {
        open::set(key, value.into());
    }
}

/// The span that is open in this thread, for work in other threads.
pub(crate) fn current() -> Parent {
    Parent(open::current())
}

/// A span that may have children.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parent(Option<SpanContext>);

impl Parent {
    /// Makes a span of a part of the work, in any thread.
    pub(crate) fn stage<T>(
        self,
        name: &'static str,
        run: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(tracer) = TRACER.get() else { return run() };
        let span = OpenSpan::begin(tracer, name, self.0);
        let done = run();
        if let Err(failure) = &done {
            open::set("error.type", kind(failure.kind()).into());
            let message = [vec![failure.message().to_owned()], failure.causes()].concat().join(": ");
            open::fail(&message);
        }
        drop(span);
        done
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Usage => "usage",
        Kind::Refused => "refused",
        Kind::Environment => "environment",
    }
}

/// Starts a tracer, if the environment names a collector. Returns it with the collector's URL. A wrong variable is a
/// warning: it stops neither a publication nor a server.
fn start(warn: &dyn Fn(&str), report: impl Fn(Report) + Send + 'static) -> Option<(Tracer, String)> {
    let settings = Settings::read(&about(), &variable);
    let settings = settings.map_err(|error| warn(&format!("no traces are sent: {error}"))).ok()??;
    let collector = settings.collector();
    match Tracer::start(settings, report) {
        Ok(tracer) => Some((tracer, collector)),
        Err(error) => {
            warn(&format!("no traces are sent: cannot start a thread: {error}"));
            None
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What a collector learns of this process.
fn about() -> [(&'static str, String); 2] {
    [
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host.name", rustix::system::uname().nodename().to_string_lossy().into_owned()),
    ]
}
