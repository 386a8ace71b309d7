//! One connection of a client: its handshake, its protocol, its limits.

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
use crate::in_flight::{ClientConnection, Progress};
use crate::shutdown::ShutdownWatch;
use crate::state::ServerState;
use crate::tls::{Purpose, Tls};

mod http1;
mod http2;
mod respond;
mod table;
mod write_timeout;

use http2::Timeouts;
use respond::{Repetition, respond, respond_from_memory, respond_in_time, respond_repeatably};
pub(crate) use table::{ConnectionTable, TableEntry};
use write_timeout::WriteTimeoutStream;

/// The longest head of a request in bytes. No client of a registry sends so much.
const MAX_HEAD: usize = 32 * 1024;

/// About how many bytes of buffers a connection may use.
const MAX_BUFFER: usize = 64 * 1024;

/// The time without a request after which a connection is idle. Clients that send one request after the other pause
/// less. It is also the time that a client has at shutdown to finish a head.
const IDLE_AFTER: Duration = Duration::from_millis(500);

/// What all connections of a server share.
pub(crate) struct Connections {
    pub(crate) state: Arc<ServerState>,
    pub(crate) tls: Option<Tls>,
    pub(crate) header_timeout: Duration,
    pub(crate) write_timeout: Duration,
}

impl Connections {
    /// Answers the requests of a client until the client or the server ends the connection.
    pub(crate) async fn serve(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        progress: Arc<Progress>,
        shutdown: ShutdownWatch,
    ) {
        let _counted = ConnectionGuard::new(&self.state);
        // The futures are boxed so that a connection takes memory only for its own protocol.
        let stream = WriteTimeoutStream::new(stream, self.write_timeout);
        match &self.tls {
            Some(tls) => Box::pin(self.serve_tls(tls, stream, (remote, progress), shutdown)).await,
            None => {
                let client = self.client(remote, progress, None);
                Box::pin(http1::serve(stream, client, self.header_timeout, shutdown)).await;
            }
        }
    }

    async fn serve_tls(
        &self,
        tls: &Tls,
        stream: WriteTimeoutStream<TcpStream>,
        (remote, progress): (SocketAddr, Arc<Progress>),
        mut shutdown: ShutdownWatch,
    ) {
        // At shutdown a handshake may go on for as long as a first request.
        let patience = self.state.first_request;
        let stopped = async {
            shutdown.requested().await;
            sleep(patience).await;
        };
        let handshake = tokio::select! {
            handshake = timeout(self.header_timeout, Box::pin(self.handshake(tls, stream))) => handshake,
            () = stopped => return,
        };
        let stream = match handshake {
            Ok(Ok(Some(stream))) => stream,
            // The authority sends no request.
            Ok(Ok(None)) => return tracing::info!(%remote, "a certification authority has checked a name"),
            Ok(Err(error)) => return tracing::debug!(%remote, %error, "the TLS handshake failed"),
            Err(_) => return tracing::debug!(%remote, "the TLS handshake took too long"),
        };
        let session = stream.get_ref().1;
        let chain =
            session.peer_certificates().map(|chain| chain.iter().map(|c| c.clone().into_owned()).collect());
        let certificates = chain.map(PresentedCertificates::new);
        let client = self.client(remote, progress, certificates);
        if session.alpn_protocol() == Some(b"h2") {
            // The client has longer than any bucket that the server fetches from, so that a slow bucket is not blamed
            // on the client.
            let timeouts = Timeouts { request: self.header_timeout, answer: self.write_timeout * 2 };
            Box::pin(http2::serve(stream, client, timeouts, shutdown)).await;
        } else {
            Box::pin(http1::serve(stream, client, self.header_timeout, shutdown)).await;
        }
    }

    /// Performs the TLS handshake. Nothing if the connection only proved a name to a certification authority.
    async fn handshake<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &Tls,
        stream: T,
    ) -> io::Result<Option<TlsStream<T>>> {
        let accepted = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let purpose = tls.purpose(&accepted.client_hello(), &self.state.current.load());
        match purpose {
            Purpose::Serve(config) => accepted.into_stream(config).await.map(Some),
            Purpose::Prove(config) => {
                accepted.into_stream(config).await?.shutdown().await?;
                Ok(None)
            }
        }
    }

    fn client(
        &self,
        remote: SocketAddr,
        progress: Arc<Progress>,
        certificates: Option<PresentedCertificates>,
    ) -> Arc<ClientConnection> {
        let state = Arc::clone(&self.state);
        Arc::new(ClientConnection { state, progress, remote, certificates })
    }
}

/// Counts a connection until this is dropped.
struct ConnectionGuard<'a>(&'a AtomicU64);

impl<'a> ConnectionGuard<'a> {
    fn new(state: &'a ServerState) -> Self {
        state.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self(&state.metrics.connections)
    }
}

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// hyper's HTTP/1 server with the limits of every connection, for the operators' port.
pub(crate) fn http1(header_timeout: Duration) -> hyper::server::conn::http1::Builder {
    let mut http = hyper::server::conn::http1::Builder::new();
    // A client may close its side while it waits for an answer.
    http.half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER);
    http
}

/// Logs why a connection broke: the client went away, was too slow, or did not speak HTTP.
pub(crate) fn ended(remote: SocketAddr, result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%remote, %error, "the connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand idle clients each take this much memory.
    #[test]
    fn a_connection_takes_little_memory() {
        let whole = size(|a: &'static Connections, b, c, d| a.serve(b, c, Arc::default(), d));
        let http1 = size(|a: WriteTimeoutStream<TcpStream>, b, c, d| http1::serve(a, b, c, d));
        let http2 = size(|a: TcpStream, b, c, d| http2::serve(a, b, c, d));
        assert!(whole < 512, "{whole}");
        assert!(http1 < 1200, "{http1}");
        assert!(http2 < 5 * 1024, "{http2}");
    }
}
