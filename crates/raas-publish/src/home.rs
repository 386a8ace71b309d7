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

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use raas_types::crane::tree;
use raas_types::{ObjectKey, VendorName};

use crate::checkout::Checkout;
use crate::format::{FormatFile, HOME_FORMAT, RECORD_FORMAT};
use crate::reading::Reading;
use crate::record::Record;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::{Say, files};

/// A longer wait says what it waits for.
const QUIET: Duration = Duration::from_secs(5);

/// The name of the folder with the last publication's files.
const CHECKOUT: &str = "checkout";

/// How long [`Vendor::confirm_evidence`] waits for a run that publishes. That run has checked the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// The folder that holds everything.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    /// The records of the vendors that somebody uses. All users of a vendor have one record, so that one process of git reads
    /// for all of them.
    records: Arc<Mutex<BTreeMap<VendorName, Weak<Record>>>>,
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
        Ok(Self { root, records: Arc::default() })
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
        let folder = self.root.join(name.as_str());
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let open = records.get(name).and_then(Weak::upgrade);
        let record = open.unwrap_or_else(|| {
            let served = Checkout::new(folder.join(CHECKOUT)).revision_file();
            Arc::new(Record::new(folder.join("metadata.git")).served_by(served))
        });
        records.insert(name.clone(), Arc::downgrade(&record));
        Vendor { name: name.clone(), folder, record }
    }

    /// A vendor's part of the home.
    ///
    /// # Errors
    /// The vendor is not set up, or cannot be read.
    pub fn existing(&self, name: &VendorName) -> Result<Vendor, Failure> {
        let vendor = self.vendor(name);
        if vendor.exists()? {
            return Ok(vendor);
        }
        Err(Failure::new(Kind::Usage, format!("there is no vendor {name} in {}", self.root.display()))
            .hint(format!("set it up: raas setup {name}")))
    }

    /// The vendors that are set up, in order. A vendor that cannot be read is one of them: see [`Vendor::presence`].
    pub fn vendors(&self) -> io::Result<Vec<Vendor>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut vendors = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            vendors
                .extend(name.map(|name: VendorName| self.vendor(&name)).filter(|vendor| !vendor.is_absent()));
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
    record: Arc<Record>,
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
    ///
    /// The setup makes the checkout last. A vendor without a checkout is absent only if certainly nothing was published:
    /// a lost checkout, a folder of another user and a file system that is not mounted are
    /// [`Unreadable`](Reading::Unreadable).
    pub fn presence(&self) -> Reading<()> {
        let checkout = self.checkout();
        let checkout = checkout.folder();
        match fs::read_dir(checkout) {
            Ok(_) => Reading::There(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.trace() {
                Ok(None) => Reading::Absent,
                Ok(Some(trace)) => Reading::Unreadable(self.lost(&trace)),
                Err(error) => Reading::Unreadable(self.inaccessible(&self.folder, error)),
            },
            Err(error) => Reading::Unreadable(self.inaccessible(checkout, error)),
        }
    }

    /// Whether the setup of the vendor is complete.
    ///
    /// # Errors
    /// The vendor cannot be read: see [`presence`](Self::presence).
    pub fn exists(&self) -> Result<bool, Failure> {
        Ok(self.presence().readable()?.is_some())
    }

    /// Whether the vendor certainly does not exist.
    pub fn is_absent(&self) -> bool {
        matches!(self.presence(), Reading::Absent)
    }

    /// What says that something was published, although the checkout is gone. An interrupted setup leaves none of it.
    fn trace(&self) -> io::Result<Option<String>> {
        if fs::symlink_metadata(&self.folder).is_ok() && !self.folder.try_exists()? {
            return Ok(Some(format!("{} is a link to nothing", self.folder.display())));
        }
        if self.record().has_trace()? {
            return Ok(Some("its record has a branch".to_owned()));
        }
        let content = find_content(&self.bucket(), "")?;
        Ok(content.map(|key| format!("its bucket has {key}")))
    }

    /// The failure for a vendor whose checkout is gone.
    fn lost(&self, trace: &str) -> Failure {
        let (name, checkout) = (&self.name, self.checkout());
        let message =
            format!("cannot know what {name} publishes: {} is missing", checkout.folder().display());
        Failure::new(Kind::Environment, message).caused_by(trace).hint(format!(
            "run `raas setup {name} --repair`, which makes the home again from whatever copy is good; nothing was changed"
        ))
    }

    /// The failure for a vendor whose files cannot be read.
    fn inaccessible(&self, path: &Path, error: io::Error) -> Failure {
        let message = format!("cannot read vendor {}: {}", self.name, path.display());
        Failure::new(Kind::Environment, message).caused_by(error).hint(format!(
            "give the user of raas access to {}, or run the command as the owner of that folder; nothing was changed",
            self.folder.display()
        ))
    }

    /// Sets the vendor up, or completes an interrupted setup.
    ///
    /// # Errors
    /// The vendor was published before, and its record is lost. A new record would be an empty registry.
    pub fn create(&self, say: &Say) -> Result<(), Failure> {
        let cannot = || format!("cannot set up {} in {}", self.name, self.folder.display());
        self.check_formats()?;
        self.exists()?;
        self.make_folder()?;
        files::make_folders(&self.bucket()).context(cannot)?;
        let _lock = self.lock(say)?;
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
        let has_trace =
            || self.record().has_trace().context(|| format!("cannot read {}", self.folder.display()));
        if checkout.revision().readable()?.is_some() || has_trace()? {
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

    /// Removes the vendor's folder if nothing is in it. A folder that cannot be removed stays: an empty one means nothing.
    pub fn remove_empty_folder(&self) {
        drop(fs::remove_dir(&self.folder));
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

    /// As [`service_note`](Self::service_note), for the service of a static registry.
    pub fn static_service_note(&self) -> PathBuf {
        self.folder.join("static-s3-service.json")
    }

    /// As [`uploads`](Self::uploads), for a static registry: its bucket may have another name or prefix.
    pub fn static_uploads(&self) -> PathBuf {
        self.folder.join("static-uploads")
    }

    /// The record of what the vendor publishes.
    pub fn record(&self) -> Record {
        Record::clone(&self.record)
    }

    /// The last publication's files, for servers of this home.
    pub fn checkout(&self) -> Checkout {
        Checkout::new(self.folder.join(CHECKOUT))
    }

    /// The file in which this home notes the keys of its publish leases. If the file exists and no run holds the
    /// vendor's lock, a run of this home was killed while it held a lease.
    pub fn lease_note(&self) -> PathBuf {
        self.folder.join("turn")
    }

    /// The file that says whether the service behind the bucket has conditional writes.
    pub fn conditional_writes_note(&self) -> PathBuf {
        self.folder.join("conditional-writes.json")
    }

    /// Waits for the vendor's lock, and refuses a home or a record of a newer raas. A wait of some seconds says what it waits
    /// for. Until the lock is dropped, no other run of this home publishes. The system releases the lock if the run is killed.
    pub fn lock(&self, say: &Say) -> Result<VendorLock, Failure> {
        self.lock_saying(Evidence::Checked, say)
    }

    /// As [`lock`](Self::lock), for a repair: what the home knows of its publications may be contradictory.
    pub fn lock_for_repair(&self, say: &Say) -> Result<VendorLock, Failure> {
        self.lock_saying(Evidence::InDoubt, say)
    }

    fn lock_saying(&self, evidence: Evidence, say: &Say) -> Result<VendorLock, Failure> {
        if let Some(lock) = self.lock_with(evidence, try_for(QUIET))? {
            return Ok(lock);
        }
        say.line(&format!(
            "Waiting: another run of this machine changes {}, and holds {}",
            self.name,
            self.folder.join("lock").display()
        ));
        let lock = self.lock_with(evidence, |file| file.lock().map(|()| true))?;
        Ok(lock.expect("it waits until it has it"))
    }

    /// As [`lock`](Self::lock), but returns `None` if that takes longer than `patience`.
    pub fn lock_within(&self, patience: Duration) -> Result<Option<VendorLock>, Failure> {
        self.lock_with(Evidence::Checked, try_for(patience))
    }

    /// Checks that all evidence of this home agrees about the last publication. The caller holds the vendor's lock.
    ///
    /// Servers serve the commit of the checkout, and the branch's log has the commit that the branch was moved to. Both
    /// are the last publication or an earlier one: a publication is a commit first. If one of them is later, the branch
    /// was lost, and an old branch was restored, as from a backup. A publication on top of it would withdraw the later
    /// ones. So the log, the checkout's revision and its documents must be readable too.
    ///
    /// # Errors
    /// The branch cannot be read, or is older than the checkout or than its own log, or one of these cannot be read.
    pub fn check_evidence(&self) -> Result<(), Failure> {
        let record = self.record();
        // Read before the branch, so that a publication in between makes only the branch newer.
        let logged = record.last_logged().map_err(|why| record.unreadable(why))?;
        let checkout = self.checkout();
        let served = match checkout.revision() {
            Reading::Absent => None,
            Reading::There(commit) => Some(commit),
            Reading::Unreadable(failure) => return Err(record.unreadable(failure.message().to_owned())),
        };
        checkout.check_access()?;
        let head = record.head()?;
        if let (Some(head), None) = (&head, &served)
            && let Some(path) = checkout.unknown_document(&record, head)?
        {
            return Err(record.unreadable(format!(
                "it is at commit {head}, and servers of this home are given {path}, which that commit does not have"
            )));
        }
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

    /// As [`check_evidence`](Self::check_evidence), for a caller without the vendor's lock. A contradiction may come
    /// from a publication that is being made, so this checks again with the lock.
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
    ) -> Result<Option<VendorLock>, Failure> {
        self.check_formats()?;
        let path = self.folder.join("lock");
        let lock = || {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            if !wait(&file)? {
                return Ok(None);
            }
            let lock = VendorLock(file);
            // The child processes inherit the lock: a git that outlives its killed run may still write.
            rustix::io::fcntl_setfd(&lock.0, rustix::io::FdFlags::empty())?;
            Ok::<_, io::Error>(Some(lock))
        };
        let lock = lock().context(|| format!("cannot lock {}", path.display()))?;
        if lock.is_some() {
            // With the lock, no other process writes to the record.
            self.record().recover()?;
            let exists = match evidence {
                Evidence::Checked => self.exists()?,
                Evidence::InDoubt => !self.is_absent(),
            };
            if exists {
                if evidence == Evidence::Checked {
                    self.check_evidence()?;
                }
                // This run writes today's formats.
                self.formats().iter().try_for_each(FormatFile::ensure)?;
            }
        }
        Ok(lock)
    }
}

/// Tries to lock a file for so long.
fn try_for(patience: Duration) -> impl FnOnce(&File) -> io::Result<bool> {
    move |file| {
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(true),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if begun.elapsed() > patience => return Ok(false),
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// The vendor's lock, which is held until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct VendorLock(File);

impl Drop for VendorLock {
    fn drop(&mut self) {
        // All processes that inherited the file have one lock. Some outlive it: a git that reads a record, of this vendor or
        // of another one, runs for as long as somebody may read. So closing the file here would not release the lock. Each
        // git that writes has ended by now, since raas waits for it.
        drop(self.0.unlock());
    }
}

/// The key of an object of an image in a folder; `None` if the folder holds none. What raas tests the storage with, and
/// unfinished uploads, are no content.
fn find_content(bucket: &Path, below: &str) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(bucket.join(below)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let key = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            if let Some(found) = find_content(bucket, &key)? {
                return Ok(Some(found));
            }
        } else if ObjectKey::is_content(&key) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Whether taking the lock fails if the evidence of the last publication is contradictory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// It fails: see [`Vendor::check_evidence`].
    Checked,
    /// It does not fail: the caller repairs the home.
    InDoubt,
}

#[cfg(test)]
mod tests {
    use raas_git::CommitId;

    use super::*;

    #[test]
    fn a_newer_home_or_record_is_refused_before_anything_is_written() {
        for file in ["_format", "acme/metadata.git/raas-format"] {
            let folder = tempfile::tempdir().unwrap();
            let home = Home::new(Some(folder.path().to_owned())).unwrap();
            let vendor = home.vendor(&"acme".parse().unwrap());
            vendor.create(&Say::nothing()).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join(file)).unwrap(), "1\n");
            // An older raas wrote no number.
            fs::remove_file(folder.path().join(file)).unwrap();
            drop(vendor.lock(&Say::nothing()).unwrap());
            vendor.create(&Say::nothing()).unwrap();
            fs::write(folder.path().join(file), "2\n").unwrap();
            for failure in [vendor.lock(&Say::nothing()).map(drop), vendor.create(&Say::nothing())] {
                let failure = failure.unwrap_err().to_string();
                assert!(failure.contains("has format 2; this raas knows formats up to 1"), "{failure}");
                assert!(failure.contains("hint: upgrade this raas"), "{failure}");
            }
        }
    }

    #[test]
    fn a_reader_of_any_record_that_inherited_the_lock_does_not_keep_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().to_owned())).unwrap();
        let [acme, other] = ["acme", "other"].map(|name| home.vendor(&name.parse().unwrap()));
        for vendor in [&acme, &other] {
            vendor.create(&Say::nothing()).unwrap();
        }
        for reader in [&acme, &other] {
            let lock = acme.lock(&Say::nothing()).unwrap();
            // The process is started anew while the lock is held, and goes on afterwards.
            reader.record().forget();
            reader.record().head().unwrap();
            drop(lock);
            assert!(acme.lock_within(Duration::ZERO).unwrap().is_some(), "{}", reader.name());
        }
        // A lock that is held is held, whoever else has the file.
        let _lock = acme.lock(&Say::nothing()).unwrap();
        let elsewhere = Home::new(Some(folder.path().to_owned())).unwrap().vendor(acme.name());
        assert!(elsewhere.lock_within(Duration::ZERO).unwrap().is_none());
    }

    #[test]
    fn all_users_of_a_vendor_share_its_record_for_as_long_as_somebody_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().to_owned())).unwrap();
        let name = "acme".parse().unwrap();
        let (one, two) = (home.vendor(&name), home.vendor(&name));
        assert!(Arc::ptr_eq(&one.record, &two.record));
        let weak = Arc::downgrade(&one.record);
        drop((one, two));
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_vendor_exists_once_its_setup_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().to_owned())).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        assert!(vendor.is_absent() && !vendor.exists().unwrap());
        vendor.create(&Say::nothing()).unwrap();
        vendor.create(&Say::nothing()).unwrap();
        assert!(vendor.exists().unwrap());
        assert_eq!(fs::metadata(vendor.folder()).unwrap().mode() & 0o777, 0o700);
        assert!(!vendor.is_open_to_others().unwrap());
        fs::create_dir_all(home.servers()).unwrap();
        let names: Vec<String> = home.vendors().unwrap().iter().map(|v| v.name().to_string()).collect();
        assert_eq!(names, ["acme"]);
    }

    /// A vendor with one publication.
    fn published() -> (tempfile::TempDir, Vendor, CommitId) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().to_owned())).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        vendor.create(&Say::nothing()).unwrap();
        let commit = publish(&vendor, "app");
        (folder, vendor, commit)
    }

    fn publish(vendor: &Vendor, name: &str) -> CommitId {
        let (record, document) = (vendor.record(), format!("{}/{name}.json", tree::DATA));
        let change = (document, Some(format!("{{\"repo-registry-id\": \"{name}\"}}").into_bytes()));
        let commit = record.commit(record.head().unwrap().as_ref(), &[change], "Publish").unwrap();
        vendor.checkout().update(&record, &commit).unwrap();
        commit
    }

    #[test]
    fn a_vendor_whose_checkout_is_lost_is_neither_absent_nor_new() {
        type Damage = fn(&Vendor);
        let table: [(&str, Damage); 4] = [
            ("its record has a branch", |_| {}),
            ("its record has a branch", |vendor| {
                vendor.record().git().run(&["pack-refs", "--all"]).unwrap();
            }),
            ("its bucket has app/_v2/tags/list", |vendor| {
                fs::remove_dir_all(vendor.record().git().folder()).unwrap();
                fs::create_dir_all(vendor.bucket().join("app/_v2/tags")).unwrap();
                fs::write(vendor.bucket().join("app/_v2/tags/list"), "{}").unwrap();
            }),
            ("is a link to nothing", |vendor| {
                fs::remove_dir_all(vendor.folder()).unwrap();
                std::os::unix::fs::symlink("/nonexistent/acme", vendor.folder()).unwrap();
            }),
        ];
        for (why, damage) in table {
            let (folder, vendor, _) = published();
            damage(&vendor);
            drop(fs::remove_dir_all(vendor.checkout().folder()));
            let refused = vendor.exists().unwrap_err().to_string();
            assert!(refused.contains(why) && refused.contains("--repair"), "{why}: {refused}");
            assert_eq!(vendor.create(&Say::nothing()).unwrap_err().to_string(), refused, "{why}");
            let home = Home::new(Some(folder.path().to_owned())).unwrap();
            assert_eq!(home.vendors().unwrap().len(), 1, "{why}");
            assert!(home.existing(vendor.name()).is_err(), "{why}");
        }
    }

    #[test]
    fn an_interrupted_setup_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().to_owned())).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        vendor.create(&Say::nothing()).unwrap();
        // The setup was killed before its last step, while it tested the storage.
        fs::remove_dir_all(vendor.checkout().folder()).unwrap();
        fs::create_dir_all(vendor.bucket().join("_probe")).unwrap();
        fs::write(vendor.bucket().join("_probe/x"), "x").unwrap();
        assert!(vendor.is_absent());
        vendor.create(&Say::nothing()).unwrap();
    }

    #[test]
    fn a_branch_that_came_back_old_is_not_trusted_if_the_checkout_says_no_commit() {
        for revision in ["", "garbage", "gone"] {
            let (_folder, vendor, first) = published();
            publish(&vendor, "big");
            let git = vendor.record().git().folder().to_owned();
            fs::write(git.join("refs/heads/main"), format!("{first}\n")).unwrap();
            let log = fs::read_to_string(git.join("logs/refs/heads/main")).unwrap();
            fs::write(git.join("logs/refs/heads/main"), log.lines().next().unwrap().to_owned() + "\n")
                .unwrap();
            let file = vendor.checkout().revision_file();
            match revision {
                "gone" => fs::remove_file(file).unwrap(),
                text => fs::write(file, text).unwrap(),
            }
            let refused = vendor.lock(&Say::nothing()).unwrap_err().to_string();
            assert!(refused.contains("--repair"), "{revision}: {refused}");
        }
    }

    #[test]
    fn a_branch_whose_log_and_revision_are_lost_is_not_absent() {
        let (_folder, vendor, _) = published();
        let git = vendor.record().git().folder().to_owned();
        let log = git.join("logs/refs/heads/main");
        fs::write(&log, "").unwrap();
        assert!(vendor.lock(&Say::nothing()).unwrap_err().to_string().contains("is empty"));
        fs::remove_file(git.join("refs/heads/main")).unwrap();
        fs::remove_file(vendor.checkout().revision_file()).unwrap();
        for failure in [vendor.lock(&Say::nothing()).map(drop), vendor.record().head().map(drop)] {
            let refused = failure.unwrap_err().to_string();
            assert!(refused.contains("documents") && refused.contains("--repair"), "{refused}");
        }
    }

    #[test]
    fn a_first_update_of_the_checkout_that_was_killed_is_no_damage() {
        let (_folder, vendor, _) = published();
        fs::remove_file(vendor.checkout().revision_file()).unwrap();
        drop(vendor.lock(&Say::nothing()).unwrap());
        fs::write(vendor.checkout().folder().join(tree::UNFINISHED), "").unwrap();
        fs::remove_file(vendor.checkout().folder().join(tree::DATA).join("app.json")).unwrap();
        drop(vendor.lock(&Say::nothing()).unwrap());
    }
}
