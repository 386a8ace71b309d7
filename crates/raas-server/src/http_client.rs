//! The server's HTTP client. It fetches objects to pass on, and metadata from buckets, and sends notifications.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;

/// How long a connection may take, and how long a service may take to begin its answer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);

/// The number of attempts of a request, and the pause after the first. Storage services ask clients to try again when
/// they are busy.
const TIMES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// The `User-Agent`.
const NAME: HeaderValue = HeaderValue::from_static(concat!("raas/", env!("CARGO_PKG_VERSION")));

/// About how many bytes of an answer a connection buffers.
const MAX_BUFFER: usize = 64 * 1024;

type Pool = HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client with a pool of connections. The pool is created at the first request, so a server that needs none reads no
/// root certificates.
#[derive(Debug, Default)]
pub(crate) struct HttpClient(OnceLock<Pool>);

/// Why a request has no answer. The texts never hold a URL, whose query may give access to a bucket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpClientError {
    #[error("cannot build the request: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("cannot connect: {0}")]
    Connection(String),
    #[error("no response within {} s", ANSWER.as_secs())]
    Silent,
}

impl HttpClient {
    /// Sends a request, and again if the service is busy or the connection breaks before an answer.
    pub(crate) async fn fetch(
        &self,
        method: &Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Incoming>, HttpClientError> {
        let mut pause = PAUSE;
        for _ in 1..TIMES {
            match self.fetch_once(method, url, headers).await {
                Ok(answer) if !is_busy(answer.status()) => return Ok(answer),
                Err(error @ HttpClientError::Request(_)) => return Err(error),
                _ => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 3;
        }
        self.fetch_once(method, url, headers).await
    }

    async fn fetch_once(
        &self,
        method: &Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Incoming>, HttpClientError> {
        let mut request = Request::builder().method(method).uri(url).header(USER_AGENT, NAME);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.send(request.body(Full::default())?).await
    }

    /// Sends a POST once, and returns the status of the answer.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<StatusCode, HttpClientError> {
        /// The longest answer that is read so that the connection can be used again.
        const MAX: usize = 64 * 1024;
        let mut request = Request::post(url).header(USER_AGENT, NAME);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = self.send(request.body(Full::new(body))?).await?;
        let status = answer.status();
        // Only the status matters.
        let _ = tokio::time::timeout(CONNECT, Limited::new(answer.into_body(), MAX).collect()).await;
        Ok(status)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HttpClientError> {
        let sent = self.0.get_or_init(pool).request(request);
        match tokio::time::timeout(ANSWER, sent).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(HttpClientError::Connection(causes(&error))),
            Err(_) => Err(HttpClientError::Silent),
        }
    }
}

fn pool() -> Pool {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    http.set_nodelay(true);
    // The roots of this machine, which an operator may extend. A container often has none; the built-in roots of the
    // web replace them.
    let builder = match HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider())
    {
        Ok(builder) => builder,
        Err(error) => {
            tracing::warn!(%error, "this machine has no root certificates; using the built-in ones");
            HttpsConnectorBuilder::new()
                .with_provider_and_webpki_roots(ring::default_provider())
                .expect("ring has cipher suites of every version of TLS that rustls knows")
        }
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(http);
    HyperClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(20))
        .http1_max_buf_size(MAX_BUFFER)
        .build(connector)
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

/// The text of an error and of its causes, which often hold the reason.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
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
