//! Certificates from a certification authority that speaks ACME (RFC 8555). The server orders them when it starts, and
//! renews them before they expire.
//!
//! Each name has a certificate of its own, so a name that fails does not delay the others. The server proves that it
//! controls a name on its own port, by TLS-ALPN-01 (`tls/challenges.rs`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use raas_types::Utc;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio::task::JoinSet;

use crate::metrics::Metrics;
use crate::tls::{Certificate, Certificates, Challenges};

mod client;
mod folder;
mod order;

use folder::AcmeFolder;
use order::Authority;

/// The longest pause after repeated failures. Let's Encrypt allows five failures per name and hour.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 60 * 60);

/// The longest single sleep. A change of the system clock is noticed after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

/// How long one order may take.
const TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The certificates that the server obtains for itself, and the authority that issues them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The names, in lower case. Each must resolve to this server, and to this server alone.
    pub domains: Vec<String>,
    /// Where the authority sends warnings.
    pub email: Option<String>,
    /// The folder of the account and the certificates. It is created if it does not exist.
    pub folder: PathBuf,
    /// The URL of the authority's ACME directory.
    pub directory: String,
    /// A PEM file of the roots that certify the directory's own certificate. Default: the roots of this machine.
    pub ca: Option<PathBuf>,
    /// The pause after a failure. It doubles after each further failure.
    pub pause: Duration,
}

impl Acme {
    /// The directory of Let's Encrypt.
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

    /// The default pause after a first failure. With it, a name stays below the limit of Let's Encrypt.
    pub const PAUSE: Duration = Duration::from_secs(5 * 60);
}

/// Obtains and renews the certificates.
pub(crate) struct AcmeRenewal {
    authority: Arc<Authority>,
    domains: Vec<String>,
    pause: Duration,
    certificates: Arc<Certificates>,
    metrics: Arc<Metrics>,
}

impl AcmeRenewal {
    /// Loads the stored certificates. Names without a certificate get a placeholder that no client trusts.
    ///
    /// # Errors
    /// The folder cannot be written, or a setting is invalid.
    pub(crate) fn open(
        acme: Acme,
        certificates: Arc<Certificates>,
        challenges: Arc<Challenges>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, order::Error> {
        for domain in &acme.domains {
            if !is_name(domain) {
                return Err(
                    format!("`{domain}` is not a host name that ACME can certify: expected lower case and at least one dot, without `*`").into()
                );
            }
        }
        let folder = AcmeFolder::open(&acme.folder, &acme.directory)?;
        certificates.set_placeholder(placeholder(&acme.domains)?);
        for domain in &acme.domains {
            metrics.certificate_wanted(domain);
            match folder.certificate(domain) {
                Ok(Some(certificate)) => certificates.set_acme(certificate),
                Ok(None) => {}
                // The renewal overwrites the stored certificate.
                Err(error) => {
                    tracing::warn!(domain, error, "cannot use the stored certificate; ordering another one");
                }
            }
        }
        let Acme { domains, email, directory, ca, pause, .. } = acme;
        let http = client::Http::new(ca.as_deref())?;
        let authority = Authority::new(http, directory, email, folder, challenges);
        Ok(Self { authority: Arc::new(authority), domains, pause, certificates, metrics })
    }

    /// Obtains and renews the certificates, forever.
    pub(crate) async fn keep(self) {
        let mut tasks = JoinSet::new();
        for domain in self.domains {
            let (authority, metrics) = (Arc::clone(&self.authority), Arc::clone(&self.metrics));
            tasks.spawn(keep(domain, authority, Arc::clone(&self.certificates), metrics, self.pause));
        }
        tasks.join_all().await;
    }
}

/// A self-signed certificate whose subject says what it is.
fn placeholder(domains: &[String]) -> Result<Certificate, order::Error> {
    let mut params = CertificateParams::new(domains)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "raas has no certificate yet");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Certificate::read(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
}

/// Whether a text is a host name in lower case with more than one label. TLS-ALPN-01 cannot prove control of a wildcard
/// (`*.`).
fn is_name(domain: &str) -> bool {
    let is_label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    domain.len() <= 253 && domain.contains('.') && domain.split('.').all(is_label)
}

async fn keep(
    domain: String,
    authority: Arc<Authority>,
    certificates: Arc<Certificates>,
    metrics: Arc<Metrics>,
    pause: Duration,
) {
    let mut failures = 0;
    loop {
        let now = Utc::of(SystemTime::now());
        let stored = certificates.of_acme(&domain);
        let due = stored.as_ref().map_or(Utc::from_unix(0), Certificate::due);
        if due > now {
            tokio::time::sleep(Duration::from_secs(due.distance(now)).min(LONGEST_SLEEP)).await;
            continue;
        }
        tracing::info!(domain, "ordering a certificate");
        let ordered = tokio::time::timeout(TIMEOUT, authority.certificate(&domain)).await;
        match ordered.unwrap_or_else(|_| Err("the authority did not finish the order in time".into())) {
            Ok(certificate) => {
                let ends = certificate.validity.not_after;
                tracing::info!(domain, %ends, "obtained a new certificate");
                certificates.set_acme(certificate);
                failures = 0;
                // A certificate with unusable dates must not lead to one order after the other.
                tokio::time::sleep(pause).await;
            }
            Err(error) => {
                metrics.certificate_failed(&domain);
                let wait = pause.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
                failures += 1;
                let serving = if stored.is_some() {
                    "the previous certificate"
                } else {
                    "a placeholder that no client trusts"
                };
                let seconds = wait.as_secs();
                tracing::error!(domain, %error, serving, seconds, "cannot obtain a certificate; trying again later");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_names_are_ordered() {
        for name in ["registry.example.com", "a.b", "xn--bcher-kva.example"] {
            assert!(is_name(name), "{name}");
        }
        for name in
            ["", "localhost", "*.example.com", "A.example.com", "a..b", "a.b.", "../x.y", "a/b.c", "-a.b"]
        {
            assert!(!is_name(name), "{name}");
        }
    }
}
