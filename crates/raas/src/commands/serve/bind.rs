//! Where clients connect.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use raas_base::failure::{Context as _, Failure, Kind};

/// Clients that the system lets wait to be taken. The standard library has 128: when a cluster begins to pull, more than
/// that come within a moment, and each that finds no place tries again after a second.
const WAITING: u32 = 4096;

/// Listens at an address, and says which it is if any free port would do.
pub(super) async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = begin(listen).map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot listen on {listen}"))
            .caused_by(error)
            .hint("another program may have the port; `--listen 127.0.0.1:0` takes a free one")
    })?;
    let address = listener.local_addr().context(|| format!("cannot listen on {listen}"))?;
    Ok((listener, address))
}

fn begin(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does, so that a server that starts again gets its port.
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(WAITING)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_crowd_finds_a_place() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (listener, address) = runtime.block_on(bind("127.0.0.1:0".parse().unwrap())).unwrap();
        // As many as the system has room for at all.
        let system = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let system: usize = system.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(128);
        let crowd = system.min(400);
        let patience = Duration::from_millis(900);
        let there: Vec<_> =
            (0..crowd).map(|_| TcpStream::connect_timeout(&address, patience).unwrap()).collect();
        assert_eq!(there.len(), crowd);
        drop(listener);
    }
}
