//! The certificates that clients on this machine trust for a registry.

use std::fs;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The root certificates that this machine trusts, and the certificates that docker and podman trust for the host.
pub(crate) fn roots(host: &str) -> Vec<CertificateDer<'static>> {
    let mut roots = rustls_native_certs::load_native_certs().certs;
    for folder in ["/etc/docker/certs.d", "/etc/containers/certs.d"] {
        let files = fs::read_dir(Path::new(folder).join(host)).into_iter().flatten().flatten();
        let files =
            files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "crt"));
        for file in files {
            // docker reports a certificate that cannot be read.
            roots.extend(CertificateDer::pem_file_iter(file).into_iter().flatten().flatten());
        }
    }
    roots
}
