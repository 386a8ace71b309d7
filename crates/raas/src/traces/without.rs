//! The place of `traces.rs` in a build without the feature `traces`: it sends nothing, and says so if the environment names
//! a collector.

use std::time::Duration;

use raas_base::failure::Failure;
use raas_server::Traces;

/// Runs a command.
///
/// # Errors
/// Those of the command.
pub(crate) fn command<T>(
    _name: &'static str,
    _vendor: Option<&str>,
    warn: &dyn Fn(&str),
    run: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    if let Some(warning) = warning(&variable) {
        warn(&format!("Note: {warning}"));
    }
    run()
}

/// Does a part of the work.
///
/// # Errors
/// Those of the work.
pub(crate) fn stage<T>(_name: &'static str, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    run()
}

/// Sets nothing.
pub(crate) fn set<T>(_key: &'static str, _value: T) {}

/// No span.
pub(crate) fn current() -> Parent {
    Parent
}

/// No span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parent;

impl Parent {
    /// Does a part of the work.
    pub(crate) fn stage<T>(
        self,
        name: &'static str,
        run: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        stage(name, run)
    }
}

/// A server without traces.
pub(crate) struct ServerTraces;

impl ServerTraces {
    pub(crate) fn start(_slower_than: Duration) -> Self {
        if let Some(warning) = warning(&variable) {
            tracing::warn!("{warning}");
        }
        Self
    }

    pub(crate) fn receiver(&self) -> Option<Traces> {
        None
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What to say if the environment asks for traces.
fn warning(variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let value = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let is =
        |name: &str, word: &str| value(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(word));
    let endpoints = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    let name = endpoints.into_iter().find(|name| value(name).is_some())?;
    let is_off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
    (!is_off).then(|| {
        format!("{name} is set, but no traces are sent: this raas was built without the feature `traces`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_gets_nothing_is_one_line() {
        let said = |variables: &[(&str, &str)]| {
            warning(&|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let on = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://hunter2");
        let line = said(&[on]).expect("the environment asks for traces");
        assert!(
            line.contains("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set") && !line.contains("hunter2"),
            "{line}"
        );
        for off in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[on, ("OTEL_SDK_DISABLED", "true")],
            &[on, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(said(off), None, "{off:?}");
        }
    }
}
