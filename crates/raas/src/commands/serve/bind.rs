//! Binds the port that clients connect to.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use raas_base::failure::{Context as _, Failure, Kind};

use super::systemd;

/// The length of the queue of connections that the server has not accepted yet. The standard library's 128 are too few for
/// a cluster that begins to pull: a client that finds the queue full tries again only after a second.
const BACKLOG: u32 = 4096;

/// Listens for clients: on the socket that systemd hands over, or else on an address.
pub(super) async fn bind_for_clients(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let handed_over = systemd::socket().and_then(|socket| socket.map(from_std).transpose());
    match handed_over.context(|| "cannot use the socket of systemd".into())? {
        None => bind(listen).await,
        Some(listener) => {
            let address = listener.local_addr().context(|| "cannot use the socket of systemd".into())?;
            Ok((listener, address))
        }
    }
}

fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Listens on an address. Returns the address too, since port 0 stands for any free port.
pub(super) async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = begin(listen).map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot listen on {listen}"))
            .caused_by(error)
            .hint("stop the program that has the port, or take a free port with `--listen 127.0.0.1:0`")
    })?;
    let address = listener.local_addr().context(|| format!("cannot listen on {listen}"))?;
    Ok((listener, address))
}

fn begin(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server gets its port at once, as with the standard library.
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn hundreds_of_clients_can_connect_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (listener, address) = runtime.block_on(bind("127.0.0.1:0".parse().unwrap())).unwrap();
        // The system's limit bounds every queue.
        let system = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let system: usize = system.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(128);
        let clients = system.min(400);
        let patience = Duration::from_millis(900);
        let connected: Vec<_> =
            (0..clients).map(|_| TcpStream::connect_timeout(&address, patience).unwrap()).collect();
        assert_eq!(connected.len(), clients);
        drop(listener);
    }
}
