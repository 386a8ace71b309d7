//! One connection: its handshake, its protocol, its limits.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::access::Record;
use crate::answer::answer;
use crate::headers;
use crate::idle::{self, Pace, Patience};
use crate::route;
use crate::shared::Shared;
use crate::stall::Impatient;
use crate::tls::Certificate;

/// The longest head of a request, in bytes: more than any client of a registry sends.
const MAX_HEAD: usize = 32 * 1024;

/// About how much a connection keeps in memory, in bytes, of what it reads and writes.
const MAX_BUFFER: usize = 64 * 1024;

/// How many requests of one connection are answered at once in HTTP/2: more than clients ask for layers.
const MAX_STREAMS: u32 = 64;

/// What all connections of a server have in common.
pub(crate) struct Connections {
    pub(crate) shared: Arc<Shared>,
    pub(crate) certificate: Option<Arc<Certificate>>,
    pub(crate) header_timeout: Duration,
    pub(crate) write_timeout: Duration,
}

impl Connections {
    /// Answers a client until it goes, or the server does.
    pub(crate) async fn serve(&self, stream: TcpStream, remote: SocketAddr, watcher: Watcher) {
        // In boxes, so that a connection takes memory for what it is, and not for all that it might be.
        let stream = Impatient::new(stream, self.write_timeout);
        match &self.certificate {
            Some(certificate) => Box::pin(self.tls(certificate, stream, remote, watcher)).await,
            None => Box::pin(self.http1(stream, remote, watcher)).await,
        }
    }

    async fn tls(
        &self,
        certificate: &Certificate,
        stream: Impatient<TcpStream>,
        remote: SocketAddr,
        watcher: Watcher,
    ) {
        let handshake = TlsAcceptor::from(certificate.current()).accept(stream);
        match timeout(self.header_timeout, Box::pin(handshake)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                Box::pin(self.http2(stream, remote, watcher)).await;
            }
            Ok(Ok(stream)) => Box::pin(self.http1(stream, remote, watcher)).await,
            Ok(Err(error)) => tracing::debug!(%remote, %error, "no TLS"),
            Err(_) => tracing::debug!(%remote, "TLS was too slow"),
        }
    }

    async fn http1(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        remote: SocketAddr,
        watcher: Watcher,
    ) {
        let client = Arc::new(Client::new(Arc::clone(&self.shared), remote));
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
        watcher: Watcher,
    ) {
        let client = Arc::new(Client::new(Arc::clone(&self.shared), remote));
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
}

impl Client {
    fn new(shared: Arc<Shared>, remote: SocketAddr) -> Self {
        Self { shared, pace: Pace::default(), remote }
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
    let begun = Begun::new(client);
    let Client { shared, remote, .. } = &*begun.client;
    let mut record = Record::begin(&request, *remote);
    let mut response = answer(shared, &request).await;
    shared.metrics.answered(route::api(request.uri().path()), response.status());
    if let Some(record) = &mut record {
        record.status(response.status());
    }
    response.body_mut().record(record, begun);
    headers::keep(request.into_parts().0.headers);
    Ok(response)
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

    fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand clients are idle at once, and each has this and hyper's buffers.
    #[test]
    fn a_connection_takes_little_memory() {
        let whole = size(|a: &'static Connections, b, c, d| a.serve(b, c, d));
        let http1 = size(|a: &'static Connections, b: TcpStream, c, d| a.http1(b, c, d));
        let http2 = size(|a: &'static Connections, b: TcpStream, c, d| a.http2(b, c, d));
        assert!(whole < 512, "{whole}");
        assert!(http1 < 3 * 1024, "{http1}");
        assert!(http2 < 5 * 1024, "{http2}");
    }
}
