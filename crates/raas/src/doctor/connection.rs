//! The way to the registry: its name, its port, its certificate.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use raas_types::{Utc, Validity};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

use super::web::{bare, is_local_name};
use crate::status::Check;

/// How long an address may take to be connected to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A certificate that ends in less than this is told of, in seconds: two weeks.
const SOON: u64 = 14 * 86_400;

/// The certificates that this machine trusts, and those that docker and podman have been given for the host.
pub(super) fn roots(host: &str) -> Vec<CertificateDer<'static>> {
    let mut roots = rustls_native_certs::load_native_certs().certs;
    for folder in ["/etc/docker/certs.d", "/etc/containers/certs.d"] {
        let files = fs::read_dir(Path::new(folder).join(host)).into_iter().flatten().flatten();
        let files =
            files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "crt"));
        for file in files {
            // One that cannot be read is of no use to docker either, which says so.
            roots.extend(CertificateDer::pem_file_iter(file).into_iter().flatten().flatten());
        }
    }
    roots
}

/// Looks at the way, and says whether the registry is spoken to without TLS; `None` if there is no way.
pub(super) fn check(host: &str, plain_http: bool, checks: &mut Vec<Check>) -> Option<bool> {
    let name = bare(host);
    let (url, local) = (format!("https://{host}/"), is_local_name(name));
    if let (Some(proxy), false) = (ureq::Proxy::try_from_env(), local || name.starts_with("127."))
        && !url.parse().is_ok_and(|uri| proxy.is_no_proxy(&uri))
    {
        let found = format!(
            "requests go through the proxy {}, so name and certificate are not looked at",
            proxy.host()
        );
        checks.push(
            Check::warning("connection", found)
                .fix("docker and containerd need HTTPS_PROXY in their own service's environment; unset it here to look past it"),
        );
        return Some(plain_http);
    }
    let addresses = resolve(host, name, plain_http, checks)?;
    // As docker has it: this machine's own addresses need no TLS.
    let plain = plain_http || addresses.iter().all(|address| address.ip().is_loopback());
    let stream = connect(&addresses, checks)?;
    if plain {
        if plain_http && !addresses.iter().all(|address| address.ip().is_loopback()) {
            checks.push(
                Check::warning("tls", format!("{host} is spoken to without TLS"))
                    .fix(format!("docker needs \"insecure-registries\": [\"{host}\"] in daemon.json, podman --tls-verify=false; give it a certificate")),
            );
        }
        return Some(true);
    }
    let check = judge(name, handshake(name, stream, &roots(host)), Utc::of(SystemTime::now()));
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
    let unbracketed = name.trim_start_matches('[').trim_end_matches(']');
    let found: io::Result<Vec<SocketAddr>> = if is_local_name(name) {
        Ok(vec![([127, 0, 0, 1], port).into()])
    } else {
        (unbracketed, port).to_socket_addrs().map(Iterator::collect)
    };
    match found {
        Ok(addresses) if !addresses.is_empty() => {
            let ips: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            checks.push(Check::ok("name", format!("{name} is {}", ips.join(", "))));
            Some(addresses)
        }
        other => {
            let why = other.err().map_or("it has no address".to_owned(), |error| error.to_string());
            let fix = "check the spelling, the domain's DNS records, and this machine's resolver (/etc/resolv.conf)";
            checks.push(Check::failed("name", format!("{name} cannot be resolved: {why}"), fix));
            None
        }
    }
}

/// The first address that answers; those before it are told of.
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
                let fix =
                    "take addresses that do not answer out of DNS: clients may try them first, and wait";
                checks.push(Check::warning("connection", found).fix(fix).details(refused));
                return Some(stream);
            }
            Err(error) => refused.push(format!("{address}: {error}")),
        }
    }
    let fix = "start the registry, or open its port in the firewalls between here and there";
    checks.push(Check::failed("connection", refused.join("; "), fix));
    None
}

/// Shakes hands; the certificates that the server shows.
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
        .map(|one| one.clone().into_owned())
        .collect())
}

fn judge(name: &str, shown: Result<Vec<CertificateDer<'static>>, io::Error>, now: Utc) -> Check {
    let chain = match shown {
        Ok(chain) => chain,
        Err(error) => return refused(name, &error),
    };
    // The first of them to end ends it all.
    let ends = chain.iter().filter_map(|one| Validity::of(one)).map(|validity| validity.not_after).min();
    match ends {
        Some(ends) if ends.unix().saturating_sub(now.unix()) < SOON => {
            let days = ends.unix().saturating_sub(now.unix()) / 86_400;
            Check::warning("tls", format!("the certificate of {name} ends in {days} days, at {ends}"))
                .fix("renew it now, and see why that has not happened by itself")
        }
        Some(ends) => Check::ok("tls", format!("the certificate is of {name} and is good until {ends}")),
        None => Check::ok("tls", format!("the certificate is of {name}")),
    }
}

fn refused(name: &str, error: &io::Error) -> Check {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (found, fix) = match inner {
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                format!("the certificate of {name} has expired: {error}"),
                "renew it; if it is new, the server still shows the old one, or this machine's clock is wrong".to_owned(),
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                format!("the certificate of {name} is not valid yet: {error}"),
                "set the clock of this machine, or of the one that issued it".to_owned(),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                format!("the certificate is not of {name}: {error}"),
                format!("issue one with {name} among its subject alternative names, or use a name that it has"),
            ),
            CertificateError::UnknownIssuer => (
                format!("nobody whom this machine trusts has issued the certificate of {name}"),
                format!(
                    "let the server show the whole chain (fullchain.pem); for an authority of your own, put its certificate \
                     on each machine as /etc/docker/certs.d/{name}/ca.crt"
                ),
            ),
            other => (
                format!("the certificate of {name} cannot be used: {other}"),
                "issue another one, by an authority that follows today's rules".to_owned(),
            ),
        },
        Some(rustls::Error::InvalidMessage(_)) => (
            format!("what answers at {name} speaks no TLS"),
            "give the port that has TLS, or --plain-http, and \"insecure-registries\" in docker's daemon.json".to_owned(),
        ),
        _ => (
            format!("no TLS with {name}: {error}"),
            "look whether a firewall or a proxy breaks off TLS, and which versions the server speaks (1.2 or 1.3)".to_owned(),
        ),
    };
    Check::failed("tls", found, fix)
}
