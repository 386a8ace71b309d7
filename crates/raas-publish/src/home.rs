//! The home: the folder on this machine with a folder for each vendor, and the registrations of running servers.
//!
//! ```text
//! <home>/<isv>/bucket/         the vendor's objects (storage)
//! <home>/<isv>/metadata.git/   what is published, as a bare git repository (record)
//! <home>/<isv>/checkout/       the last publication's files, which servers read
//! <home>/<isv>/uploads/        notes of uploads to S3 (storage)
//! <home>/<isv>/sync.json       what `raas sync` remembers of images of some platforms
//! <home>/<isv>/storage.json    where the vendor's objects are, and by which configuration (storage_note)
//! <home>/<isv>/s3-service.json what the S3 service lacks (storage)
//! <home>/<isv>/lock            locked while a publication is made
//! <home>/<isv>/turn            the keys of this home's publish leases (lease)
//! <home>/<isv>/conditional-writes.json  whether the service behind the bucket has them (service)
//! <home>/_format               the format number of the home (format)
//! <home>/_servers/<id>.json    the registration of a running server
//! ```

use std::env;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use raas_types::VendorName;
use raas_types::crane::tree;

use crate::checkout::Checkout;
use crate::format::{FormatFile, HOME_FORMAT, RECORD_FORMAT};
use crate::record::Record;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::{Say, files};

/// A longer wait says what it waits for.
const QUIET: Duration = Duration::from_secs(5);

/// How long [`Vendor::confirm_evidence`] waits for a run that publishes. That run has checked the same.
const PATIENCE: Duration = Duration::from_secs(2);

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
        files::make_folders(&self.root)
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
        self.make_folder()?;
        files::make_folders(&self.bucket()).context(cannot)?;
        let _lock = self.lock()?;
        self.record().create()?;
        // A record without a branch may be new. It may also be the rest of a record that was lost.
        self.check_evidence()?;
        self.formats().iter().try_for_each(FormatFile::ensure)?;
        // With this folder, a server can tell a registry without publications from metadata that it cannot read.
        files::make_folders(&self.checkout().folder().join(tree::DATA)).context(cannot)
    }

    /// Undoes [`create`](Self::create) for a vendor whose setup failed: the vendor does not exist any more. A vendor that
    /// has published, or may have, stays.
    pub fn withdraw(&self) -> Result<(), Failure> {
        let checkout = self.checkout();
        if checkout.revision().readable()?.is_some() {
            return Ok(());
        }
        fs::remove_dir_all(checkout.folder())
            .context(|| format!("cannot remove {}", checkout.folder().display()))
    }

    /// Makes the vendor's folder, for its owner alone: it may hold a file of users, and protected images. The permissions of
    /// a folder that is there stay.
    pub fn make_folder(&self) -> Result<(), Failure> {
        self.create_folder().context(|| format!("cannot make {}", self.folder.display()))
    }

    fn create_folder(&self) -> io::Result<()> {
        if let Some(home) = self.folder.parent() {
            files::make_folders(home)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        // The name of a new folder is on the disk before what lies in it.
        self.folder.parent().map_or(Ok(()), |home| File::open(home)?.sync_all())
    }

    /// Whether other users of this machine may read the vendor's folder.
    pub fn is_open_to_others(&self) -> io::Result<bool> {
        Ok(fs::metadata(&self.folder)?.mode() & 0o007 != 0)
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

    /// What is wrong with the files of these numbers, a line each. A newer number may be of a newer raas, or of a damaged disk.
    pub(crate) fn format_damage(&self) -> Vec<String> {
        let newer = |file: &FormatFile| file.check().err().map(|failure| failure.message().to_owned());
        self.formats().iter().filter_map(|file| file.damage().or_else(|| newer(file))).collect()
    }

    /// Writes damaged numbers again. Returns whether there were any.
    pub(crate) fn mend_formats(&self) -> Result<bool, Failure> {
        self.formats().iter().try_fold(false, |mended, file| Ok(file.mend()? | mended))
    }

    /// The folder of the vendor's objects, if the vendor has no bucket.
    pub fn bucket(&self) -> PathBuf {
        self.folder.join("bucket")
    }

    /// The file in which runs note what the S3 service lacks.
    pub fn service_note(&self) -> PathBuf {
        self.folder.join("s3-service.json")
    }

    /// The folder in which runs note the uploads to S3 that they have begun.
    pub fn uploads(&self) -> PathBuf {
        self.folder.join("uploads")
    }

    /// The record of what the vendor publishes.
    pub fn record(&self) -> Record {
        Record::new(self.folder.join("metadata.git")).served_by(self.checkout().revision_file())
    }

    /// The last publication's files, for servers of this home.
    pub fn checkout(&self) -> Checkout {
        Checkout::new(self.folder.join("checkout"))
    }

    /// The file in which this home notes the keys of its publish leases. Without the vendor's lock held by another run, a
    /// file means that a run of this home was killed while it held the lease.
    pub fn lease_note(&self) -> PathBuf {
        self.folder.join("turn")
    }

    /// The file that says whether the service behind the bucket has conditional writes.
    pub fn conditional_writes_note(&self) -> PathBuf {
        self.folder.join("conditional-writes.json")
    }

    /// Waits for the vendor's lock, and refuses a home or a record of a newer raas. Until the file is dropped, no other run of this home publishes. The system releases the
    /// lock if the run is killed.
    pub fn lock(&self) -> Result<File, Failure> {
        self.lock_with(Evidence::Checked, |file| file.lock().map(|()| true))
            .map(|lock| lock.expect("it waits until it has it"))
    }

    /// As [`lock`](Self::lock), for a repair: what the home knows of its publications may be contradictory.
    pub fn lock_for_repair(&self) -> Result<File, Failure> {
        self.lock_with(Evidence::InDoubt, |file| file.lock().map(|()| true))
            .map(|lock| lock.expect("it waits until it has it"))
    }

    /// As [`lock`](Self::lock). A longer wait says what it waits for.
    pub fn lock_saying(&self, say: &Say) -> Result<File, Failure> {
        match self.lock_within(QUIET)? {
            Some(lock) => Ok(lock),
            None => {
                say.line(&format!(
                    "Waiting: another run of this machine changes {}, and holds {}",
                    self.name,
                    self.folder.join("lock").display()
                ));
                self.lock()
            }
        }
    }

    /// As [`lock`](Self::lock), but returns `None` if that takes longer than `patience`.
    pub fn lock_within(&self, patience: Duration) -> Result<Option<File>, Failure> {
        let begun = Instant::now();
        self.lock_with(Evidence::Checked, |file| {
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

    /// Checks that everything in this home that says what is published agrees. The caller holds the vendor's lock.
    ///
    /// Servers are given the commit of the checkout, and the branch's log has the commit that the branch was moved to. Both
    /// are the last publication or an earlier one: a publication is a commit first. If one of them is later, the branch was
    /// lost and came back old, as from a backup. Publishing on top of it would withdraw what came after.
    ///
    /// # Errors
    /// The branch cannot be read, or is older than what servers are given or than its own log.
    pub fn check_evidence(&self) -> Result<(), Failure> {
        let record = self.record();
        // Read before the branch, so that a publication in between makes only the branch newer.
        let logged = record.last_logged().map_err(|why| record.unreadable(why))?;
        // The checkout follows from the record: if its revision cannot be read, it is written anew.
        let served = self.checkout().revision().to_replace();
        let head = record.head()?;
        for (commit, by) in [(logged, "its log says"), (served, "servers of this home are given")] {
            let Some(commit) = commit else { continue };
            let is_earlier = match &head {
                Some(head) => *head == commit || record.covers(head, &commit)?,
                None => false,
            };
            if !is_earlier {
                let at = head.map_or_else(|| "is gone".to_owned(), |head| format!("is at commit {head}"));
                return Err(
                    record.unreadable(format!("it {at}, and {by} commit {commit}, which is not earlier"))
                );
            }
        }
        Ok(())
    }

    /// As [`check_evidence`](Self::check_evidence), for a caller without the vendor's lock. What looks contradictory may be a
    /// publication that is being made, so it is looked at again with the lock.
    pub fn confirm_evidence(&self) -> Result<(), Failure> {
        match self.check_evidence() {
            Ok(()) => Ok(()),
            Err(_) => self.lock_within(PATIENCE).map(drop),
        }
    }

    fn lock_with(
        &self,
        evidence: Evidence,
        wait: impl FnOnce(&File) -> io::Result<bool>,
    ) -> Result<Option<File>, Failure> {
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
                if evidence == Evidence::Checked {
                    self.check_evidence()?;
                }
                // What this run writes is of today's formats.
                self.formats().iter().try_for_each(FormatFile::ensure)?;
            }
        }
        Ok(lock)
    }
}

/// Whether the lock is only for a home that knows what it publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// Yes: [`Vendor::check_evidence`].
    Checked,
    /// No: the caller repairs it.
    InDoubt,
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
        assert_eq!(fs::metadata(vendor.folder()).unwrap().mode() & 0o777, 0o700);
        assert!(!vendor.is_open_to_others().unwrap());
        fs::create_dir_all(home.servers()).unwrap();
        let names: Vec<String> = home.vendors().unwrap().iter().map(|v| v.name().to_string()).collect();
        assert_eq!(names, ["acme"]);
    }
}
