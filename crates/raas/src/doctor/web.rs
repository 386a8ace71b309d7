//! Sends requests without following redirects, so that the doctor can check each step of a client.

use std::sync::OnceLock;
use std::time::Duration;

use ureq::http::{HeaderMap, Request, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::connection::roots;
use raas_base::redact;

/// How long a server may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Web {
    host: String,
    /// Trusts the certificates that this machine trusts. They are many, so they are read at the first use.
    agent: OnceLock<ureq::Agent>,
    /// For requests to this machine without TLS. It uses no proxy.
    local: ureq::Agent,
}

/// An answer whose body is not yet read.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: ureq::Body,
}

impl Web {
    /// Requests for the registry at this host.
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), agent: OnceLock::new(), local: agent(RootCerts::WebPki, None) }
    }

    fn agent(&self) -> &ureq::Agent {
        self.agent.get_or_init(|| {
            let roots = roots(&self.host);
            let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect::<Vec<_>>();
            // A machine without root certificates trusts those of Mozilla.
            let roots = if roots.is_empty() { RootCerts::WebPki } else { RootCerts::from(roots) };
            agent(roots, ureq::Proxy::try_from_env())
        })
    }

    /// Sends a request. An error leaves out the query of the URL.
    pub(super) fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let redacted = |error: &dyn std::fmt::Display| redact::text(&error.to_string());
        let uri: Uri = url.parse().map_err(|error: ureq::http::uri::InvalidUri| redacted(&error))?;
        let host = uri.host().unwrap_or_default();
        let is_local = is_local_name(host);
        let mut request = Request::builder().method(method).uri(url);
        if is_local && host != "localhost" {
            // Not every system resolves names below `localhost`. Source: RFC 6761, section 6.3.
            let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
            let resolved = url.replacen(host, "127.0.0.1", 1);
            request = Request::builder().method(method).uri(resolved).header("host", authority);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|error| redacted(&error))?;
        let uses_local =
            url.starts_with("http://") && (is_local || host.starts_with("127.") || host == "[::1]");
        let agent = if uses_local { &self.local } else { self.agent() };
        let (head, body) = agent.run(request).map_err(|error| redacted(&error))?.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

fn agent(roots: RootCerts, proxy: Option<ureq::Proxy>) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(PATIENCE))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .user_agent(concat!("raas/", env!("CARGO_PKG_VERSION")))
        .proxy(proxy)
        .build()
        .into()
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.header("location").is_some()
    }

    /// The body, of bounded length.
    pub(super) fn bytes(self, most: u64) -> Result<Vec<u8>, String> {
        self.body
            .into_with_config()
            .limit(most)
            .read_to_vec()
            .map_err(|error| redact::text(&error.to_string()))
    }
}

/// Whether a host name always means this machine.
pub(super) fn is_local_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// The URL that a redirect from the URL `from` leads to.
pub(super) fn resolve_location(from: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let (scheme, rest) = from.split_once("://").unwrap_or(("https", from));
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    format!("{scheme}://{authority}/{}", location.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let table = [
            ("https://y.org/z?w", "https://y.org/z?w"),
            ("/z", "https://x.org:1/z"),
            ("//y.org/z", "https://y.org/z"),
        ];
        for (location, expected) in table {
            assert_eq!(resolve_location("https://x.org:1/a/b?c", location), expected);
        }
    }
}
