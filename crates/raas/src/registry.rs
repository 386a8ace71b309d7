//! A vendor's registry, asked at the address that people pull from.
//!
//! A name may have several addresses, with a server behind each. Each is asked by itself: a client may get any of them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use raas_http::{
    AddressFilter, Agent, AgentOptions, ClientError, ClientOptions, ForwardProxies, TlsFault, Trust,
};
use raas_platform::client::AskError;

use crate::config::RegistryAddress;
use crate::{resolver, trust};

/// How long a server may take to answer, and to send more of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer, in bytes.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// One address of a registry.
pub(crate) struct Endpoint {
    registry: String,
    /// `None` if requests go through a proxy, which resolves the name.
    address: Option<SocketAddr>,
    agent: Agent,
    /// The schemes to try, the first one first.
    schemes: &'static [&'static str],
    /// The scheme that was answered.
    scheme: OnceLock<&'static str>,
}

/// The addresses of a registry.
///
/// # Errors
/// The name cannot be resolved, or the environment names no usable proxy.
pub(crate) fn endpoints(registry: &RegistryAddress) -> Result<Vec<Endpoint>, String> {
    let host = registry.host.as_str();
    let proxies = ForwardProxies::from_environment().map_err(|error| error.to_string())?;
    let url = format!("https://{registry}/");
    let proxied = url.parse().ok().is_some_and(|url| proxies.for_url(&url).is_some());
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    if proxied && !is_address {
        return Ok(vec![Endpoint::new(registry, None, proxies)]);
    }
    let addresses = resolver::resolve(host, registry.port.unwrap_or(443))
        .map_err(|error| format!("{host} cannot be resolved: {error}"))?;
    let of = |address| Endpoint::new(registry, Some(address), ForwardProxies::none());
    Ok(addresses.into_iter().map(of).collect())
}

impl Endpoint {
    fn new(registry: &RegistryAddress, address: Option<SocketAddr>, proxies: ForwardProxies) -> Self {
        let is_loopback = address.is_some_and(|address| address.ip().is_loopback());
        // As docker does, raas asks addresses of this machine without TLS, or with any certificate.
        let (trust, schemes): (_, &[_]) = if is_loopback {
            (Trust::AnyCertificate, &["http", "https"])
        } else {
            (trust::trust(&registry.to_string()), &["https", "http"])
        };
        let only = address.map(|own| AddressFilter::new(move |other: SocketAddr| other.ip() == own.ip()));
        let client = ClientOptions {
            connect: PATIENCE,
            answer: PATIENCE,
            trust,
            proxies: Arc::new(proxies),
            addresses: only,
            ..ClientOptions::default()
        };
        let agent = Agent::new(AgentOptions { client, silence: PATIENCE, redirects: 0 });
        Self { registry: registry.to_string(), address, agent, schemes, scheme: OnceLock::new() }
    }

    /// The registry and this address, for people.
    pub(crate) fn shown(&self) -> String {
        match self.address {
            Some(address) if !self.registry.starts_with(&address.ip().to_string()) => {
                format!("{} ({})", self.registry, address.ip())
            }
            _ => self.registry.clone(),
        }
    }

    /// What to do about an error, if its cause is that this machine does not know the authority of the certificate.
    pub(crate) fn trust_fix(&self, error: &AskError) -> Option<String> {
        let is_unknown =
            matches!(error, AskError::Client(ClientError::Tls { fault: TlsFault::UnknownAuthority, .. }));
        is_unknown.then(|| trust::fix(&self.registry))
    }

    /// Whether the registry answers without TLS, although its address is not of this machine.
    pub(crate) fn lacks_tls(&self) -> bool {
        self.schemes.first() == Some(&"https") && self.scheme.get() == Some(&"http")
    }

    /// Asks for a path, and returns the body.
    ///
    /// # Errors
    /// There is no answer within five seconds, or no successful one.
    pub(crate) fn ask(&self, path: &str) -> Result<String, AskError> {
        if let Some(scheme) = self.scheme.get() {
            return self.ask_by(scheme, path);
        }
        let mut first = None;
        for scheme in self.schemes {
            match self.ask_by(scheme, path) {
                Err(error) if !matches!(error, AskError::Status(401)) => {
                    first.get_or_insert(error);
                }
                answered => {
                    self.scheme.get_or_init(|| scheme);
                    return answered;
                }
            }
        }
        Err(first.expect("there is a scheme"))
    }

    /// The revision that is served: a commit of the record.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub(crate) fn revision(&self) -> Result<String, AskError> {
        self.ask("/-/revision").map(|text| text.trim().to_owned())
    }

    fn ask_by(&self, scheme: &str, path: &str) -> Result<String, AskError> {
        let answer = self.agent.get(&format!("{scheme}://{}{path}", self.registry)).call()?;
        if !answer.status().is_success() {
            return Err(AskError::Status(answer.status().as_u16()));
        }
        let body = answer.into_body().read_all(MAX_SIZE)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use raas_testkit::http::{Asked, Reply, Server};

    use super::*;

    #[test]
    fn each_address_of_the_registry_is_asked_with_the_registrys_name() {
        let server = Server::scripted(|asked: &Asked| match asked.headers.get("host") {
            Some(host) if host.starts_with("localhost:") || host.starts_with("127.0.0.1:") => {
                Reply::new(200, "abc\n")
            }
            _ => Reply::new(404, ""),
        });
        let registry: RegistryAddress = server.address().to_string().parse().unwrap();
        let found = endpoints(&registry).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].revision().unwrap(), "abc");
        assert_eq!(found[0].shown(), registry.to_string());
        assert!(!found[0].lacks_tls());
    }

    #[test]
    fn an_unknown_authority_has_a_fix_of_its_own() {
        let registry: RegistryAddress = "127.0.0.1:1".parse().unwrap();
        let endpoint = &endpoints(&registry).unwrap()[0];
        let error = |fault| AskError::Client(ClientError::Tls { fault, why: String::new() });
        let fix = endpoint.trust_fix(&error(TlsFault::UnknownAuthority)).unwrap();
        assert!(fix.contains("certs.d/127.0.0.1:1/ca.crt") && fix.contains("SSL_CERT_FILE"), "{fix}");
        assert_eq!(endpoint.trust_fix(&error(TlsFault::OtherName)), None);
        assert_eq!(endpoint.trust_fix(&AskError::Status(503)), None);
    }

    #[test]
    fn a_registry_that_does_not_answer_is_an_error_of_the_first_scheme() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let registry: RegistryAddress = taken.local_addr().unwrap().to_string().parse().unwrap();
        drop(taken);
        let found = endpoints(&registry).unwrap();
        assert!(matches!(found[0].revision(), Err(AskError::Client(_))));
    }
}
