//! Client certificates, and the authorities that a site accepts them from.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::files::FollowedFile;

/// How long the verdict about a certificate is valid. A certificate may expire while its connection is open.
const VERDICT_LIFETIME: Duration = Duration::from_secs(60);

/// The authorities of a site, as their file is now.
#[derive(Debug)]
pub(crate) struct ClientCa {
    path: PathBuf,
    file: FollowedFile<Verifier>,
}

type Verifier = Arc<dyn ClientCertVerifier>;

impl ClientCa {
    pub(crate) fn new(path: &Path) -> Self {
        let file = FollowedFile::new(path, "authorities of client certificates", verifier);
        Self { path: path.to_owned(), file }
    }

    /// The file of the authorities.
    pub(crate) fn file(&self) -> &Path {
        &self.path
    }

    /// Reads the file if it has changed.
    pub(crate) fn poll(&self) {
        self.file.poll();
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
}

#[derive(Debug)]
struct CachedVerdict {
    by: Arc<Verifier>,
    when: Instant,
    verdict: Result<(), String>,
}

impl PresentedCertificates {
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, cached: Mutex::default() }
    }

    /// Verifies that one of the site's authorities issued the certificate. The error is the reason for the client.
    pub(super) fn verify(&self, ca: &ClientCa) -> Result<(), String> {
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
