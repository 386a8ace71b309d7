//! The certificates that clients on this machine trust for a registry.

use std::fs;
use std::path::{Path, PathBuf};

use raas_http::Trust;
use raas_sources::registry::certificate_folders;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// What to do if this machine does not know the authority of a registry's certificate.
pub(crate) fn fix(registry: &str) -> String {
    format!(
        "give this machine the certificate of the authority: as /etc/docker/certs.d/{registry}/ca.crt, in the system's trust \
         store, or in the file that SSL_CERT_FILE names"
    )
}

/// Whose certificates clients on this machine trust for the host: those that the machine trusts, and those that docker and
/// podman trust for this host.
pub(crate) fn trust(host: &str) -> Trust {
    Trust::SystemAnd(authorities(&certificate_folders(), host))
}

/// The same as a list of root certificates.
pub(crate) fn roots(host: &str) -> Vec<CertificateDer<'static>> {
    let mut roots = rustls_native_certs::load_native_certs().certs;
    roots.extend(authorities(&certificate_folders(), host));
    roots
}

/// The certificates `*.crt` in the host's folders. Each client reads some of the folders, so all of them count.
fn authorities(folders: &[PathBuf], host: &str) -> Vec<CertificateDer<'static>> {
    let is_authority = |path: &PathBuf| path.extension().is_some_and(|end| end == "crt");
    let files = folders.iter().flat_map(|folder| fs::read_dir(Path::new(folder).join(host)));
    let files = files.flatten().flatten().map(|entry| entry.path()).filter(is_authority);
    // docker reports a certificate that cannot be read.
    files.flat_map(CertificateDer::pem_file_iter).flatten().flatten().collect()
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;

    use super::*;

    #[test]
    fn each_folder_of_a_host_adds_its_authorities() {
        let root = tempfile::tempdir().unwrap();
        let folders = ["user", "system"].map(|name| root.path().join(name));
        for folder in &folders {
            let key = KeyPair::generate().unwrap();
            let authority = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
            fs::create_dir_all(folder.join("x.org:5000")).unwrap();
            fs::write(folder.join("x.org:5000/ca.crt"), authority.pem()).unwrap();
            fs::write(folder.join("x.org:5000/client.key"), key.serialize_pem()).unwrap();
        }
        assert_eq!(authorities(&folders, "x.org:5000").len(), 2);
        assert_eq!(authorities(&folders, "x.org").len(), 0);
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let is_users = |folder: &PathBuf| home.as_ref().is_some_and(|home| folder.starts_with(home));
        assert_eq!(certificate_folders().iter().any(is_users), home.is_some());
    }
}
