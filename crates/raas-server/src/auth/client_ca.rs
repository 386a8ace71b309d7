//! Client certificates, and the authorities that a site accepts them from.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::{ClientCaConfig, Entitlements};
use crate::files::FollowedFile;

/// How long the verdict about a certificate is valid. A certificate may expire while its connection is open.
const VERDICT_LIFETIME: Duration = Duration::from_secs(60);

/// The authorities of a site, as their file is now.
#[derive(Debug)]
pub(crate) struct ClientCa {
    path: PathBuf,
    file: FollowedFile<Verifier>,
    /// Whether a certificate grants only the paths that it lists.
    reads_entitlements: bool,
}

/// What an accepted certificate grants.
#[derive(Debug, Clone)]
pub(super) enum Certified {
    Everything,
    /// What is below these paths.
    Paths(Arc<Entitlements>),
}

type Verifier = Arc<dyn ClientCertVerifier>;

impl ClientCa {
    pub(crate) fn new(ClientCaConfig { file: path, entitlements }: ClientCaConfig<'_>) -> Self {
        let file = FollowedFile::new(path, "authorities of client certificates", verifier);
        Self { path: path.to_owned(), file, reads_entitlements: entitlements }
    }

    /// The configuration.
    pub(crate) fn config(&self) -> ClientCaConfig<'_> {
        ClientCaConfig { file: &self.path, entitlements: self.reads_entitlements }
    }

    /// Reads the file if it has changed.
    pub(crate) fn poll(&self) {
        self.file.poll();
    }

    /// Whether the file could not be read at the last poll.
    pub(super) fn is_unreadable(&self) -> bool {
        self.file.is_unreadable()
    }
}

/// Checks that a PEM file holds certificates of authorities.
///
/// # Errors
/// The file cannot be read, or has no certificate that can be used.
pub fn check_client_ca(file: &Path) -> Result<(), String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string());
    let checked = bytes.and_then(|bytes| verifier(&bytes)).map(drop);
    checked.map_err(|error| format!("{}: {error}", file.display()))
}

fn verifier(bytes: &[u8]) -> Result<Verifier, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate =
            certificate.map_err(|error| format!("cannot read a certificate from the PEM file: {error}"))?;
        roots.add(certificate).map_err(|error| format!("cannot use a certificate: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::new(default_provider()));
    builder.build().map_err(|error| error.to_string())
}

/// The certificates that a client presented. The TLS handshake has verified that the client owns the key of the first
/// one. Each site decides for itself whether it accepts them.
#[derive(Debug)]
pub(crate) struct PresentedCertificates {
    chain: Vec<CertificateDer<'static>>,
    cached: Mutex<Option<CachedVerdict>>,
    /// What the first certificate lists. It is read once for a connection, and only if an authority has issued it.
    entitlements: OnceLock<Result<Arc<Entitlements>, String>>,
}

#[derive(Debug)]
struct CachedVerdict {
    by: Arc<Verifier>,
    when: Instant,
    verdict: Result<(), String>,
}

impl PresentedCertificates {
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, cached: Mutex::default(), entitlements: OnceLock::new() }
    }

    /// Verifies that one of the site's authorities issued the certificate, and reads what it grants. The error is the
    /// reason for the client.
    pub(super) fn verify(&self, ca: &ClientCa) -> Result<Certified, String> {
        self.verify_issuer(ca)?;
        if !ca.reads_entitlements {
            return Ok(Certified::Everything);
        }
        let read = self.entitlements.get_or_init(|| {
            let first = self.chain.first().ok_or("the client presented no certificate")?;
            Entitlements::of(first).map(Arc::new).map_err(|error| error.to_string())
        });
        read.clone().map(Certified::Paths)
    }

    fn verify_issuer(&self, ca: &ClientCa) -> Result<(), String> {
        let Some(by) = ca.file.current() else {
            return Err("this registry accepts no client certificates at present".into());
        };
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &*cached
            && Arc::ptr_eq(&before.by, &by)
            && before.when.elapsed() < VERDICT_LIFETIME
        {
            return before.verdict.clone();
        }
        let verdict = self.verify_chain(&by);
        *cached = Some(CachedVerdict { by, when: Instant::now(), verdict: verdict.clone() });
        verdict
    }

    fn verify_chain(&self, verifier: &Verifier) -> Result<(), String> {
        let (first, others) = self.chain.split_first().ok_or("the client presented no certificate")?;
        let verdict = verifier.verify_client_cert(first, others, UnixTime::now());
        verdict.map(drop).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair};

    use super::*;

    /// An extension of Red Hat's with a short text.
    fn extension(numbers: &[u64], text: &str) -> CustomExtension {
        let id = [&[1, 3, 6, 1, 4, 1, 2312, 9], numbers].concat();
        let length = u8::try_from(text.len()).unwrap();
        CustomExtension::from_oid_content(&id, [&[0x0c, length], text.as_bytes()].concat())
    }

    #[test]
    fn the_list_of_a_certificate_is_read_once_for_a_connection() {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = authority.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(authority, key);
        let mut params = CertificateParams::new(vec!["customer".to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.custom_extensions = vec![extension(&[4, 1], "order"), extension(&[2, 5, 1, 6], "/appliance")];
        let own = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, pem).unwrap();
        let presented = PresentedCertificates::new(vec![own.into()]);
        let verify = |entitlements| {
            let ca = ClientCa::new(ClientCaConfig { file: &file, entitlements });
            match presented.verify(&ca).unwrap() {
                Certified::Everything => None,
                Certified::Paths(paths) => Some(paths),
            }
        };
        let (first, second) = (verify(true).unwrap(), verify(true).unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        assert!(first.grant("/appliance/ui/") && !first.grant("/appliances/"));
        assert!(verify(false).is_none());
    }
}
