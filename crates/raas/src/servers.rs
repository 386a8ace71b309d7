//! The notes that running servers leave in the home, so that other commands find them.
//!
//! A note is locked for as long as its server lives: the system lets go of it however the server ends, so a note
//! that can be locked is of a server that is gone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use raas_types::VendorName;
use serde::{Deserialize, Serialize};

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) pid: u32,
    /// The vendors that it was started for; empty for all.
    pub(crate) vendors: Vec<VendorName>,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub(crate) secure: bool,
}

/// The scheme of a server's URLs.
pub(crate) fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

impl Note {
    /// Whether the server serves this vendor.
    pub(crate) fn serves(&self, vendor: &VendorName) -> bool {
        self.vendors.is_empty() || self.vendors.contains(vendor)
    }

    /// The base URL that programs on this machine use.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", scheme(self.secure), self.reachable())
    }

    /// The address that clients on this machine use: a server that listens everywhere is reached over loopback.
    pub(crate) fn reachable(&self) -> SocketAddr {
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

/// A note that stands until it is dropped.
#[derive(Debug)]
pub(crate) struct Posted {
    path: PathBuf,
    _lock: File,
}

impl Drop for Posted {
    fn drop(&mut self) {
        // A note that stays is seen to be of a dead server.
        drop(fs::remove_file(&self.path));
    }
}

/// Leaves a note.
pub(crate) fn post(folder: &Path, note: &Note) -> io::Result<Posted> {
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".").tempfile_in(folder)?;
    file.write_all(&serde_json::to_vec(note)?)?;
    file.as_file().lock()?;
    // Locked before it has its name, so nobody can find it without its lock.
    let path = folder.join(format!("{}-{}.json", note.pid, note.address.port()));
    let lock = file.persist(&path).map_err(|error| error.error)?;
    Ok(Posted { path, _lock: lock })
}

/// The notes of servers that live. Those of dead ones are removed.
pub(crate) fn living(folder: &Path) -> io::Result<Vec<Note>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut notes: Vec<Note> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock_shared() {
            Ok(()) => drop(fs::remove_file(&path)),
            Err(fs::TryLockError::WouldBlock) => notes.extend(serde_json::from_reader::<_, Note>(&file).ok()),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    notes.sort_by_key(|note| note.address);
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_the_living_are_found_and_those_of_the_dead_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let note = Note {
            address: "0.0.0.0:5000".parse().unwrap(),
            pid: 7,
            vendors: vec!["acme".parse().unwrap()],
            secure: true,
        };
        assert_eq!(living(&folder.path().join("none")).unwrap(), []);
        let posted = post(folder.path(), &note).unwrap();
        assert_eq!(living(folder.path()).unwrap(), std::slice::from_ref(&note));
        assert_eq!(note.url(), "https://127.0.0.1:5000");
        // As an older raas leaves it.
        let old = r#"{"address":"127.0.0.1:5000","pid":7,"vendors":[]}"#;
        assert_eq!(serde_json::from_str::<Note>(old).unwrap().url(), "http://127.0.0.1:5000");
        assert!(note.serves(&"acme".parse().unwrap()) && !note.serves(&"other".parse().unwrap()));
        drop(posted);
        fs::write(folder.path().join("9.json"), serde_json::to_vec(&note).unwrap()).unwrap();
        assert_eq!(living(folder.path()).unwrap(), []);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
