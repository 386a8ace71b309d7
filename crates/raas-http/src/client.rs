//! The asynchronous client: connections that are used again, a bound for connecting and for the first byte of an answer.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::addresses::AddressFilter;
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
    /// The addresses that the client may connect to; all without it. A forward proxy resolves names itself, so behind
    /// one only addresses in URLs are checked.
    pub addresses: Option<AddressFilter>,
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

/// A client and its connections. It is cheap to clone. `B` is the body of its requests.
pub struct Client<B = Full<Bytes>> {
    connections: HyperClient<HttpsConnector<Connector>, B>,
    proxies: Arc<ForwardProxies>,
    answer: Duration,
}

/// The connection that a request goes over.
#[derive(Debug, Clone)]
pub struct WatchedConnection(CaptureConnection);

impl WatchedConnection {
    /// Closes the connection after the answer, so that later requests get another one.
    pub fn close_after_use(&self) {
        if let Some(connection) = self.0.connection_metadata().as_ref() {
            connection.poison();
        }
    }
}

/// Watches the connection that a request will go over, once a [`Client`] sends it.
pub fn watch_connection<B>(request: &mut Request<B>) -> WatchedConnection {
    WatchedConnection(capture_connection(request))
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
            addresses: None,
        }
    }
}

impl<B> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self {
            connections: self.connections.clone(),
            proxies: Arc::clone(&self.proxies),
            answer: self.answer,
        }
    }
}

impl<B> fmt::Debug for Client<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("proxies", &self.proxies)
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}

impl<B> Client<B>
where
    B: HttpBody + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A client without connections. The first client of the process reads the certificates of the machine.
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
        let connector = Connector::new(
            tcp,
            to_proxy,
            Arc::clone(&options.proxies),
            options.addresses.clone(),
            options.connect,
        );
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
    pub async fn send(&self, mut request: Request<B>) -> Result<Response<Incoming>, ClientError> {
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
/// The certificates are read once for the process: reading and parsing hundreds of them takes a while.
fn system() -> ClientConfig {
    static READ: OnceLock<ClientConfig> = OnceLock::new();
    READ.get_or_init(read_system).clone()
}

fn read_system() -> ClientConfig {
    match builder().with_native_roots() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(_) => builder().with_webpki_roots().with_no_client_auth(),
    }
}

/// An error with its causes: the last one holds the reason.
pub fn causes(error: &dyn Error) -> String {
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
