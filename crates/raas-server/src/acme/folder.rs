//! The stored account and certificates of an authority, with their keys.
//!
//! ```text
//! <folder>/<host of the directory>/account.json
//! <folder>/<host of the directory>/<name>.pem     the key, and the chain
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hyper::Uri;

use super::order::Error;
use crate::tls::Certificate;

const ACCOUNT: &str = "account.json";

/// The folder of one authority. Each authority has its own, so a certificate of a staging authority is never shown in
/// production.
pub(super) struct AcmeFolder(PathBuf);

impl AcmeFolder {
    /// Opens the folder. A folder that is created here is accessible to this user only.
    pub(super) fn open(folder: &Path, directory: &str) -> Result<Self, Error> {
        let uri: Uri = directory.parse().map_err(|_| "the URL of the ACME directory is invalid")?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https"));
        let authority = authority.ok_or("the URL of the ACME directory does not begin with https://")?;
        let folder = folder.join(authority.as_str().replace(':', "_"));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let folder = Self(folder);
        // Fails now rather than after an authority has issued something that cannot be stored.
        folder
            .write(".probe", b"")
            .and_then(|()| fs::remove_file(folder.0.join(".probe")))
            .map_err(|error| format!("cannot write to {}: {error}", folder.0.display()))?;
        Ok(folder)
    }

    /// The stored account.
    pub(super) fn account(&self) -> io::Result<Option<Vec<u8>>> {
        present(fs::read(self.0.join(ACCOUNT)))
    }

    pub(super) fn store_account(&self, account: &[u8]) -> io::Result<()> {
        self.write(ACCOUNT, account)
    }

    pub(super) fn forget_account(&self) -> io::Result<()> {
        present(fs::remove_file(self.0.join(ACCOUNT))).map(drop)
    }

    /// The stored certificate of a name.
    pub(super) fn certificate(&self, domain: &str) -> Result<Option<Certificate>, String> {
        let file = self.0.join(name_of(domain));
        let stored = present(fs::read(&file)).map_err(|error| error.to_string())?;
        let read = stored.map(|pem| Certificate::read(&pem, &pem)).transpose();
        read.map_err(|error| format!("{}: {error}", file.display()))
    }

    pub(super) fn store_certificate(&self, domain: &str, pem: &str) -> io::Result<()> {
        self.write(&name_of(domain), pem.as_bytes())
    }

    /// Writes a file that only this user can read. A crash leaves the old file or the new one.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.0.join(format!("{name}.new"));
        present(fs::remove_file(&new))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }
}

/// The file of a name. A name was validated before, so it has no slashes.
fn name_of(domain: &str) -> String {
    format!("{domain}.pem")
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn stored_files_are_private_and_separate_for_each_authority() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("acme");
        let stored = AcmeFolder::open(&root, "https://a.example.com:14000/dir").unwrap();
        assert_eq!(stored.account().unwrap(), None);
        stored.store_account(b"one").unwrap();
        stored.store_account(b"two").unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["x.example.com".to_owned()]).unwrap();
        let pem = made.signing_key.serialize_pem() + &made.cert.pem();
        stored.store_certificate("x.example.com", &pem).unwrap();
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("a.example.com_14000"), 0o700);
        assert_eq!(mode("a.example.com_14000/account.json"), 0o600);
        assert_eq!(mode("a.example.com_14000/x.example.com.pem"), 0o600);
        let again = AcmeFolder::open(&root, "https://a.example.com:14000/dir").unwrap();
        assert_eq!(again.account().unwrap().as_deref(), Some(b"two".as_slice()));
        assert_eq!(again.certificate("x.example.com").unwrap().unwrap().names, ["x.example.com"]);
        assert!(again.certificate("y.example.com").unwrap().is_none());
        let other = AcmeFolder::open(&root, "https://b.example.com/dir").unwrap();
        assert!(other.certificate("x.example.com").unwrap().is_none());
        for directory in ["http://a.example.com", "a.example.com", "https://"] {
            assert!(AcmeFolder::open(&root, directory).is_err(), "{directory}");
        }
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(AcmeFolder::open(&folder.path().join("file"), "https://a.example.com").is_err());
    }
}
