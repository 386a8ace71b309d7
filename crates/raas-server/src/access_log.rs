//! The access log: one line per request, at the target `access`.

use std::time::Instant;

use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};

use crate::fetched::Fetched;
use crate::http::forwarded::Remote;
use crate::http::host;

/// A line of the access log. The query is left out because it may hold secrets.
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
    /// Starts a line if the log is enabled.
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

    /// Sets the status of the answer and what the request was for.
    pub(crate) fn answered(&mut self, status: StatusCode, fetched: Option<Fetched>) {
        self.status = status;
        self.fetched = fetched;
    }

    /// Writes the line. The values are text; the log's own format quotes and escapes them.
    pub(crate) fn write(self, bytes: u64) {
        let user_agent = self.user_agent.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("-");
        // Tenths of a millisecond are fine enough to compare requests.
        let ms = (self.started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        // Unknown values are left out of the line.
        let fetched = self.fetched.as_ref();
        let fields = fetched.map(Fetched::log_fields);
        let key = fetched.and_then(|fetched| fetched.key.as_ref());
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
            customer = key.map(|key| key.customer.as_str()),
            customer_key = key.map(|key| key.name.as_str()),
        );
    }
}
