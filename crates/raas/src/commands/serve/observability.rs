//! Options of `raas serve` for metrics, notifications and traces.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use raas_server::{Notify, Options};

use super::{address, bind};
use raas_base::failure::{Failure, Kind};

/// What a server tells others.
#[derive(Debug, Args)]
pub(super) struct ObservabilityArgs {
    /// Serve Prometheus metrics at /metrics of this address and port
    #[arg(long, value_name = "ADDRESS", value_parser = address::parse)]
    metrics: Option<SocketAddr>,

    /// Send a notification of each pull to this URL
    ///
    /// The format is that of CNCF distribution's notifications. The value of RAAS_NOTIFY_AUTHORIZATION is sent as the
    /// Authorization header.
    #[arg(long, value_name = "URL", env = "RAAS_NOTIFY", hide_env_values = true)]
    notify: Option<String>,

    /// Send a notification of each published, removed or deprecated tag to this URL
    ///
    /// The format is that of --notify. The value of RAAS_NOTIFY_PUBLICATIONS_AUTHORIZATION is sent as the Authorization
    /// header. Every server of a vendor sends the notifications; those of the same change have the same id.
    #[arg(long, value_name = "URL", env = "RAAS_NOTIFY_PUBLICATIONS", hide_env_values = true)]
    notify_publications: Option<String>,

    /// Trace requests and readings of metadata that take this long, such as 2s; 0ms traces all
    ///
    /// The server sends traces only if a variable of OpenTelemetry, such as OTEL_EXPORTER_OTLP_ENDPOINT, names a collector.
    #[arg(
        long,
        value_name = "TIME",
        env = "RAAS_TRACE_SLOWER_THAN",
        default_value = "500ms",
        value_parser = time
    )]
    pub(super) trace_slower_than: Duration,
}

/// A time on the command line: `500ms`, `2s`.
fn time(text: &str) -> Result<Duration, String> {
    /// A day, in milliseconds.
    const MAX: u64 = 86_400_000;
    let parsed = match text.strip_suffix("ms") {
        Some(number) => number.parse().ok(),
        None => text.strip_suffix('s').and_then(|number| number.parse::<u64>().ok()?.checked_mul(1000)),
    };
    let parsed = parsed.filter(|milliseconds: &u64| *milliseconds <= MAX && !text.starts_with('+'));
    parsed
        .map(Duration::from_millis)
        .ok_or_else(|| "expected a number with ms or s, such as 500ms".to_owned())
}

/// An endpoint of notifications on the command line.
struct Endpoint<'a> {
    option: &'static str,
    url: Option<&'a str>,
    /// The variable with the value of the `Authorization` header.
    authorization: &'static str,
}

impl Endpoint<'_> {
    fn read(&self) -> Result<Option<Notify>, Failure> {
        let Self { option, url, authorization } = *self;
        let Some(url) = url.filter(|url| !url.is_empty()) else { return Ok(None) };
        let value = std::env::var(authorization).ok().filter(|text| !text.is_empty());
        let notify = Notify::new(url, value.as_deref()).map_err(|error| {
            Failure::new(Kind::Usage, format!("{option}: {error}"))
                .hint(format!("give a password in the environment: {authorization}='Bearer …'"))
        })?;
        Ok(Some(notify))
    }
}

impl ObservabilityArgs {
    /// Checks the options before the server starts.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.pulls().and(self.publications()).map(drop)
    }

    fn pulls(&self) -> Result<Option<Notify>, Failure> {
        let (url, authorization) = (self.notify.as_deref(), "RAAS_NOTIFY_AUTHORIZATION");
        Endpoint { option: "--notify", url, authorization }.read()
    }

    fn publications(&self) -> Result<Option<Notify>, Failure> {
        let url = self.notify_publications.as_deref();
        let authorization = "RAAS_NOTIFY_PUBLICATIONS_AUTHORIZATION";
        Endpoint { option: "--notify-publications", url, authorization }.read()
    }

    /// Adds these arguments to the server's options. Binds the port for Prometheus.
    pub(super) async fn options(&self, options: Options) -> Result<Options, Failure> {
        let metrics = match self.metrics {
            Some(address) => Some(Arc::new(bind(address).await?.0)),
            None => None,
        };
        let (notify, notify_publications) = (self.pulls()?, self.publications()?);
        Ok(Options { metrics, notify, notify_publications, ..options })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, milliseconds) in [("0ms", 0), ("500ms", 500), ("2s", 2000), ("86400s", 86_400_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)));
        }
        for bad in ["", "500", "ms", "-1ms", "+1s", "1.5s", "1 s", "1m", "86401s", "18446744073709551615s"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
