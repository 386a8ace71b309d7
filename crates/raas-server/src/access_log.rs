//! The access log: one line per request, at the target `access`.

use std::sync::Arc;
use std::time::Instant;

use hyper::header::USER_AGENT;
use hyper::{Method, Request, StatusCode};

use crate::fetched::Fetched;
use crate::http::forwarded::Remote;
use crate::http::host;

/// What the log says about a request, besides who sent it and when: the same for the same request and answer.
pub(crate) struct LoggedRequest {
    method: Method,
    /// Without the query, which may hold secrets.
    path: Box<str>,
    host: Option<Box<str>>,
    user_agent: Option<Box<str>>,
    status: StatusCode,
    fetched: Option<Fetched>,
    digest: Option<String>,
}

impl LoggedRequest {
    /// Takes what the request says, if the log is enabled.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        tracing::enabled!(target: "access", tracing::Level::INFO).then(|| Self {
            method: request.method().clone(),
            path: request.uri().path().into(),
            host: host::requested(request).map(Into::into),
            user_agent: request
                .headers()
                .get(USER_AGENT)
                .and_then(|value| value.to_str().ok())
                .map(Into::into),
            status: StatusCode::OK,
            fetched: None,
            digest: None,
        })
    }

    /// Adds the status of the answer and what the request was for.
    pub(crate) fn answered(mut self, status: StatusCode, fetched: Option<Fetched>) -> Arc<Self> {
        self.status = status;
        self.digest = fetched.as_ref().and_then(|fetched| Some(fetched.log_fields().digest?.to_string()));
        self.fetched = fetched;
        Arc::new(self)
    }
}

/// A line of the access log.
pub(crate) struct AccessLogLine {
    pub(crate) request: Arc<LoggedRequest>,
    pub(crate) remote: Remote,
    pub(crate) started: Instant,
}

impl AccessLogLine {
    /// Writes the line. The values are text; the log's own format quotes and escapes them.
    pub(crate) fn write(&self, bytes: u64) {
        let LoggedRequest { method, path, host, user_agent, status, fetched, digest } = &*self.request;
        // Tenths of a millisecond are fine enough to compare requests.
        let ms = (self.started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        // Unknown values are left out of the line.
        let fetched = fetched.as_ref();
        let fields = fetched.map(Fetched::log_fields);
        let key = fetched.and_then(|fetched| fetched.key.as_ref());
        let tags = fields.as_ref().map(|fields| fields.tags.as_ref()).filter(|tags| !tags.is_empty());
        tracing::info!(
            target: "access",
            method = method.as_str(),
            host = host.as_deref().unwrap_or("-"),
            path = &**path,
            status = status.as_u16(),
            bytes,
            ms,
            user_agent = user_agent.as_deref().unwrap_or("-"),
            remote = %self.remote,
            vendor = fetched.map(|fetched| fetched.vendor.as_str()),
            repository = fetched.map(|fetched| fetched.repository.as_str()),
            kind = fields.as_ref().map(|fields| fields.kind.name()),
            tag = fields.as_ref().and_then(|fields| fields.tag),
            tags,
            digest = digest.as_deref(),
            customer = key.map(|key| key.customer.as_str()),
            customer_key = key.map(|key| key.name.as_str()),
        );
    }
}
