//! The checks of the connection to the registry: name, port and certificate.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use raas_http::ForwardProxies;
use raas_types::Utc;
use raas_types::url::host_of;
use rustls::pki_types::CertificateDer;

use super::web::is_local_name;
use crate::resolver;
use crate::status::certificate::{check_certificate, handshake};
use crate::status::{Check, Outcome};
use crate::trust::roots;

/// The time limit of a connection attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// How to speak to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// Without TLS.
    Plain,
    Tls,
    /// With TLS and any certificate, as docker speaks to its own machine.
    AnyCertificate,
}

/// Checks the connection. Returns how to speak to the registry, or `None` if there is no connection.
pub(super) fn check(host: &str, plain_http: bool, checks: &mut Vec<Check>) -> Option<Transport> {
    let name = host_of(host);
    let (url, local) = (format!("https://{host}/"), is_local_name(name));
    let proxies = match ForwardProxies::from_environment() {
        Ok(proxies) => proxies,
        Err(error) => {
            checks.push(Check::failed("connection", error.to_string(), "correct the variable, or unset it"));
            return None;
        }
    };
    let proxy = url.parse().ok().and_then(|url| proxies.for_url(&url));
    if let Some(proxy) = proxy.filter(|_| !local && !name.starts_with("127.")) {
        let found = format!(
            "requests go through the proxy {}, so the name and the certificate are not checked",
            proxy.url().host().unwrap_or_default()
        );
        checks.push(
            Check::warning("connection", found)
                .fix("set HTTPS_PROXY in the environment of the docker or containerd service too; unset it here to check the connection without it"),
        );
        return Some(if plain_http { Transport::Plain } else { Transport::Tls });
    }
    let port = |default| port_of(host).unwrap_or(default);
    let mut addresses = resolve(name, port(if plain_http { 80 } else { 443 }), checks)?;
    let is_own_machine = addresses.iter().all(|address| address.ip().is_loopback());
    if is_own_machine && !plain_http {
        // As docker does: TLS first, whatever the certificate is, and then no TLS.
        if let Some(shown) = probe(name, &addresses, &roots(host)) {
            connect(&addresses, checks)?;
            return Some(check_own_certificate(host, shown, checks));
        }
        addresses.iter_mut().for_each(|address| address.set_port(port(80)));
    }
    let stream = connect(&addresses, checks)?;
    if plain_http && !is_own_machine {
        checks.push(
            Check::warning("tls", format!("the connection to {host} has no TLS"))
                .fix(format!("give {host} a certificate; until then docker needs \"insecure-registries\": [\"{host}\"] in daemon.json, and podman --tls-verify=false")),
        );
    }
    if plain_http || is_own_machine {
        return Some(Transport::Plain);
    }
    let check = check_certificate(host, handshake(name, stream, &roots(host)), Utc::of(SystemTime::now()));
    let good = check.outcome != Outcome::Failed;
    checks.push(check);
    good.then_some(Transport::Tls)
}

/// Checks the certificate of a server on this machine. docker accepts any, other programs do not.
fn check_own_certificate(host: &str, shown: Shown, checks: &mut Vec<Check>) -> Transport {
    let check = check_certificate(host, shown, Utc::of(SystemTime::now()));
    if check.outcome != Outcome::Failed {
        checks.push(check);
        return Transport::Tls;
    }
    let found =
        format!("{}; docker accepts any certificate of its own machine, other programs do not", check.found);
    checks.push(Check::warning("tls", found).fix(check.fix.unwrap_or_default()));
    Transport::AnyCertificate
}

/// The certificates that a server shows, or why there is no TLS connection.
type Shown = io::Result<Vec<CertificateDer<'static>>>;

/// Tries a handshake with the first address that answers. `None` if no address answers, or if it does not speak TLS.
fn probe(name: &str, addresses: &[SocketAddr], roots: &[CertificateDer<'static>]) -> Option<Shown> {
    let stream = addresses.iter().find_map(|address| TcpStream::connect_timeout(address, PATIENCE).ok())?;
    let shown = handshake(name, stream, roots);
    let speaks_tls = match &shown {
        Ok(_) => true,
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidMessage(_)) | None => false,
            Some(_) => true,
        },
    };
    speaks_tls.then_some(shown)
}

/// Whether the port of a registry that was spoken to without TLS speaks TLS.
pub(super) fn speaks_tls(host: &str) -> bool {
    let name = host_of(host);
    let addresses = resolver::resolve(name, port_of(host).unwrap_or(80)).unwrap_or_default();
    probe(name, &addresses, &[]).is_some()
}

/// The port in a host with a port.
fn port_of(host: &str) -> Option<u16> {
    let port = host[host_of(host).len()..].strip_prefix(':')?;
    Some(port.parse().unwrap_or(0))
}

fn resolve(name: &str, port: u16, checks: &mut Vec<Check>) -> Option<Vec<SocketAddr>> {
    match resolver::resolve(name, port) {
        Ok(addresses) => {
            let ips: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            checks.push(Check::ok("name", format!("{name} is {}", ips.join(", "))));
            Some(addresses)
        }
        Err(error) => {
            let found = format!("{name} cannot be resolved: {error}");
            checks.push(Check::failed("name", found, resolver::fix(name)));
            None
        }
    }
}

/// Connects to the first address that answers. Earlier addresses are a warning.
fn connect(addresses: &[SocketAddr], checks: &mut Vec<Check>) -> Option<TcpStream> {
    let mut refused = Vec::new();
    for address in addresses {
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(stream) if refused.is_empty() => {
                checks.push(Check::ok("connection", format!("{address} answers")));
                return Some(stream);
            }
            Ok(stream) => {
                let found = format!("{address} answers, but not all addresses do");
                let fix = "remove the other addresses from DNS: clients may try them first, and wait";
                checks.push(Check::warning("connection", found).fix(fix).details(refused));
                return Some(stream);
            }
            Err(error) => refused.push(format!("{address}: {error}")),
        }
    }
    let fix = "start the registry, or open its port in the firewalls on the way";
    checks.push(Check::failed("connection", refused.join("; "), fix));
    None
}
