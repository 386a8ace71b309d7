//! Certificates from a certification authority that speaks ACME (RFC 8555): asked for when the server starts, and
//! again before they are over.
//!
//! Each name has a certificate of its own, so that one that cannot be had holds up no other. The authority is shown
//! that the name is ours on the server's own port, by TLS-ALPN-01 (`tls/challenges.rs`).

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

use folder::Folder;
use order::Authority;

/// The longest pause after several failures. Let's Encrypt asks for restraint: five in an hour for a name are too many.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 60 * 60);

/// The longest sleep in one piece, so that a clock that is set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

/// How long it may take to get one certificate.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Which certificates the server gets for itself, and from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The names, each of which must lead to this server.
    pub domains: Vec<String>,
    /// Where the authority writes to if something is wrong.
    pub email: Option<String>,
    /// Where the account and the certificates are kept; made if it is not there.
    pub folder: PathBuf,
    /// The authority's directory.
    pub directory: String,
    /// The roots to trust the directory by, in PEM; this machine's without it.
    pub ca: Option<PathBuf>,
    /// The pause after a failure; it doubles with each one that follows.
    pub pause: Duration,
}

impl Acme {
    /// Let's Encrypt.
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

    /// How long to pause after a first failure. So an hour has no more of them than Let's Encrypt allows.
    pub const PAUSE: Duration = Duration::from_secs(5 * 60);
}

/// What keeps the certificates up.
pub(crate) struct AcmeRenewal {
    authority: Arc<Authority>,
    domains: Vec<String>,
    pause: Duration,
    certificates: Arc<Certificates>,
    metrics: Arc<Metrics>,
}

impl AcmeRenewal {
    /// Shows what was kept from before, or a certificate that nobody trusts until there is one.
    ///
    /// # Errors
    /// The folder cannot be written to, or a setting is no good.
    pub(crate) fn open(
        acme: Acme,
        certificates: Arc<Certificates>,
        challenges: Arc<Challenges>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, order::Error> {
        for domain in &acme.domains {
            if !is_name(domain) {
                return Err(
                    format!("`{domain}` is no name of a host that a certificate can be asked for").into()
                );
            }
        }
        let folder = Folder::open(&acme.folder, &acme.directory)?;
        certificates.set_placeholder(placeholder(&acme.domains)?);
        for domain in &acme.domains {
            metrics.certificate_wanted(domain);
            match folder.certificate(domain) {
                Ok(Some(certificate)) => certificates.set_acme(certificate),
                Ok(None) => {}
                // It is asked for again, which writes over it.
                Err(error) => tracing::warn!(domain, error, "the certificate that was kept cannot be used"),
            }
        }
        let Acme { domains, email, directory, ca, pause, .. } = acme;
        let http = client::Http::new(ca.as_deref())?;
        let authority = Authority::new(http, directory, email, folder, challenges);
        Ok(Self { authority: Arc::new(authority), domains, pause, certificates, metrics })
    }

    /// Keeps all certificates up, for ever.
    pub(crate) async fn keep(self) {
        let mut tasks = JoinSet::new();
        for domain in self.domains {
            let (authority, metrics) = (Arc::clone(&self.authority), Arc::clone(&self.metrics));
            tasks.spawn(keep(domain, authority, Arc::clone(&self.certificates), metrics, self.pause));
        }
        tasks.join_all().await;
    }
}

/// A certificate that says itself what it is.
fn placeholder(domains: &[String]) -> Result<Certificate, order::Error> {
    let mut params = CertificateParams::new(domains)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "raas has no certificate yet");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Certificate::read(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
}

/// Whether it is a host name in lower case with more than one label. A name for many, `*.`, cannot be shown to be ours
/// by a connection.
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
        let kept = certificates.of_acme(&domain);
        let due = kept.as_ref().map_or(Utc::from_unix(0), Certificate::due);
        if due > now {
            tokio::time::sleep(Duration::from_secs(due.distance(now)).min(LONGEST_SLEEP)).await;
            continue;
        }
        tracing::info!(domain, "asking for a certificate");
        let asked = tokio::time::timeout(PATIENCE, authority.certificate(&domain)).await;
        match asked.unwrap_or_else(|_| Err("the authority takes too long".into())) {
            Ok(certificate) => {
                let ends = certificate.validity.not_after;
                tracing::info!(domain, %ends, "there is a new certificate");
                certificates.set_acme(certificate);
                failures = 0;
                // Whatever the new one says: no authority is asked in a loop.
                tokio::time::sleep(pause).await;
            }
            Err(error) => {
                metrics.certificate_failed(&domain);
                let wait = pause.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
                failures += 1;
                let serving = if kept.is_some() { "the one before" } else { "one that nobody trusts" };
                let seconds = wait.as_secs();
                tracing::error!(domain, %error, serving, seconds, "there is no new certificate; trying again");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_hosts_are_asked_for() {
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
