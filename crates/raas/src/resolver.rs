//! Resolving names as docker does: with the system's resolver, and within a bound.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the system's resolver may take. It asks several servers, each for seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The addresses of a name, at this port. An address in brackets is taken too.
///
/// # Errors
/// The name has no address, or the resolver does not answer in time.
pub(crate) fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    // The system's resolver has no time limit of its own. A thread that still waits ends with the process.
    thread::spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // The receiver is gone if it took too long.
        let _ = sender.send(found);
    });
    let found = receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        Err(io::Error::other(format!("the resolver gave no answer in {} s", PATIENCE.as_secs())))
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(addresses) }
}

/// What a person can do about a name that the system cannot resolve.
pub(crate) fn fix(name: &str) -> String {
    if name.ends_with(".localhost") {
        return format!(
            "add `127.0.0.1 {name}` to /etc/hosts: this system resolves no names below localhost"
        );
    }
    "check the spelling, the domain's DNS records, and this machine's resolver (/etc/resolv.conf)".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_resolved_once_each() {
        assert_eq!(resolve("127.0.0.1", 5000).unwrap(), ["127.0.0.1:5000".parse().unwrap()]);
        assert_eq!(resolve("[::1]", 80).unwrap(), ["[::1]:80".parse().unwrap()]);
        let local = resolve("localhost", 80).unwrap();
        assert!(local.iter().all(|address| address.ip().is_loopback()), "{local:?}");
        assert!(fix("acme.localhost").contains("`127.0.0.1 acme.localhost` to /etc/hosts"));
    }
}
