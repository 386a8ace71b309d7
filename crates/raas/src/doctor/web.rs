//! Sends requests without following redirects, so that the doctor can check each step of a client.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raas_http::http::header::HeaderMap;
use raas_http::http::{Method, Uri};
use raas_http::{Agent, AgentOptions, Body, ClientOptions, ForwardProxies, Trust};

use crate::trust::roots;
use raas_base::redact;

/// How long a server may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Web {
    host: String,
    /// Trusts the certificates that this machine trusts. They are many, so they are read at the first use.
    agent: OnceLock<Result<Agent, String>>,
    /// For requests to this machine without TLS. It uses no proxy.
    local: Agent,
}

/// An answer whose body is not yet read.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Web {
    /// Requests for the registry at this host.
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            agent: OnceLock::new(),
            local: agent(Trust::System, ForwardProxies::none()),
        }
    }

    fn agent(&self) -> Result<&Agent, String> {
        let made = self.agent.get_or_init(|| {
            let proxies = ForwardProxies::from_environment().map_err(|error| error.to_string())?;
            let roots = roots(&self.host);
            // A machine without root certificates trusts those of Mozilla.
            let trust = if roots.is_empty() { Trust::System } else { Trust::Authorities(roots) };
            Ok(agent(trust, proxies))
        });
        made.as_ref().map_err(String::clone)
    }

    /// Sends a request. An error leaves out the query of the URL.
    pub(super) fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let redacted = |error: &dyn std::fmt::Display| redact::text(&error.to_string());
        let uri: Uri = url.parse().map_err(|error: raas_http::http::uri::InvalidUri| redacted(&error))?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| redacted(&error))?;
        let host = uri.host().unwrap_or_default();
        let is_local = is_local_name(host);
        let uses_local =
            url.starts_with("http://") && (is_local || host.starts_with("127.") || host == "[::1]");
        let agent = if uses_local { &self.local } else { self.agent()? };
        let mut request = agent.request(method, url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.call().map_err(|error| redacted(&error))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { status, headers, body: answer.into_body() })
    }
}

fn agent(trust: Trust, proxies: ForwardProxies) -> Agent {
    let client =
        ClientOptions { answer: PATIENCE, trust, proxies: Arc::new(proxies), ..ClientOptions::default() };
    Agent::new(AgentOptions { client, redirects: 0, ..AgentOptions::default() })
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
        self.body.read_all(most).map_err(|error| redact::text(&error.to_string()))
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
