//! The access log: one line a request, at the target `access`.

use std::time::Instant;

use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};

use crate::fetched::Fetched;
use crate::http::forwarded::Remote;
use crate::http::host;

/// What a line says of a request. The query is left out: it may hold what is secret.
pub(crate) struct AccessLogLine {
    started: Instant,
    remote: Remote,
    method: Method,
    uri: Uri,
    host: Option<String>,
    user_agent: Option<HeaderValue>,
    status: StatusCode,
    fetched: Option<Fetched>,
}

impl AccessLogLine {
    /// Begins a line, if anybody reads the log.
    pub(crate) fn begin<B>(request: &Request<B>, remote: Remote, started: Instant) -> Option<Box<Self>> {
        tracing::enabled!(target: "access", tracing::Level::INFO).then(|| {
            Box::new(Self {
                started,
                remote,
                method: request.method().clone(),
                uri: request.uri().clone(),
                host: host::requested(request).map(str::to_owned),
                user_agent: request.headers().get(USER_AGENT).cloned(),
                status: StatusCode::OK,
                fetched: None,
            })
        })
    }

    /// What the answer is.
    pub(crate) fn answered(&mut self, status: StatusCode, fetched: Option<Fetched>) {
        self.status = status;
        self.fetched = fetched;
    }

    /// Writes the line. The values go in as text, which the log's own format quotes and escapes.
    pub(crate) fn write(self, bytes: u64) {
        let user_agent = self.user_agent.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("-");
        // A tenth of a millisecond is fine enough to read, and coarse enough to compare.
        let ms = (self.started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        // What is not known is left out of the line.
        let fetched = self.fetched.as_ref();
        let fields = fetched.map(Fetched::log_fields);
        let digest = fields.as_ref().and_then(|fields| Some(fields.digest?.to_string()));
        let tags = fields.as_ref().map(|fields| fields.tags.as_ref()).filter(|tags| !tags.is_empty());
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
            vendor = fetched.map(|fetched| fetched.vendor.as_str()),
            repository = fetched.map(|fetched| fetched.repository.as_str()),
            kind = fields.as_ref().map(|fields| fields.kind.name()),
            tag = fields.as_ref().and_then(|fields| fields.tag),
            tags,
            digest,
        );
    }
}
