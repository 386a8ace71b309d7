//! Which addresses a client may connect to.
//!
//! A name that somebody else controls may resolve to any address, and to another one each time. So the check is part of
//! connecting: the connection goes to exactly the addresses that were checked.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Decides whether a client may connect to an address. The port of the address is the port of the URL.
#[derive(Clone)]
pub struct AddressFilter(Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>);

impl AddressFilter {
    /// A filter that allows the addresses for which `allows` is true.
    pub fn new(allows: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(allows))
    }

    fn check(&self, address: SocketAddr) -> Result<(), io::Error> {
        if (self.0)(address) { Ok(()) } else { Err(refused(address.ip())) }
    }

    /// Checks the host of a URL if it is an address. A name is checked when it is resolved.
    pub(crate) fn check_literal(&self, url: &Uri) -> Result<(), io::Error> {
        let host = url.host().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => self.check(SocketAddr::new(address, port(url))),
            Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for AddressFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressFilter")
    }
}

fn refused(address: IpAddr) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("connecting to {address} is not allowed"))
}

pub(crate) fn port(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 })
}

/// A resolver that returns only the addresses that a filter allows at a port.
#[derive(Clone)]
pub(crate) struct FilteredResolver {
    filter: AddressFilter,
    port: u16,
}

impl FilteredResolver {
    /// A connector for the URL that resolves its name with this filter.
    pub(crate) fn connector(filter: &AddressFilter, url: &Uri) -> HttpConnector<Self> {
        HttpConnector::new_with_resolver(Self { filter: filter.clone(), port: port(url) })
    }
}

impl Service<Name> for FilteredResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = GaiResolver::new().call(name);
        let Self { filter, port } = self.clone();
        Box::pin(async move {
            let (mut allowed, mut denied) = (Vec::new(), None);
            for address in resolving.await? {
                match filter.check(SocketAddr::new(address.ip(), port)) {
                    Ok(()) => allowed.push(address),
                    Err(error) => denied = Some(error),
                }
            }
            match denied {
                Some(error) if allowed.is_empty() => Err(error),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}
