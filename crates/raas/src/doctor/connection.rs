//! The checks of the connection to the registry: name, port and certificate.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use raas_http::ForwardProxies;
use raas_types::{Utc, Validity};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

use super::web::is_local_name;
use crate::resolver;
use crate::status::Check;
use crate::trust::roots;
use crate::url::host_of;

/// The time limit of a connection attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// A certificate with less than this time left is a warning, in seconds: two weeks.
const EXPIRES_SOON: u64 = 14 * 86_400;

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

/// Makes a TLS handshake. Returns the certificates that the server shows.
fn handshake(
    name: &str,
    mut stream: TcpStream,
    roots: &[CertificateDer<'static>],
) -> Result<Vec<CertificateDer<'static>>, io::Error> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let config = builder.with_root_certificates(store).with_no_client_auth();
    let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(connection
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.clone().into_owned())
        .collect())
}

/// The check of a handshake's result.
fn check_certificate(name: &str, shown: Result<Vec<CertificateDer<'static>>, io::Error>, now: Utc) -> Check {
    let chain = match shown {
        Ok(chain) => chain,
        Err(error) => return refused(name, &error),
    };
    // A chain expires with the first of its certificates.
    let ends = chain
        .iter()
        .filter_map(|certificate| Validity::of(certificate))
        .map(|validity| validity.not_after)
        .min();
    match ends {
        Some(ends) if ends.unix().saturating_sub(now.unix()) < EXPIRES_SOON => {
            let days = ends.unix().saturating_sub(now.unix()) / 86_400;
            Check::warning("tls", format!("the certificate of {name} expires in {days} days, at {ends}"))
                .fix("renew the certificate now, and find out why it was not renewed automatically")
        }
        Some(ends) => Check::ok("tls", format!("the certificate is for {name} and is valid until {ends}")),
        None => Check::ok("tls", format!("the certificate is for {name}")),
    }
}

/// The failed check of a handshake.
fn refused(name: &str, error: &io::Error) -> Check {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (found, fix) = match inner {
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                format!("the certificate of {name} has expired: {error}"),
                "renew the certificate; if it is new, restart the server, or set this machine's clock".to_owned(),
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                format!("the certificate of {name} is not valid yet: {error}"),
                "set the clock of this machine, or of the issuer".to_owned(),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                format!("the certificate is not for {name}: {error}"),
                format!("issue a certificate with {name} among its subject alternative names, or use a name that it has"),
            ),
            CertificateError::UnknownIssuer => (
                format!("this machine does not trust the issuer of the certificate of {name}"),
                format!(
                    "let the server show the whole chain (fullchain.pem); for a private authority, put its certificate on each \
                     machine as /etc/docker/certs.d/{name}/ca.crt"
                ),
            ),
            other => (
                format!("the certificate of {name} cannot be used: {other}"),
                "get another certificate, from an authority that follows today's rules".to_owned(),
            ),
        },
        Some(rustls::Error::InvalidMessage(_)) => (
            format!("the server at {name} does not speak TLS"),
            "use the port with TLS, or give --plain-http here and set \"insecure-registries\" in docker's daemon.json".to_owned(),
        ),
        _ => (
            format!("the TLS handshake with {name} failed: {error}"),
            "check whether a firewall or a proxy interrupts TLS, and whether the server speaks TLS 1.2 or 1.3".to_owned(),
        ),
    };
    Check::failed("tls", found, fix)
}
