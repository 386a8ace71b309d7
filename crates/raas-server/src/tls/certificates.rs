//! The server's certificates, and the choice of the one that a client is shown.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use raas_types::{Utc, Validity};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate with its private key.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// The names of the certificate, in lower case.
    pub(crate) names: Vec<String>,
    pub(crate) validity: Validity,
}

impl Certificate {
    /// When to renew the certificate: when a third of its lifetime is left, as Let's Encrypt advises.
    pub(crate) fn due(&self) -> Utc {
        let (begins, ends) = (self.validity.not_before.unix(), self.validity.not_after.unix());
        Utc::from_unix(ends.saturating_sub(ends.saturating_sub(begins) / 3))
    }

    /// Why clients refuse the certificate at this time.
    pub(super) fn fault(&self, now: Utc) -> Option<String> {
        let Validity { not_before, not_after } = &self.validity;
        if now.unix() > not_after.unix() {
            return Some(format!("it expired at {not_after}"));
        }
        (now.unix() < not_before.unix()).then(|| format!("it is not valid before {not_before}"))
    }

    /// Reads a certificate chain and its key, both in PEM. The server's certificate comes first.
    pub(crate) fn read(chain: &[u8], key: &[u8]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let key = PrivateKeyDer::from_pem_slice(key)?;
        // Fails if the key does not belong to the certificate.
        let key = CertifiedKey::from_der(chain?, key, &default_provider())?;
        let der = key.end_entity_cert()?;
        let webpki = webpki::EndEntityCert::try_from(der)?;
        let names = webpki.valid_dns_names().map(str::to_ascii_lowercase).collect();
        let validity = Validity::of(der).ok_or("the certificate has no readable validity")?;
        Ok(Self { key: Arc::new(key), names, validity })
    }
}

/// All certificates of the server.
#[derive(Default)]
pub(crate) struct Certificates {
    sources: Mutex<Sources>,
    table: ArcSwap<Table>,
}

/// Certificates by source, in the order of precedence.
#[derive(Default)]
struct Sources {
    files: Vec<Certificate>,
    acme: Vec<Certificate>,
    /// Shown while there is no other certificate.
    placeholder: Option<Certificate>,
}

impl Sources {
    fn all(&self) -> Vec<Certificate> {
        [&*self.files, &self.acme].concat()
    }
}

#[derive(Default)]
struct Table {
    all: Vec<Certificate>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.load();
        f.debug_list().entries(table.all.iter().map(|certificate| &certificate.names)).finish()
    }
}

impl Certificates {
    /// All certificates except the placeholder, in the order of precedence.
    pub(crate) fn all(&self) -> Vec<Certificate> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// Replaces the certificates from files.
    pub(super) fn set_files(&self, certificates: Vec<Certificate>) {
        self.change(|sources| sources.files = certificates);
    }

    /// Adds a certificate from an authority, and replaces the one with the same names.
    pub(crate) fn set_acme(&self, certificate: Certificate) {
        self.change(|sources| {
            sources.acme.retain(|before| before.names != certificate.names);
            sources.acme.push(certificate);
        });
    }

    /// The certificate that an authority issued for a name.
    pub(crate) fn of_acme(&self, name: &str) -> Option<Certificate> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.acme.iter().find(|certificate| certificate.names.iter().any(|own| own == name)).cloned()
    }

    /// Sets the certificate that is shown while there is no other. No client trusts it.
    pub(crate) fn set_placeholder(&self, certificate: Certificate) {
        self.change(|sources| sources.placeholder = Some(certificate));
    }

    fn change(&self, change: impl FnOnce(&mut Sources)) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sources);
        let mut table = Table { all: sources.all(), by_name: HashMap::new() };
        if table.all.is_empty() {
            table.all.extend(sources.placeholder.clone());
        }
        for certificate in &table.all {
            for name in &certificate.names {
                table.by_name.entry(name.clone()).or_insert_with(|| Arc::clone(&certificate.key));
            }
        }
        self.table.store(Arc::new(table));
    }

    /// The certificate for a name: its own, or a wildcard, or else the first certificate.
    fn of(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let found = name.map(str::to_ascii_lowercase).and_then(|name| {
            let beside = || table.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            table.by_name.get(&name).or_else(beside)
        });
        found.or_else(|| table.all.first().map(|first| &first.key)).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.of(hello.server_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Certificate::read(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap()
    }

    #[test]
    fn the_validity_of_a_certificate_is_read() {
        let mut params = rcgen::CertificateParams::new(vec!["acme.localhost".to_owned()]).unwrap();
        // Longer than the specification allows. Clients accept it.
        params.serial_number = Some(vec![0x7f; 24].into());
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let read = Certificate::read(made.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        // rcgen's default.
        assert_eq!(read.validity.not_after.to_string(), "4096-01-01T00:00:00Z");
    }

    #[test]
    fn a_client_is_shown_the_certificate_for_its_name() {
        let certificates = Certificates::default();
        assert!(certificates.of(Some("a.example.com")).is_none());
        let placeholder = certificate(&["a.example.com"]);
        certificates.set_placeholder(placeholder.clone());
        let (one, two, all) = (
            certificate(&["one.example.com"]),
            certificate(&["Two.example.com"]),
            certificate(&["*.example.com"]),
        );
        let shown = |name| certificates.of(name).unwrap();
        assert!(Arc::ptr_eq(&shown(Some("one.example.com")), &placeholder.key));
        certificates.set_files(vec![one.clone(), all.clone()]);
        certificates.set_acme(two.clone());
        for (name, expected) in [
            (Some("one.example.com"), &one),
            (Some("ONE.example.com"), &one),
            (Some("two.example.com"), &two),
            (Some("three.example.com"), &all),
            (Some("a.three.example.com"), &one),
            (Some("example.com"), &one),
            (Some("localhost"), &one),
            (None, &one),
        ] {
            assert!(Arc::ptr_eq(&shown(name), &expected.key), "{name:?}");
        }
        // A renewed certificate replaces the one before.
        let renewed = certificate(&["two.example.com"]);
        certificates.set_acme(renewed.clone());
        assert!(Arc::ptr_eq(&shown(Some("two.example.com")), &renewed.key));
        assert_eq!(certificates.all().len(), 3);
    }
}
