//! Connecting to a host, directly or through a proxy.
//!
//! - `https` through an HTTP proxy: a tunnel by CONNECT, in which TLS begins.
//! - `http` through an HTTP proxy: the request itself goes to the proxy, with the whole URL in its first line.
//! - `http` and `https` through a SOCKS proxy: the proxy makes the connection, and passes its bytes on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::addresses::{AddressFilter, FilteredResolver};
use crate::proxies::ForwardProxies;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections for one client.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    /// To proxies, which may themselves want TLS.
    to_proxy: HttpsConnector<HttpConnector>,
    proxies: Arc<ForwardProxies>,
    addresses: Option<AddressFilter>,
    timeout: Duration,
}

/// A connection to a host, or to a proxy.
pub(crate) struct Stream {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// Whether the proxy at the other end reads requests and forwards them.
    forwards: bool,
}

impl Connector {
    pub(crate) fn new(
        tcp: HttpConnector,
        to_proxy: HttpsConnector<HttpConnector>,
        proxies: Arc<ForwardProxies>,
        addresses: Option<AddressFilter>,
        timeout: Duration,
    ) -> Self {
        Self { tcp, to_proxy, proxies, addresses, timeout }
    }

    async fn connect_directly(&mut self, url: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let Some(filter) = &self.addresses else { return Ok(self.tcp.call(url).await?) };
        let mut tcp = FilteredResolver::connector(filter, &url);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(self.timeout));
        tcp.set_nodelay(true);
        Ok(tcp.call(url).await?)
    }

    async fn connect(mut self, url: Uri) -> Result<Stream, BoxError> {
        if let Some(filter) = &self.addresses {
            filter.check_literal(&url)?;
        }
        let Some(proxy) = self.proxies.for_url(&url) else {
            let stream = MaybeHttpsStream::Http(self.connect_directly(url).await?);
            return Ok(Stream { stream, forwards: false });
        };
        let through =
            |error: BoxError| -> BoxError { format!("through the proxy {}: {error}", proxy.url()).into() };
        let address = proxy.url().clone();
        if proxy.is_socks() {
            // With `socks5h`, the proxy resolves names. Source: curl(1), --socks5-hostname.
            let local_dns = address.scheme_str() == Some("socks5");
            let mut socks = SocksV5::new(address, self.tcp).local_dns(local_dns);
            if let Some((user, password)) = proxy.socks_login() {
                socks = socks.with_auth(user.to_owned(), password.to_owned());
            }
            let stream = socks.call(url).await.map_err(|error| through(error.into()))?;
            return Ok(Stream { stream: MaybeHttpsStream::Http(stream), forwards: false });
        }
        if url.scheme_str() == Some("http") {
            let stream = self.to_proxy.call(address).await.map_err(through)?;
            return Ok(Stream { stream, forwards: true });
        }
        let mut tunnel = Tunnel::new(address, self.to_proxy);
        if let Some(authorization) = proxy.authorization() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let stream = tunnel.call(url).await.map_err(|error| through(error.into()))?;
        Ok(Stream { stream, forwards: false })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(self.clone().connect(url))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.forwards)
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }
}
