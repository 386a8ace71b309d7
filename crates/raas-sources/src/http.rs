//! The HTTP client of everything that publishes, and its time-outs.

mod patient;

use std::io::Read;
use std::time::Duration;

/// How long a sender may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// A client that follows redirects and gives up on a server that is silent.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .user_agent(concat!("raas/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// A client for which an answer is no error whatever its status, and that does not wait long.
pub fn tolerant_agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(20)))
        .timeout_recv_body(Some(Duration::from_secs(60)))
        .user_agent(concat!("raas/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Begins to read what is at a URL; its length, where the server says it. A sender that falls silent is an error.
pub fn download(url: &str) -> Result<(Box<dyn Read + Send>, Option<u64>), ureq::Error> {
    let body = agent().get(url).call()?.into_body();
    let length = body.content_length();
    Ok((Box::new(patient::Patient::new(body.into_reader(), SILENCE)), length))
}
