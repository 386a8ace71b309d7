//! How commands find the servers that run on this machine: each server registers itself with a file in the home.
//!
//! A server keeps its file locked for as long as it lives, and the system releases the lock however the server ends.
//! So a file that can be locked belongs to a server that is gone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use raas_types::VendorName;
use serde::{Deserialize, Serialize};

/// The registration of a running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRegistration {
    /// The address that it listens on.
    pub address: SocketAddr,
    /// Its process id.
    pub pid: u32,
    /// The vendors that it serves. Empty for all vendors of the home.
    pub vendors: Vec<VendorName>,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub secure: bool,
}

/// The scheme of a server's URLs.
pub fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

impl ServerRegistration {
    /// Whether the server serves this vendor.
    pub fn serves(&self, vendor: &VendorName) -> bool {
        self.vendors.is_empty() || self.vendors.contains(vendor)
    }

    /// The base URL that programs on this machine use.
    pub fn url(&self) -> String {
        format!("{}://{}", scheme(self.secure), self.reachable())
    }

    /// The address that clients on this machine use: a server that listens everywhere is reached over loopback.
    pub fn reachable(&self) -> SocketAddr {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        address
    }
}

/// A registration that lasts until this is dropped.
#[derive(Debug)]
pub struct Registered {
    path: PathBuf,
    lock: File,
}

impl Registered {
    /// Whether other processes still find the registration. Somebody may have removed its folder.
    pub fn is_there(&self) -> bool {
        let found = fs::metadata(&self.path).and_then(|found| Ok((found, self.lock.metadata()?)));
        found.is_ok_and(|(found, own)| (found.dev(), found.ino()) == (own.dev(), own.ino()))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // If the file stays, other processes can lock it, and so know that its server is dead. Another file of this name is a
        // later registration of the same server.
        if self.is_there() {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Registers a server in a folder, which need not exist yet.
///
/// # Errors
/// The folder or the file cannot be written.
pub fn register(folder: &Path, server: &ServerRegistration) -> io::Result<Registered> {
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".").tempfile_in(folder)?;
    file.write_all(&serde_json::to_vec(server)?)?;
    file.as_file().lock()?;
    // Locked before it has its name, so nobody can find it without its lock.
    let path = folder.join(format!("{}-{}.json", server.pid, server.address.port()));
    let lock = file.persist(&path).map_err(|error| error.error)?;
    Ok(Registered { path, lock })
}

/// The living servers, in the order of their addresses. The files of dead servers are removed.
///
/// # Errors
/// The folder cannot be read.
pub fn living(folder: &Path) -> io::Result<Vec<ServerRegistration>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut servers: Vec<ServerRegistration> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock_shared() {
            Ok(()) => drop(fs::remove_file(&path)),
            Err(fs::TryLockError::WouldBlock) => {
                servers.extend(serde_json::from_reader::<_, ServerRegistration>(&file).ok());
            }
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    servers.sort_by_key(|server| server.address);
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn living_servers_are_found_and_dead_servers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let server = ServerRegistration {
            address: "0.0.0.0:5000".parse().unwrap(),
            pid: 7,
            vendors: vec!["acme".parse().unwrap()],
            secure: true,
        };
        assert_eq!(living(&folder.path().join("none")).unwrap(), []);
        let registered = register(folder.path(), &server).unwrap();
        assert_eq!(living(folder.path()).unwrap(), std::slice::from_ref(&server));
        assert_eq!(server.url(), "https://127.0.0.1:5000");
        // A registration of an older version has no `secure`.
        let old = r#"{"address":"127.0.0.1:5000","pid":7,"vendors":[]}"#;
        assert_eq!(serde_json::from_str::<ServerRegistration>(old).unwrap().url(), "http://127.0.0.1:5000");
        assert!(server.serves(&"acme".parse().unwrap()) && !server.serves(&"other".parse().unwrap()));
        assert!(registered.is_there());
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(!registered.is_there());
        let again = register(folder.path(), &server).unwrap();
        assert!(again.is_there() && !registered.is_there());
        assert_eq!(living(folder.path()).unwrap(), std::slice::from_ref(&server));
        drop((registered, again));
        fs::write(folder.path().join("9.json"), serde_json::to_vec(&server).unwrap()).unwrap();
        assert_eq!(living(folder.path()).unwrap(), []);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
