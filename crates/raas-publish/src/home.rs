//! The home: the folder on this machine with a folder for each vendor, and the registrations of running servers.
//!
//! ```text
//! <home>/<isv>/bucket/         the vendor's objects (storage)
//! <home>/<isv>/metadata.git/   what is published, as a bare git repository (record)
//! <home>/<isv>/checkout/       the last publication's files, which servers read
//! <home>/<isv>/uploads/        notes of uploads to S3 (storage)
//! <home>/<isv>/lock            locked while a publication is made
//! <home>/<isv>/turn            the key of this home's publish lease (lease)
//! <home>/_format               the format number of the home (format)
//! <home>/_servers/<id>.json    the registration of a running server
//! ```

use std::env;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use raas_types::VendorName;
use raas_types::crane::tree;

use crate::checkout::Checkout;
use crate::format::{FormatFile, HOME_FORMAT, RECORD_FORMAT};
use crate::record::Record;
use raas_base::failure::{Context as _, Failure, Kind};

/// The folder that holds everything.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The folder `asked`, else the folder of RAAS_HOME, else `raas` in the XDG data folder. It need not exist yet.
    pub fn new(asked: Option<PathBuf>) -> Result<Self, Failure> {
        let named =
            asked.or_else(|| env::var_os("RAAS_HOME").filter(|text| !text.is_empty()).map(PathBuf::from));
        let root = match named {
            Some(folder) => folder,
            None => default_root().ok_or_else(|| {
                Failure::new(Kind::Usage, "there is no home folder to keep anything in")
                    .hint("name a folder with --home DIR or in RAAS_HOME")
            })?,
        };
        // Documents have the bucket's path, so it must not depend on the working directory.
        let root = std::path::absolute(&root).context(|| format!("cannot use {} as home", root.display()))?;
        Ok(Self { root })
    }

    /// The folder's path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder.
    pub fn ensure(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.root)
            .context(|| format!("cannot make the home folder {}", self.root.display()))
    }

    /// A vendor's part of the home, which need not exist yet.
    pub fn vendor(&self, name: &VendorName) -> Vendor {
        Vendor { name: name.clone(), folder: self.root.join(name.as_str()) }
    }

    /// A vendor's part of the home.
    ///
    /// # Errors
    /// The vendor is not set up.
    pub fn existing(&self, name: &VendorName) -> Result<Vendor, Failure> {
        let vendor = self.vendor(name);
        if vendor.exists() {
            return Ok(vendor);
        }
        Err(Failure::new(Kind::Usage, format!("there is no vendor {name} in {}", self.root.display()))
            .hint(format!("set it up: raas setup {name}")))
    }

    /// The vendors that are set up, in order.
    pub fn vendors(&self) -> io::Result<Vec<Vendor>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut vendors = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            vendors.extend(name.map(|name: VendorName| self.vendor(&name)).filter(Vendor::exists));
        }
        vendors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(vendors)
    }

    /// The folder of the commands' clones of the configuration repository. No vendor's name begins with `_`.
    pub fn config_clones(&self) -> PathBuf {
        self.root.join("_config")
    }

    /// The folder of the commands' clones of deployed applications. No vendor's name begins with `_`.
    pub fn deployed_clones(&self) -> PathBuf {
        self.root.join("_deployed")
    }

    /// The folder of the registrations of running servers. No vendor's name begins with `_`.
    pub fn servers(&self) -> PathBuf {
        self.root.join("_servers")
    }
}

fn default_root() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("raas"))
}

/// A vendor on this machine.
#[derive(Debug, Clone)]
pub struct Vendor {
    name: VendorName,
    folder: PathBuf,
}

impl Vendor {
    /// The vendor's name.
    pub fn name(&self) -> &VendorName {
        &self.name
    }

    /// The vendor's folder in the home.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the setup of the vendor is complete.
    pub fn exists(&self) -> bool {
        // The setup makes the checkout last.
        self.checkout().folder().is_dir()
    }

    /// Sets the vendor up, or completes an interrupted setup.
    pub fn create(&self) -> Result<(), Failure> {
        let cannot = || format!("cannot set up {} in {}", self.name, self.folder.display());
        self.check_formats()?;
        fs::create_dir_all(self.bucket()).context(cannot)?;
        let _lock = self.lock()?;
        self.record().create()?;
        self.formats().iter().try_for_each(FormatFile::ensure)?;
        // With this folder, a server can tell a registry without publications from metadata that it cannot read.
        fs::create_dir_all(self.checkout().folder().join(tree::DATA)).context(cannot)
    }

    /// The files with the format numbers of the home and of the record.
    fn formats(&self) -> [FormatFile; 2] {
        let home = self.folder.parent().unwrap_or(&self.folder);
        let record = self.record();
        let record = record.git().folder();
        [
            FormatFile {
                of: format!("the home {}", home.display()),
                path: home.join("_format"),
                known: HOME_FORMAT,
            },
            FormatFile {
                of: format!("the record {}", record.display()),
                path: record.join("raas-format"),
                known: RECORD_FORMAT,
            },
        ]
    }

    /// Refuses a home or a record of a newer raas. [`lock`](Self::lock) and [`create`](Self::create) do this too; a command
    /// that writes before them calls it first.
    pub fn check_formats(&self) -> Result<(), Failure> {
        self.formats().iter().try_for_each(FormatFile::check)
    }

    /// The folder of the vendor's objects, if the vendor has no bucket.
    pub fn bucket(&self) -> PathBuf {
        self.folder.join("bucket")
    }

    /// The folder in which runs note the uploads to S3 that they have begun.
    pub fn uploads(&self) -> PathBuf {
        self.folder.join("uploads")
    }

    /// The record of what the vendor publishes.
    pub fn record(&self) -> Record {
        Record::new(self.folder.join("metadata.git"))
    }

    /// The last publication's files, for servers of this home.
    pub fn checkout(&self) -> Checkout {
        Checkout::new(self.folder.join("checkout"))
    }

    /// The file in which this home notes the key of its publish lease.
    pub fn lease_note(&self) -> PathBuf {
        self.folder.join("turn")
    }

    /// Waits for the vendor's lock, and refuses a home or a record of a newer raas. Until the file is dropped, no other run of this home publishes. The system releases the
    /// lock if the run is killed.
    pub fn lock(&self) -> Result<File, Failure> {
        self.lock_with(|file| file.lock().map(|()| true)).map(|lock| lock.expect("it waits until it has it"))
    }

    /// As [`lock`](Self::lock), but returns `None` if that takes longer than `patience`.
    pub fn lock_within(&self, patience: Duration) -> Result<Option<File>, Failure> {
        let begun = Instant::now();
        self.lock_with(|file| {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(true),
                    Err(TryLockError::Error(error)) => return Err(error),
                    Err(TryLockError::WouldBlock) if begun.elapsed() > patience => return Ok(false),
                    Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
                }
            }
        })
    }

    fn lock_with(&self, wait: impl FnOnce(&File) -> io::Result<bool>) -> Result<Option<File>, Failure> {
        self.check_formats()?;
        let path = self.folder.join("lock");
        let lock = || {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            if !wait(&file)? {
                return Ok(None);
            }
            // The child processes inherit the lock: a git that outlives its killed run may still write.
            rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
            Ok::<_, io::Error>(Some(file))
        };
        let lock = lock().context(|| format!("cannot lock {}", path.display()))?;
        if lock.is_some() {
            // With the lock, no other process writes to the record.
            self.record().recover()?;
            if self.exists() {
                // What this run writes is of today's formats.
                self.formats().iter().try_for_each(FormatFile::ensure)?;
            }
        }
        Ok(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_home_or_record_is_refused_before_anything_is_written() {
        for file in ["_format", "acme/metadata.git/raas-format"] {
            let folder = tempfile::tempdir().unwrap();
            let home = Home::new(Some(folder.path().to_owned())).unwrap();
            let vendor = home.vendor(&"acme".parse().unwrap());
            vendor.create().unwrap();
            assert_eq!(fs::read_to_string(folder.path().join(file)).unwrap(), "1\n");
            // An older raas wrote no number.
            fs::remove_file(folder.path().join(file)).unwrap();
            drop(vendor.lock().unwrap());
            vendor.create().unwrap();
            fs::write(folder.path().join(file), "2\n").unwrap();
            for failure in [vendor.lock().map(drop), vendor.create()] {
                let failure = failure.unwrap_err().to_string();
                assert!(failure.contains("has format 2; this raas knows formats up to 1"), "{failure}");
                assert!(failure.contains("hint: upgrade this raas"), "{failure}");
            }
        }
    }

    #[test]
    fn a_vendor_exists_once_its_setup_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().to_owned())).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        assert!(!vendor.exists());
        vendor.create().unwrap();
        vendor.create().unwrap();
        assert!(vendor.exists());
        fs::create_dir_all(home.servers()).unwrap();
        let names: Vec<String> = home.vendors().unwrap().iter().map(|v| v.name().to_string()).collect();
        assert_eq!(names, ["acme"]);
    }
}
