//! The check of the certificate that a registry shows.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use raas_http::ForwardProxies;
use raas_types::url::host_of;
use raas_types::{Utc, Validity};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

use super::Check;
use crate::config::RegistryAddress;
use crate::{resolver, trust};

/// The time limit of a connection attempt, and of each step of a handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// A certificate with less than this time left is a warning, in seconds: two weeks.
const EXPIRES_SOON: u64 = 14 * 86_400;

/// Checks the certificate of a registry. A registry on this machine needs none, and behind a proxy none can be seen. The
/// check of the registry reports a name without an address, and a port that nobody listens on.
pub(super) fn check(registry: &RegistryAddress) -> Option<Check> {
    let host = registry.host.as_str();
    let url = format!("https://{registry}/").parse().ok()?;
    if ForwardProxies::from_environment().ok()?.for_url(&url).is_some() {
        return None;
    }
    let addresses = resolver::resolve(host, registry.port.unwrap_or(443)).ok()?;
    let address = addresses.into_iter().find(|address| !address.ip().is_loopback())?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    let shown = handshake(host, stream, &trust::roots(&registry.to_string()));
    Some(check_certificate(&registry.to_string(), shown, Utc::of(SystemTime::now())))
}

/// Makes a TLS handshake. Returns the certificates that the server shows.
pub(crate) fn handshake(
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

/// The check of a handshake's result. The host may have a port.
pub(crate) fn check_certificate(
    host: &str,
    shown: Result<Vec<CertificateDer<'static>>, io::Error>,
    now: Utc,
) -> Check {
    let chain = match shown {
        Ok(chain) => chain,
        Err(error) => return refused(host, &error),
    };
    let name = host_of(host);
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
fn refused(host: &str, error: &io::Error) -> Check {
    let name = host_of(host);
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
                     machine as /etc/docker/certs.d/{host}/ca.crt"
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
