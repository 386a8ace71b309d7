//! The access log: one line a request, at the target `access`.

use std::net::SocketAddr;
use std::time::Instant;

use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};

use crate::host;

/// What a line says of a request. The query is left out: it may hold what is secret.
pub(crate) struct Record {
    started: Instant,
    remote: SocketAddr,
    method: Method,
    uri: Uri,
    host: Option<String>,
    user_agent: Option<HeaderValue>,
    status: StatusCode,
}

impl Record {
    /// Begins a line, if anybody reads the log.
    pub(crate) fn begin<B>(request: &Request<B>, remote: SocketAddr) -> Option<Box<Self>> {
        tracing::enabled!(target: "access", tracing::Level::INFO).then(|| {
            Box::new(Self {
                started: Instant::now(),
                remote,
                method: request.method().clone(),
                uri: request.uri().clone(),
                host: host::requested(request).map(str::to_owned),
                user_agent: request.headers().get(USER_AGENT).cloned(),
                status: StatusCode::OK,
            })
        })
    }

    pub(crate) fn status(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// Writes the line. The values go in as text, which the log's own format quotes and escapes.
    pub(crate) fn write(self, bytes: u64) {
        let user_agent = self.user_agent.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("-");
        // A tenth of a millisecond is fine enough to read, and coarse enough to compare.
        let ms = (self.started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        tracing::info!(
            target: "access",
            method = self.method.as_str(),
            host = self.host.as_deref().unwrap_or("-"),
            path = self.uri.path(),
            status = self.status.as_u16(),
            bytes,
            ms,
            user_agent,
            remote = %self.remote,
        );
    }
}
