//! One connection: its handshake, its protocol, its limits.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::USER_AGENT;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::access::Record;
use crate::answer::{Noted, answer};
use crate::auth::{Peer, Presented};
use crate::idle::{self, Pace, Patience};
use crate::metrics::{Asked, Fetched};
use crate::shared::Shared;
use crate::stall::Impatient;
use crate::tls::{Purpose, Tls};
use crate::{forwarded, headers, host, route};

/// The longest head of a request, in bytes: more than any client of a registry sends.
const MAX_HEAD: usize = 32 * 1024;

/// About how much a connection keeps in memory, in bytes, of what it reads and writes.
const MAX_BUFFER: usize = 64 * 1024;

/// How many requests of one connection are answered at once in HTTP/2: more than clients ask for layers.
const MAX_STREAMS: u32 = 64;

/// What all connections of a server have in common.
pub(crate) struct Connections {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tls: Option<Tls>,
    pub(crate) header_timeout: Duration,
    pub(crate) write_timeout: Duration,
}

impl Connections {
    /// Answers a client until it goes, or the server does.
    pub(crate) async fn serve(&self, stream: TcpStream, remote: SocketAddr, watcher: Watcher) {
        let _counted = Counted::new(&self.shared);
        // In boxes, so that a connection takes memory for what it is, and not for all that it might be.
        let stream = Impatient::new(stream, self.write_timeout);
        match &self.tls {
            Some(tls) => Box::pin(self.secured(tls, stream, remote, watcher)).await,
            None => Box::pin(self.http1(stream, remote, None, watcher)).await,
        }
    }

    async fn secured(&self, tls: &Tls, stream: Impatient<TcpStream>, remote: SocketAddr, watcher: Watcher) {
        let stream = match timeout(self.header_timeout, Box::pin(self.handshake(tls, stream))).await {
            Ok(Ok(Some(stream))) => stream,
            // It has seen what it came for.
            Ok(Ok(None)) => return tracing::info!(%remote, "a certification authority has looked"),
            Ok(Err(error)) => return tracing::debug!(%remote, %error, "no TLS"),
            Err(_) => return tracing::debug!(%remote, "TLS was too slow"),
        };
        let session = stream.get_ref().1;
        let chain =
            session.peer_certificates().map(|chain| chain.iter().map(|c| c.clone().into_owned()).collect());
        let presented = chain.map(Presented::new);
        if session.alpn_protocol() == Some(b"h2") {
            Box::pin(self.http2(stream, remote, presented, watcher)).await;
        } else {
            Box::pin(self.http1(stream, remote, presented, watcher)).await;
        }
    }

    /// A connection for requests, or nothing if it was for something else.
    async fn handshake<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &Tls,
        stream: T,
    ) -> io::Result<Option<TlsStream<T>>> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let purpose = tls.purpose(&begun.client_hello(), &self.shared.current.load());
        match purpose {
            Purpose::Serve(config) => begun.into_stream(config).await.map(Some),
            Purpose::Prove(config) => {
                begun.into_stream(config).await?.shutdown().await?;
                Ok(None)
            }
        }
    }

    async fn http1(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        remote: SocketAddr,
        presented: Option<Presented>,
        watcher: Watcher,
    ) {
        let client = Arc::new(Client::new(Arc::clone(&self.shared), remote, presented));
        let known = Arc::clone(&client);
        let service = service_fn(move |request| respond(Arc::clone(&known), request));
        // Without a timer: slow requests are found out by `idle`, for less.
        let mut http = http1::Builder::new();
        http.max_header_size(MAX_HEAD).max_buf_size(MAX_BUFFER);
        let connection = watcher.watch(http.serve_connection(TokioIo::new(stream), service));
        // What is not taken is found out by `stall`: all of the connection stands still then.
        let patience = Patience { request: self.header_timeout, answer: None };
        match idle::watch(connection, &client.pace, patience).await {
            Some(result) => ended(remote, result),
            None => tracing::debug!(%remote, "no request came"),
        }
    }

    async fn http2(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        remote: SocketAddr,
        presented: Option<Presented>,
        watcher: Watcher,
    ) {
        let client = Arc::new(Client::new(Arc::clone(&self.shared), remote, presented));
        let known = Arc::clone(&client);
        let service = service_fn(move |request| respond(Arc::clone(&known), request));
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            // A client that is gone without a word is found out, and so is one that answers nothing any more.
            .keep_alive_interval(self.header_timeout)
            .keep_alive_timeout(self.header_timeout)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD as u32)
            .max_send_buf_size(MAX_BUFFER);
        let connection = watcher.watch(http.serve_connection(TokioIo::new(stream), service));
        // A client that opens no window takes nothing, and the connection does not stand still for that. It is waited
        // for longer than for any bucket that is passed on.
        let patience = Patience { request: self.header_timeout, answer: Some(self.write_timeout * 2) };
        match idle::watch(connection, &client.pace, patience).await {
            Some(result) => ended(remote, result),
            None => tracing::debug!(%remote, "no request came, or no answer was taken"),
        }
    }
}

/// Who is answered on a connection, and what all its requests share.
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pace: Pace,
    remote: SocketAddr,
    /// The certificates that it has shown.
    presented: Option<Presented>,
}

impl Client {
    fn new(shared: Arc<Shared>, remote: SocketAddr, presented: Option<Presented>) -> Self {
        Self { shared, pace: Pace::default(), remote, presented }
    }
}

/// A connection that is counted until it is over.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self(&shared.metrics.connections)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// HTTP/1 with the limits of every connection, for few clients.
pub(crate) fn http1(header_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER);
    http
}

/// The client went away, was too slow, or did not speak HTTP.
pub(crate) fn ended(remote: SocketAddr, result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%remote, %error, "connection broke");
    }
}

async fn respond(client: Arc<Client>, request: Request<Incoming>) -> Result<crate::Response, Infallible> {
    let started = Instant::now();
    let begun = Begun::new(client);
    let Client { shared, remote, presented, .. } = &*begun.client;
    let remote = forwarded::client(&shared.trusted_proxies, *remote, request.headers());
    let peer = Peer { address: remote.ip(), presented: presented.as_ref() };
    let mut record = Record::begin(&request, remote, started);
    let noted = if record.is_some() { Noted::All } else { Noted::Counted };
    let (mut response, fetched) = answer(shared, &request, &peer, noted).await;
    let status = response.status();
    shared.metrics.answered(route::api(request.uri().path()), status, started.elapsed());
    let good = status.is_success() || status.is_redirection();
    if let Some(record) = &mut record {
        record.answered(status, fetched.clone());
    }
    if let Some(fetched) = fetched.filter(|fetched| good && fetched.what.counts()) {
        count(shared, &request, remote.ip(), status, fetched);
    }
    response.body_mut().record(record, begun);
    headers::keep(request.into_parts().0.headers);
    Ok(response)
}

/// Leaves a request that was answered well to be counted.
fn count(shared: &Shared, request: &Request<Incoming>, client: IpAddr, status: StatusCode, fetched: Fetched) {
    let host = || {
        let host = host::requested(request)?.into();
        Some((host, shared.is_secure()))
    };
    shared.tally.take(Asked {
        fetched,
        got: request.method() == Method::GET && status != StatusCode::NOT_MODIFIED,
        client,
        user_agent: request.headers().get(USER_AGENT).cloned(),
        host: if shared.tally.notifier.is_some() { host() } else { None },
    });
}

/// A request that is being answered, until this is dropped.
pub(crate) struct Begun {
    pub(crate) client: Arc<Client>,
}

impl Begun {
    fn new(client: Arc<Client>) -> Self {
        client.pace.begin();
        Self { client }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.client.pace.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, E, F: Future>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand clients are idle at once, and each has this and hyper's buffers.
    #[test]
    fn a_connection_takes_little_memory() {
        let whole = size(|a: &'static Connections, b, c, d, ()| a.serve(b, c, d));
        let http1 = size(|a: &'static Connections, b: TcpStream, c, d, e| a.http1(b, c, d, e));
        let http2 = size(|a: &'static Connections, b: TcpStream, c, d, e| a.http2(b, c, d, e));
        assert!(whole < 512, "{whole}");
        assert!(http1 < 3 * 1024, "{http1}");
        assert!(http2 < 5 * 1024, "{http2}");
    }
}
