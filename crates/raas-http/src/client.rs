//! The asynchronous client: connections that are used again, a bound for connecting and for the first byte of an answer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::any_certificate;
use crate::connector::Connector;
use crate::proxies::ForwardProxies;

/// What this client calls itself.
const NAME: HeaderValue = HeaderValue::from_static(concat!("raas/", env!("CARGO_PKG_VERSION")));

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long an answer may take to begin, the connection included.
    pub answer: Duration,
    /// For how long a connection that is not used is kept.
    pub idle: Duration,
    /// About how much of an answer a connection keeps in memory, in bytes.
    pub buffer: usize,
    /// The proxies that requests go through.
    pub proxies: Arc<ForwardProxies>,
    /// Whose certificates are trusted.
    pub trust: Trust,
}

/// Whose certificates a client trusts.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The authorities that this machine trusts, or those of the web if it has none.
    System,
    /// These authorities, in DER.
    Authorities(Vec<CertificateDer<'static>>),
    /// Any certificate, for servers on this machine: they are found by address, and their certificates are for the names
    /// that clients use. The request must hold no secret.
    AnyCertificate,
}

/// A client and its connections. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    connections: HyperClient<HttpsConnector<Connector>, Full<Bytes>>,
    proxies: Arc<ForwardProxies>,
    answer: Duration,
}

/// Why there is no answer. No text holds a URL, whose query may open a bucket.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL or a header cannot be sent.
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
    /// There is no connection, or it broke before the answer.
    #[error("no connection: {0}")]
    Connection(String),
    /// The answer did not begin in time.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
}

impl Default for ClientOptions {
    /// Ten seconds to connect, a minute for the answer, no proxy.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            idle: Duration::from_secs(20),
            buffer: 256 * 1024,
            proxies: Arc::new(ForwardProxies::none()),
            trust: Trust::System,
        }
    }
}

impl Client {
    /// A client without connections. The certificates of the machine are read now.
    pub fn new(options: &ClientOptions) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(options.connect));
        tcp.set_nodelay(true);
        let tls = match &options.trust {
            Trust::System => system(),
            Trust::Authorities(authorities) => of(authorities),
            Trust::AnyCertificate => any_certificate::config(),
        };
        let https =
            || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
        let to_proxy = https().wrap_connector(tcp.clone());
        let connector = Connector::new(tcp, to_proxy, Arc::clone(&options.proxies));
        let connections = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.idle)
            .http1_max_buf_size(options.buffer)
            .build(https().wrap_connector(connector));
        Self { connections, proxies: Arc::clone(&options.proxies), answer: options.answer }
    }

    /// Sends a request once, and gives the beginning of its answer. Redirects are not followed.
    ///
    /// # Errors
    /// There is no answer. An answer with any status is no error.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        request.headers_mut().entry(USER_AGENT).or_insert(NAME);
        // A proxy that forwards the request reads its login there; in a tunnel it would reach the host.
        if request.uri().scheme_str() == Some("http")
            && let Some(proxy) = self.proxies.for_url(request.uri())
            && let Some(authorization) = proxy.authorization()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        match tokio::time::timeout(self.answer, self.connections.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ClientError::Connection(causes(&error))),
            Err(_) => Err(ClientError::Silent(self.answer)),
        }
    }
}

fn of(authorities: &[CertificateDer<'static>]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    // A certificate that is none cannot sign anything.
    roots.add_parsable_certificates(authorities.iter().cloned());
    builder().with_root_certificates(roots).with_no_client_auth()
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites of every version of TLS that rustls knows")
}

/// Trusts what the machine trusts, which an operator may add to. A container without any certificates trusts the web's.
fn system() -> ClientConfig {
    match builder().with_native_roots() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(_) => builder().with_webpki_roots().with_no_client_auth(),
    }
}

/// An error with its causes: the last one holds the reason.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}
