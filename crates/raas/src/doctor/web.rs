//! Sends requests without following redirects, so that the doctor can check each step of a client.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raas_http::http::header::HeaderMap;
use raas_http::http::{Method, Uri};
use raas_http::{Agent, AgentOptions, Body, ClientError, ClientOptions, ForwardProxies, TlsFault, Trust};

use super::connection::Transport;
use crate::trust::trust;
use raas_base::redact;
use raas_sources::registry::said;
use raas_types::url::host_of;

/// How long a server may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Web {
    host: String,
    /// Trusts the certificates that this machine trusts. They are many, so they are read at the first use.
    agent: OnceLock<Result<Agent, String>>,
    /// For requests to this machine. It uses no proxy.
    local: OnceLock<Agent>,
    /// Whether the certificate of a server on this machine is not checked.
    any_certificate: bool,
}

/// An answer whose body is not yet read.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    /// The reason, without the query of the URL.
    why: String,
    /// The fault of TLS, if it is one.
    pub(super) tls: Option<TlsFault>,
}

impl From<String> for NoAnswer {
    fn from(why: String) -> Self {
        Self { why, tls: None }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Web {
    /// Requests for the registry at this host.
    pub(super) fn new(host: &str, transport: Transport) -> Self {
        Self {
            host: host.to_owned(),
            agent: OnceLock::new(),
            local: OnceLock::new(),
            any_certificate: transport == Transport::AnyCertificate,
        }
    }

    fn agent(&self) -> Result<&Agent, String> {
        let made = self.agent.get_or_init(|| {
            let proxies = ForwardProxies::from_environment().map_err(|error| error.to_string())?;
            Ok(agent(trust(&self.host), proxies))
        });
        made.as_ref().map_err(String::clone)
    }

    fn local(&self) -> &Agent {
        let trust = || if self.any_certificate { Trust::AnyCertificate } else { trust(&self.host) };
        self.local.get_or_init(|| agent(trust(), ForwardProxies::none()))
    }

    /// Sends a request. An error leaves out the query of the URL.
    pub(super) fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, NoAnswer> {
        let redacted = |error: &dyn std::fmt::Display| NoAnswer::from(redact::text(&error.to_string()));
        let uri: Uri = url.parse().map_err(|error: raas_http::http::uri::InvalidUri| redacted(&error))?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| redacted(&error))?;
        let host = uri.host().unwrap_or_default();
        // A name of this machine's own may lead here too.
        let is_own_name = self.any_certificate && host == host_of(&self.host);
        let is_local = is_local_name(host) || is_loopback(host) || is_own_name;
        let agent = if is_local { self.local() } else { self.agent()? };
        let mut request = agent.request(method, url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.call().map_err(|error| {
            let tls = if let ClientError::Tls { fault, .. } = &error { Some(*fault) } else { None };
            NoAnswer { tls, ..redacted(&error) }
        })?;
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

    /// The server's own words about an error, ready to stand behind a message. Empty if the body has none.
    pub(super) fn said(self) -> String {
        const MAX_SIZE: u64 = 64 * 1024;
        redact::text(&said(&self.bytes(MAX_SIZE).unwrap_or_default()))
    }

    /// The body, of bounded length.
    pub(super) fn bytes(self, most: u64) -> Result<Vec<u8>, String> {
        self.body.read_all(most).map_err(|error| redact::text(&error.to_string()))
    }
}

/// Whether a host is an address of this machine. A name such as `127.example.com` is not.
fn is_loopback(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
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
    fn only_addresses_of_this_machine_are_local() {
        for (host, expected) in
            [("127.0.0.1", true), ("127.9.9.9", true), ("[::1]", true), ("127.example.com", false)]
        {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
        assert!(is_local_name("acme.localhost") && !is_local_name("localhost.example.com"));
    }

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
