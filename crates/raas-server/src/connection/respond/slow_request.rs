//! What traces say of a slow request.
//!
//! Source: OpenTelemetry, "Semantic conventions for HTTP spans". The query is left out because it may hold secrets, and so
//! are the addresses of clients: the access log has them.

use std::time::Duration;

use hyper::header::{HeaderName, USER_AGENT};
use hyper::{Method, Request, StatusCode, Version};

use crate::fetched::Fetched;
use crate::http::{forwarded, host, query};
use crate::in_flight::ClientConnection;
use crate::route;
use crate::traces::{AttributeValue, SlowWork, Traces};

/// Source: W3C, "Trace Context", section 3.2.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request that took long until its answer began, or until its connection ended.
pub(super) struct SlowRequest<'a, B> {
    pub(super) request: &'a Request<B>,
    pub(super) client: &'a ClientConnection,
    pub(super) took: Duration,
    /// What it had to wait for.
    pub(super) waited_for: Option<&'static str>,
}

impl<B> SlowRequest<'_, B> {
    #[cold]
    pub(super) fn answered(&self, status: StatusCode, fetched: Option<&Fetched>, traces: &Traces) {
        let mut work = self.work();
        let code = AttributeValue::Number(status.as_u16().into());
        work.attributes.push(("http.response.status_code", code));
        if status.is_server_error() {
            work.set("error.type", Some(status.as_str()));
            // The status says it all.
            work.error = Some(String::new());
        }
        if let Some(fetched) = fetched {
            let fields = fetched.log_fields();
            work.set("raas.vendor", Some(fetched.vendor.as_str()));
            work.set("raas.repository", Some(fetched.repository.as_str()));
            work.set("raas.kind", Some(fields.kind.name()));
            work.set("raas.tag", fields.tag);
            work.set("raas.digest", fields.digest.map(|digest| digest.to_string()));
        }
        traces.take(work);
    }

    #[cold]
    pub(super) fn abandoned(&self, traces: &Traces) {
        let mut work = self.work();
        work.set("error.type", Some("abandoned"));
        let error =
            "the connection ended before the answer began: the client went away, or the server stopped";
        work.error = Some(error.to_owned());
        traces.take(work);
    }

    fn work(&self) -> SlowWork {
        let Self { request, took, waited_for, .. } = *self;
        let (headers, path) = (request.headers(), request.uri().path());
        let template = query::decode(path).and_then(|path| route::parse(&path).template());
        let mut traceparents = headers.get_all(TRACEPARENT).iter();
        let traceparent = match (traceparents.next(), traceparents.next()) {
            (Some(one), None) => one.to_str().ok().map(str::to_owned),
            _ => None,
        };
        let (method, original) = match method(request.method()) {
            Some(known) => (known, None),
            None => ("_OTHER", Some(request.method().as_str())),
        };
        let name = original.map_or(method, |_| "HTTP");
        let name = template.map_or_else(|| name.to_owned(), |template| format!("{name} {template}"));
        let (is_request, duration, attributes) = (true, took, Vec::with_capacity(16));
        let mut work = SlowWork { name, is_request, duration, traceparent, attributes, error: None };
        work.set("http.request.method", Some(method));
        work.set("http.request.method_original", original);
        work.set("http.route", template);
        work.set("url.path", Some(path));
        work.set("url.scheme", Some(if self.is_secure() { "https" } else { "http" }));
        if let Some(host) = host::requested(request) {
            work.set("server.address", host::without_port(host));
            let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            work.attributes.extend(port.map(|port| ("server.port", AttributeValue::Number(port))));
        }
        work.set("network.protocol.version", version(request.version()));
        work.set("user_agent.original", headers.get(USER_AGENT).and_then(|value| value.to_str().ok()));
        work.set("raas.waited_for", waited_for);
        work
    }

    fn is_secure(&self) -> bool {
        let state = &self.client.state;
        match &state.public_url {
            Some(url) => url.is_https(),
            None => {
                state.is_secure()
                    || forwarded::is_tls(&state.trusted_proxies, self.client.remote, self.request.headers())
            }
        }
    }
}

/// The name of a method of HTTP. None for others, which clients may invent.
fn method(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}
