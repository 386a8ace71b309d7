//! The asynchronous client: connections that are used again, a time limit for connecting and for the first byte of an
//! answer.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::addresses::AddressFilter;
use crate::connector::Connector;
use crate::fault::TlsFault;
use crate::proxies::ForwardProxies;
use crate::tls::{self, ClientIdentity, Trust};

/// The `User-Agent` of requests that have none of their own.
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
    /// The certificate that the client shows to servers that ask for one.
    pub identity: Option<Arc<ClientIdentity>>,
    /// The addresses that the client may connect to; all without it. A forward proxy resolves names itself, so behind
    /// one only addresses in URLs are checked.
    pub addresses: Option<AddressFilter>,
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
    /// There is no TLS connection.
    #[error("no connection: {why}")]
    Tls {
        /// The kind of the fault.
        fault: TlsFault,
        /// The error with its causes.
        why: String,
    },
    /// A redirect may not be followed.
    #[error("{0}")]
    Redirect(&'static str),
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
            buffer: 64 * 1024,
            proxies: Arc::new(ForwardProxies::none()),
            trust: Trust::System,
            identity: None,
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
        let tls = tls::config(&options.trust, options.identity.as_deref());
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
            Ok(Err(error)) => {
                let why = causes(&error);
                Err(match TlsFault::find(&error) {
                    Some(fault) => ClientError::Tls { fault, why },
                    None => ClientError::Connection(why),
                })
            }
            Err(_) => Err(ClientError::Silent(self.answer)),
        }
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
