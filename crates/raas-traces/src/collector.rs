//! One request to a collector.

use std::time::Duration;

use raas_http::{Agent, AgentOptions, ClientError, ClientOptions};

use crate::otlp;
use crate::settings::Settings;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the rest of an answer may take, which nobody needs.
const SILENCE: Duration = Duration::from_secs(1);

/// The longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The collector, with the connection to it.
pub(crate) struct Collector {
    agent: Agent,
    settings: Settings,
}

/// Why the collector did not take the spans. The text has no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectorError {
    #[error("{0}")]
    Unreachable(#[from] ClientError),
    #[error("the collector answers with the status {status}")]
    Status {
        status: u16,
        /// The pause that it asks for.
        pause: Option<Duration>,
    },
}

impl CollectorError {
    /// Whether a later attempt may succeed. Source: OTLP, "Failures" and "Retryable Response Codes".
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(error) => !matches!(error, ClientError::Request(_)),
            Self::Status { status, .. } => matches!(status, 429 | 502 | 503 | 504),
        }
    }

    /// The pause that the collector asks for.
    pub(crate) fn pause(&self) -> Duration {
        match self {
            Self::Status { pause: Some(pause), .. } => (*pause).min(LONGEST_PAUSE),
            _ => Duration::ZERO,
        }
    }
}

impl Collector {
    /// A collector without a connection.
    pub(crate) fn new(settings: Settings) -> Self {
        let client = ClientOptions {
            connect: settings.timeout.min(CONNECT),
            answer: settings.timeout,
            proxies: settings.proxies.clone(),
            trust: settings.trust.clone(),
            identity: settings.identity.clone(),
            ..ClientOptions::default()
        };
        // A redirect could lead the headers, which may hold secrets, to another host.
        let options = AgentOptions { client, redirects: 0, silence: SILENCE };
        Self { agent: Agent::new(options), settings }
    }

    /// The attributes of the program, for each request.
    pub(crate) fn resource(&self) -> &[(String, String)] {
        &self.settings.resource
    }

    /// Sends a request of OTLP once.
    pub(crate) fn post(&self, body: &[u8]) -> Result<(), CollectorError> {
        /// The longest answer that is read so that the connection can be used again.
        const MAX: u64 = 64 * 1024;
        let mut request = self.agent.request(raas_http::http::Method::POST, self.settings.url.expose());
        for (name, value) in &self.settings.headers {
            request = request.header(name, value.expose());
        }
        let answer = request.header("content-type", otlp::MEDIA_TYPE).body(body.to_vec()).call()?;
        let status = answer.status();
        let pause = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
        // Only the status matters.
        drop(answer.into_body().read_all(MAX));
        if status.is_success() {
            return Ok(());
        }
        Err(CollectorError::Status { status: status.as_u16(), pause: pause.map(Duration::from_secs) })
    }
}
