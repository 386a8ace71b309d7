//! The server's own certificate: two files, followed, so that one that is renewed is used without a restart.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use raas_types::Validity;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::spawn_blocking;

use crate::stamp::Stamp;

/// The files of a certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those between it and a root, in that order.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The certificate as the files have it now.
pub(crate) struct Certificate {
    files: CertificateFiles,
    current: ArcSwap<ServerConfig>,
    /// When it ends, in seconds since 1970; 0 if it does not say.
    ends: AtomicU64,
}

impl Certificate {
    /// Reads the files. Unlike later, they must be good.
    pub(crate) async fn open(files: CertificateFiles) -> io::Result<(Arc<Self>, Stamps)> {
        let reading = spawn_blocking(move || {
            let stamps = Stamps::of(&files)?;
            let (config, ends) = read(&files)?;
            let (current, ends) = (ArcSwap::from_pointee(config), AtomicU64::new(ends));
            Ok((Arc::new(Self { files, current, ends }), stamps))
        });
        reading.await.map_err(io::Error::other)?
    }

    /// What a connection that begins now is answered with.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// When it ends, in seconds since 1970, if it says so.
    pub(crate) fn ends(&self) -> Option<u64> {
        Some(self.ends.load(Ordering::Relaxed)).filter(|ends| *ends > 0)
    }

    /// Looks at the files again and again. What cannot be used changes nothing: the two are replaced one after the
    /// other, and for a moment do not fit.
    pub(crate) async fn follow(self: Arc<Self>, mut seen: Stamps, every: Duration) {
        let mut complaint = None;
        loop {
            tokio::time::sleep(every).await;
            let certificate = Arc::clone(&self);
            let polling = spawn_blocking(move || certificate.poll(seen));
            let error = match polling.await {
                Ok(Ok(stamps)) => {
                    seen = stamps;
                    complaint = None;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            if complaint.as_ref() != Some(&error) {
                let file = self.files.certificate.display();
                tracing::error!(%file, error, "the certificate cannot be used; the one before stays");
                complaint = Some(error);
            }
        }
    }

    fn poll(&self, seen: Stamps) -> io::Result<Stamps> {
        let stamps = Stamps::of(&self.files)?;
        if stamps != seen {
            let (config, ends) = read(&self.files)?;
            self.current.store(Arc::new(config));
            self.ends.store(ends, Ordering::Relaxed);
            tracing::info!(file = %self.files.certificate.display(), "certificate loaded");
        }
        Ok(stamps)
    }
}

/// The files as they were when they were last good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamps(Stamp, Stamp);

impl Stamps {
    fn of(files: &CertificateFiles) -> io::Result<Self> {
        let stamp = |path: &PathBuf| fs::metadata(path).map(|found| Stamp::from(&found));
        let both = stamp(&files.certificate).and_then(|first| Ok(Self(first, stamp(&files.key)?)));
        both.map_err(|error| named(files, &error))
    }
}

fn read(files: &CertificateFiles) -> io::Result<(ServerConfig, u64)> {
    let config = || -> Result<(ServerConfig, u64), Box<dyn std::error::Error + Send + Sync>> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.certificate)?.collect();
        let chain = chain?;
        let validity = chain.first().and_then(|certificate| Validity::of(certificate));
        let key = PrivateKeyDer::from_pem_file(&files.key)?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        // It refuses a key that is not the certificate's.
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok((config, validity.map_or(0, |validity| validity.not_after.unix())))
    };
    config().map_err(|error| named(files, &error))
}

fn named(files: &CertificateFiles, error: &dyn std::fmt::Display) -> io::Error {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    io::Error::other(format!("certificate {certificate} with key {key}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_end_is_known() {
        let made = rcgen::generate_simple_self_signed(vec!["acme.localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        };
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        fs::write(&files.certificate, made.cert.pem()).unwrap();
        let (_, ends) = read(&files).unwrap();
        // As rcgen has it where nothing is said.
        assert_eq!(raas_types::Utc::from_unix(ends).to_string(), "4096-01-01T00:00:00Z");
    }
}
