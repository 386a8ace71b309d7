//! Certificates in files. The server follows the files, so a renewed certificate needs no restart. A certificate that has
//! expired, or is not valid yet, does not replace a valid one.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use raas_types::Utc;
use tokio::task::spawn_blocking;

use super::{Certificate, Certificates};
use crate::files::FileVersion;

/// The files of a certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Follows certificate files, and keeps the last valid content of each.
pub(crate) struct CertificateFollower {
    named: Vec<CertificateFiles>,
    folder: Option<PathBuf>,
    known: HashMap<CertificateFiles, LoadedCertificate>,
    /// The last error of each file. The same error is logged once.
    last_errors: HashMap<PathBuf, String>,
}

struct LoadedCertificate {
    versions: (FileVersion, FileVersion),
    certificate: Certificate,
}

impl CertificateFollower {
    /// Reads all files. At the start the named certificates must be valid.
    pub(crate) async fn open(
        named: Vec<CertificateFiles>,
        folder: Option<PathBuf>,
        into: Arc<Certificates>,
    ) -> io::Result<Self> {
        let reading = spawn_blocking(move || {
            let mut files = Self { named, folder, known: HashMap::new(), last_errors: HashMap::new() };
            for pair in files.named.clone() {
                files.load(&pair).map_err(|error| io::Error::other(shown(&pair, &error)))?;
            }
            if let Some(folder) = &files.folder {
                let cannot =
                    |error| io::Error::other(format!("certificates in {}: {error}", folder.display()));
                pairs(folder).map_err(cannot)?;
            }
            files.poll(&into);
            Ok(files)
        });
        reading.await.map_err(io::Error::other)?
    }

    /// Checks the files again and again. Invalid files change nothing. The files of a renewed certificate are replaced
    /// one after the other, so for a moment they do not match.
    pub(crate) async fn follow(mut self, into: Arc<Certificates>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let into = Arc::clone(&into);
            let polling = spawn_blocking(move || {
                self.poll(&into);
                self
            });
            match polling.await {
                Ok(files) => self = files,
                Err(error) => {
                    tracing::error!(%error, "the task that follows certificates failed; changed certificates need a restart");
                    return;
                }
            }
        }
    }

    fn poll(&mut self, into: &Certificates) {
        let mut wanted = self.named.clone();
        if let Some(folder) = self.folder.clone() {
            match pairs(&folder) {
                Ok(found) => {
                    self.last_errors.remove(&folder);
                    self.known.retain(|pair, _| self.named.contains(pair) || found.contains(pair));
                    wanted.extend(found);
                }
                Err(error) => {
                    self.complain(&folder, format!("certificates in {}: {error}", folder.display()));
                    let mut before: Vec<_> =
                        self.known.keys().filter(|pair| !self.named.contains(pair)).cloned().collect();
                    before.sort_by(|a, b| a.certificate.cmp(&b.certificate));
                    wanted.extend(before);
                }
            }
        }
        for pair in &wanted {
            match self.load(pair) {
                Ok(()) => drop(self.last_errors.remove(&pair.certificate)),
                Err(error) => self.complain(&pair.certificate, shown(pair, &error)),
            }
        }
        let known = wanted.iter().filter_map(|pair| self.known.get(pair));
        into.set_files(known.map(|known| known.certificate.clone()).collect());
    }

    fn load(&mut self, pair: &CertificateFiles) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let version = |path: &Path| fs::metadata(path).map(|found| FileVersion::from(&found));
        let versions = (version(&pair.certificate)?, version(&pair.key)?);
        if self.known.get(pair).is_some_and(|known| known.versions == versions) {
            return Ok(());
        }
        let certificate = Certificate::read(&fs::read(&pair.certificate)?, &fs::read(&pair.key)?)?;
        let (file, names) = (pair.certificate.display(), &certificate.names);
        match certificate.fault(Utc::of(SystemTime::now())) {
            None => tracing::info!(%file, ?names, "certificate loaded"),
            Some(fault) if self.is_valid(pair) => return Err(fault.into()),
            // Clients can still be told to accept it, and there is no better one.
            Some(reason) => {
                tracing::warn!(%file, ?names, reason, "certificate loaded, although clients refuse it");
            }
        }
        self.known.insert(pair.clone(), LoadedCertificate { versions, certificate });
        Ok(())
    }

    /// Whether the certificate that was last loaded from these files is valid now.
    fn is_valid(&self, pair: &CertificateFiles) -> bool {
        let now = Utc::of(SystemTime::now());
        self.known.get(pair).is_some_and(|known| known.certificate.fault(now).is_none())
    }

    fn complain(&mut self, path: &Path, error: String) {
        if self.last_errors.get(path) != Some(&error) {
            tracing::error!(error, "cannot use a certificate; keeping the previous one");
            self.last_errors.insert(path.to_owned(), error);
        }
    }
}

/// The certificates of a folder, by name: each `NAME.crt` with a `NAME.key`.
fn pairs(folder: &Path) -> io::Result<Vec<CertificateFiles>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let certificate = entry?.path();
        let key = certificate.with_extension("key");
        if certificate.extension().is_some_and(|end| end == "crt") && key.is_file() {
            found.push(CertificateFiles { certificate, key });
        }
    }
    found.sort_by(|a, b| a.certificate.cmp(&b.certificate));
    Ok(found)
}

fn shown(pair: &CertificateFiles, error: &dyn std::fmt::Display) -> String {
    format!("certificate {} with key {}: {error}", pair.certificate.display(), pair.key.display())
}
