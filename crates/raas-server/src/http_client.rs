//! The server's HTTP client. It fetches objects to pass on, and metadata from buckets, and sends notifications.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use raas_http::{AddressFilter, Client, ClientError, ClientOptions, ForwardProxies};

mod allowed_hosts;
mod location;

pub use allowed_hosts::{AllowedHost, AllowedHostError, AllowedHosts};

/// How long a connection may take, and how long a service may take to begin its answer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);

/// The number of attempts of a request, and the pause after the first. Storage services ask clients to try again when
/// they are busy.
const TIMES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// How much of an answer a connection of the client buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Buffering {
    /// For an answer to a client with one other in flight at most, while the server proxies few answers.
    Large,
    /// For an answer to a client with few others in flight.
    Medium,
    /// For a client with many answers in flight on one connection, so that all of them take not much more memory than a
    /// few.
    Small,
}

impl Buffering {
    /// The buffering of a proxied answer, if so many answers are in flight on its connection and so many proxied ones in the
    /// whole server. Both numbers include it.
    pub(crate) fn of(in_flight: u64, proxied: usize) -> Self {
        /// More answers with large buffers could take the memory of a small machine.
        const MAX_LARGE: usize = 128;
        // Few answers at once are enough to fill a client's line.
        match in_flight {
            ..=2 if proxied <= MAX_LARGE => Self::Large,
            ..=4 => Self::Medium,
            _ => Self::Small,
        }
    }

    /// About the number of bytes.
    fn bytes(self) -> usize {
        match self {
            Self::Large => 256 * 1024,
            Self::Medium => 64 * 1024,
            // The least that hyper takes.
            Self::Small => 8 * 1024,
        }
    }
}

/// A client with its connections. They are created at the first request, so a server that needs none reads no root
/// certificates.
#[derive(Debug)]
pub(crate) struct HttpClient {
    proxies: Arc<ForwardProxies>,
    /// For the hosts that the operator has configured, one for each buffering.
    configured: [OnceLock<Client>; 3],
    /// For the locations that vendors choose. Sites with the same list share connections: a connection that was allowed
    /// for one list may not be allowed for another.
    locations: Mutex<BTreeMap<(AllowedHosts, Buffering), Client>>,
    /// The number of answers that are being proxied.
    proxied: Arc<AtomicUsize>,
}

/// An answer that is being proxied, until this is dropped.
pub(crate) struct Proxied(Arc<AtomicUsize>);

impl Drop for Proxied {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HttpClient {
    /// A client that sends its requests through these proxies.
    pub(crate) fn new(proxies: Arc<ForwardProxies>) -> Self {
        Self { proxies, configured: Default::default(), locations: Mutex::default(), proxied: Arc::default() }
    }

    /// Counts an answer that is proxied from now on. Returns how many there are, and what keeps it counted.
    pub(crate) fn proxy(&self) -> (usize, Proxied) {
        let before = self.proxied.fetch_add(1, Ordering::Relaxed);
        (before + 1, Proxied(Arc::clone(&self.proxied)))
    }

    /// Sends a request, and again if the service is busy or the connection breaks before an answer.
    pub(crate) async fn fetch(
        &self,
        method: &Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        buffering: Buffering,
    ) -> Result<Response<Incoming>, ClientError> {
        fetch(self.configured(buffering), method, url, headers).await
    }

    /// Sends a POST once, and returns the status of the answer.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<StatusCode, ClientError> {
        /// The longest answer that is read so that the connection can be used again.
        const MAX: usize = 64 * 1024;
        let mut request = Request::post(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = self.configured(Buffering::Medium).send(request.body(Full::new(body))?).await?;
        let status = answer.status();
        // Only the status matters.
        let _ = tokio::time::timeout(CONNECT, Limited::new(answer.into_body(), MAX).collect()).await;
        Ok(status)
    }

    fn configured(&self, buffering: Buffering) -> &Client {
        self.configured[buffering as usize].get_or_init(|| self.client(None, buffering))
    }

    /// The client for locations at the allowed hosts.
    fn for_locations(&self, allowed: &AllowedHosts, buffering: Buffering) -> Client {
        /// Enough for the lists of all sites. Lists that are no longer configured are forgotten beyond it.
        const MAX: usize = 1000;
        let mut locations = self.locations.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (allowed.clone(), buffering);
        if let Some(client) = locations.get(&key) {
            return client.clone();
        }
        if locations.len() >= MAX {
            locations.clear();
        }
        let rule = allowed.clone();
        let addresses = AddressFilter::new(move |address| rule.allows_address(address));
        let client = self.client(Some(addresses), buffering);
        locations.insert(key, client.clone());
        client
    }

    fn client(&self, addresses: Option<AddressFilter>, buffering: Buffering) -> Client {
        Client::new(&ClientOptions {
            connect: CONNECT,
            answer: ANSWER,
            buffer: buffering.bytes(),
            proxies: Arc::clone(&self.proxies),
            addresses,
            ..ClientOptions::default()
        })
    }
}

async fn fetch(
    client: &Client,
    method: &Method,
    url: &str,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<Response<Incoming>, ClientError> {
    let fetch_once = || async {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        client.send(request.body(Full::default())?).await
    };
    let mut pause = PAUSE;
    for _ in 1..TIMES {
        match fetch_once().await {
            Ok(answer) if !is_busy(answer.status()) => return Ok(answer),
            Err(error @ ClientError::Request(_)) => return Err(error),
            _ => {}
        }
        tokio::time::sleep(pause).await;
        pause *= 3;
    }
    fetch_once().await
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}
