//! The checks of the connection to the registry: name, port and certificate.

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use raas_http::ForwardProxies;
use raas_types::Utc;

use super::web::is_local_name;
use crate::resolver;
use crate::status::Check;
use crate::status::certificate::{check_certificate, handshake};
use crate::trust::roots;
use crate::url::host_of;

/// The time limit of a connection attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the connection. Returns whether to speak to the registry without TLS, or `None` if there is no connection.
pub(super) fn check(host: &str, plain_http: bool, checks: &mut Vec<Check>) -> Option<bool> {
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
        return Some(plain_http);
    }
    let addresses = resolve(host, name, plain_http, checks)?;
    // docker needs no TLS for addresses of this machine.
    let plain = plain_http || addresses.iter().all(|address| address.ip().is_loopback());
    let stream = connect(&addresses, checks)?;
    if plain {
        if plain_http && !addresses.iter().all(|address| address.ip().is_loopback()) {
            checks.push(
                Check::warning("tls", format!("the connection to {host} has no TLS"))
                    .fix(format!("give {host} a certificate; until then docker needs \"insecure-registries\": [\"{host}\"] in daemon.json, and podman --tls-verify=false")),
            );
        }
        return Some(true);
    }
    let check = check_certificate(name, handshake(name, stream, &roots(host)), Utc::of(SystemTime::now()));
    let good = check.outcome != crate::status::Outcome::Failed;
    checks.push(check);
    good.then_some(false)
}

fn resolve(host: &str, name: &str, plain_http: bool, checks: &mut Vec<Check>) -> Option<Vec<SocketAddr>> {
    let port: u16 = match host[name.len()..].strip_prefix(':') {
        Some(port) => port.parse().unwrap_or(0),
        None if plain_http || is_local_name(name) => 80,
        None => 443,
    };
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
