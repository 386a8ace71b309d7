//! One connection: its handshake, its protocol, its limits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioTimer;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::auth::PresentedCertificates;
use crate::in_flight::ClientConnection;
use crate::shutdown::ShutdownWatch;
use crate::state::ServerState;
use crate::tls::{Purpose, Tls};

mod http1;
mod http2;
mod respond;
mod write_timeout;

use http2::Timeouts;
use respond::{respond, respond_from_memory};
use write_timeout::WriteTimeoutStream;

/// The longest head of a request, in bytes: more than any client of a registry sends.
const MAX_HEAD: usize = 32 * 1024;

/// About how much a connection keeps in memory, in bytes, of what it reads and writes.
const MAX_BUFFER: usize = 64 * 1024;

/// How long a client that has begun something is waited for at most when the server stops, and how long no request comes
/// until a connection is idle: a client that asks for one thing after the other does not pause so long.
const IDLE_AFTER: Duration = Duration::from_millis(500);

/// What all connections of a server have in common.
pub(crate) struct Connections {
    pub(crate) shared: Arc<ServerState>,
    pub(crate) tls: Option<Tls>,
    pub(crate) header_timeout: Duration,
    pub(crate) write_timeout: Duration,
}

impl Connections {
    /// Answers a client until it goes, or the server does.
    pub(crate) async fn serve(&self, stream: TcpStream, remote: SocketAddr, shutdown: ShutdownWatch) {
        let _counted = ConnectionGuard::new(&self.shared);
        // In boxes, so that a connection takes memory for what it is, and not for all that it might be.
        let stream = WriteTimeoutStream::new(stream, self.write_timeout);
        match &self.tls {
            Some(tls) => Box::pin(self.secured(tls, stream, remote, shutdown)).await,
            None => {
                let client = self.client(remote, None);
                Box::pin(http1::serve(stream, client, self.header_timeout, shutdown)).await;
            }
        }
    }

    async fn secured(
        &self,
        tls: &Tls,
        stream: WriteTimeoutStream<TcpStream>,
        remote: SocketAddr,
        mut shutdown: ShutdownWatch,
    ) {
        // A handshake that has begun may go on for a moment when the server stops, and no longer.
        let stopped = async {
            shutdown.requested().await;
            sleep(IDLE_AFTER).await;
        };
        let shaken = tokio::select! {
            shaken = timeout(self.header_timeout, Box::pin(self.handshake(tls, stream))) => shaken,
            () = stopped => return,
        };
        let stream = match shaken {
            Ok(Ok(Some(stream))) => stream,
            // It has seen what it came for.
            Ok(Ok(None)) => return tracing::info!(%remote, "a certification authority has looked"),
            Ok(Err(error)) => return tracing::debug!(%remote, %error, "no TLS"),
            Err(_) => return tracing::debug!(%remote, "TLS was too slow"),
        };
        let session = stream.get_ref().1;
        let chain =
            session.peer_certificates().map(|chain| chain.iter().map(|c| c.clone().into_owned()).collect());
        let certificates = chain.map(PresentedCertificates::new);
        let client = self.client(remote, certificates);
        if session.alpn_protocol() == Some(b"h2") {
            // A client is waited for longer than any bucket that is passed on.
            let timeouts = Timeouts { request: self.header_timeout, answer: self.write_timeout * 2 };
            Box::pin(http2::serve(stream, client, timeouts, shutdown)).await;
        } else {
            Box::pin(http1::serve(stream, client, self.header_timeout, shutdown)).await;
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

    fn client(
        &self,
        remote: SocketAddr,
        certificates: Option<PresentedCertificates>,
    ) -> Arc<ClientConnection> {
        let (shared, progress) = (Arc::clone(&self.shared), Arc::default());
        Arc::new(ClientConnection { shared, progress, remote, certificates })
    }
}

/// A connection that is counted until it is over.
struct ConnectionGuard<'a>(&'a AtomicU64);

impl<'a> ConnectionGuard<'a> {
    fn new(shared: &'a ServerState) -> Self {
        shared.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self(&shared.metrics.connections)
    }
}

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// HTTP/1 with the limits of every connection, for few clients.
pub(crate) fn http1(header_timeout: Duration) -> hyper::server::conn::http1::Builder {
    let mut http = hyper::server::conn::http1::Builder::new();
    // A client may say that it has no more requests, and wait for its answer.
    http.half_close(true)
        .timer(TokioTimer::new())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand clients are idle at once, and each has this.
    #[test]
    fn a_connection_takes_little_memory() {
        let whole = size(|a: &'static Connections, b, c, d| a.serve(b, c, d));
        let http1 = size(|a: TcpStream, b, c, d| http1::serve(a, b, c, d));
        let http2 = size(|a: TcpStream, b, c, d| http2::serve(a, b, c, d));
        assert!(whole < 512, "{whole}");
        assert!(http1 < 1024, "{http1}");
        assert!(http2 < 5 * 1024, "{http2}");
    }
}
