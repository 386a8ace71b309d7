//! Options of `raas serve` for metrics and notifications.

use std::net::SocketAddr;
use std::sync::Arc;

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
}

impl ObservabilityArgs {
    /// Checks the options before the server starts.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.notify().map(drop)
    }

    fn notify(&self) -> Result<Option<Notify>, Failure> {
        let Some(url) = self.notify.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
        let authorization = std::env::var("RAAS_NOTIFY_AUTHORIZATION").ok().filter(|text| !text.is_empty());
        let notify = Notify::new(url, authorization.as_deref()).map_err(|error| {
            Failure::new(Kind::Usage, format!("--notify: {error}"))
                .hint("give a password in the environment: RAAS_NOTIFY_AUTHORIZATION='Bearer …'")
        })?;
        Ok(Some(notify))
    }

    /// Adds these arguments to the server's options. Binds the port for Prometheus.
    pub(super) async fn options(&self, options: Options) -> Result<Options, Failure> {
        let metrics = match self.metrics {
            Some(address) => Some(Arc::new(bind(address).await?.0)),
            None => None,
        };
        Ok(Options { metrics, notify: self.notify()?, ..options })
    }
}
