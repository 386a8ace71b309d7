//! A bucket that is a folder: the embedded default.
//!
//! ```text
//! <bucket>/<key>                 an object, the key's slashes as folders
//! <bucket>/_uploads/<run>/<n>    an unfinished upload
//! <bucket>/_uploads/<run>.lock   locked while that run is alive
//! ```
//!
//! No repository's name begins with `_`, so no object can lie among the uploads.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use raas_types::ObjectKey;

use super::{ListedObject, ObjectMeta, OnStored, PutOptions, Storage, StorageError, Upload, escaped};
use raas_base::eager_file::EagerFile;
use raas_base::files;
use raas_base::interrupt::{CleanUp, PrivateFolder};
use raas_base::run_folder::{self, RunFolder};

const UPLOADS: &str = "_uploads";

/// A bucket in a folder.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// The folder of this run; the first upload makes it.
    run: OnceLock<Arc<Run>>,
}

/// The unfinished uploads of this run.
#[derive(Debug)]
struct Run {
    folder: RunFolder,
    /// What an interrupt does: it removes the folder, and says so.
    _interrupted: Option<(PrivateFolder, CleanUp)>,
    next: AtomicU64,
}

impl Directory {
    /// The bucket in this folder, which must exist.
    pub fn new(root: PathBuf) -> Self {
        Self { root, run: OnceLock::new() }
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.to_string())
    }

    fn run(&self) -> io::Result<Arc<Run>> {
        if let Some(run) = self.run.get() {
            return Ok(run.clone());
        }
        let new = Arc::new(Run::begin(&self.root.join(UPLOADS))?);
        Ok(self.run.get_or_init(|| new).clone())
    }
}

impl Run {
    fn begin(uploads: &Path) -> io::Result<Self> {
        files::make_folders(uploads)?;
        let mut interrupted = None;
        let register = |folder: &Path| {
            let removal = PrivateFolder::new(folder.to_owned());
            interrupted = Some((removal, CleanUp::new(Self::said_of(uploads, folder))));
        };
        let folder = RunFolder::begin(uploads, 0o755, register)?;
        Ok(Self { folder, _interrupted: interrupted, next: AtomicU64::new(0) })
    }

    /// Says at an interrupt that unfinished uploads are removed, if there are some.
    fn said_of(uploads: &Path, folder: &Path) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let (uploads, folder) = (uploads.display().to_string(), folder.to_owned());
        move || {
            let has_some = fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_some());
            has_some.then(|| format!("what was unfinished in {uploads} is removed"))
        }
    }

    /// The path of a file that does not exist yet.
    fn next_path(&self) -> PathBuf {
        self.folder.folder().join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Storage for Directory {
    fn create(&self, options: PutOptions) -> Result<Box<dyn Upload>, StorageError> {
        let begin = || {
            let run = self.run()?;
            let path = run.next_path();
            let file = File::create_new(&path)?;
            let on_stored = options.on_stored;
            let file = EagerFile::new(file);
            Ok(DirectoryUpload { root: self.root.clone(), path, file, on_stored, _run: run })
        };
        let failed = |error: io::Error| {
            StorageError::new(format!("cannot begin to store in {}", self.root.display()), error)
        };
        Ok(Box::new(begin().map_err(failed)?))
    }

    fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError> {
        let path = self.path(key);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() => {
                Ok(Some(ObjectMeta { size: found.len(), modified: files::modified(&found), sha256: None }))
            }
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(StorageError::new(format!("cannot look at {}", path.display()), error)),
        }
    }

    fn read(&self, key: &ObjectKey) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
        let path = self.path(key);
        match File::open(&path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(StorageError::new(format!("cannot read {}", path.display()), error)),
        }
    }

    fn copy(&self, from: &ObjectKey, to: &ObjectKey, _size: u64) -> Result<(), StorageError> {
        // An object is replaced and never changed. So one file may have two names.
        let link = || {
            let run = self.run()?;
            let between = run.next_path();
            if fs::hard_link(self.path(from), &between).is_err() {
                fs::copy(self.path(from), &between)?;
                File::open(&between)?.sync_data()?;
            }
            // The time of a copy is the time of the copying.
            File::options().append(true).open(&between)?.set_modified(SystemTime::now())?;
            files::move_into_place(&between, &self.path(to))?;
            // If both names are of the same file, renaming does nothing and leaves both.
            match fs::remove_file(&between) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        };
        link().map_err(|error: io::Error| StorageError::new(format!("cannot copy {from} to {to}"), error))
    }

    fn delete_key(&self, key: &str) -> Result<(), StorageError> {
        let path = self.root.join(key);
        match fs::remove_file(&path) {
            Err(error) if !is_absent(&error) => {
                Err(StorageError::new(format!("cannot delete {}", path.display()), error))
            }
            _ => {
                // Empty folders are removed too. Another upload that needs one makes it again.
                let above = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
                above.take_while(|folder| fs::remove_dir(folder).is_ok()).for_each(drop);
                Ok(())
            }
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ListedObject)) -> Result<(), StorageError> {
        // The deepest folder that holds all keys of the prefix.
        let folder = prefix.rfind('/').map_or("", |slash| &prefix[..slash]);
        let mut each = |key: &str, found: &fs::Metadata| {
            if key.starts_with(prefix) && !key.starts_with(UPLOADS) {
                let modified = files::modified(found);
                each(ListedObject { key: key.to_owned(), size: found.len(), modified, md5: None });
            }
        };
        files::walk(&self.root, folder, &mut each).map_err(|error| {
            StorageError::new(format!("cannot list {}", self.root.join(folder).display()), error)
        })
    }

    fn abort_stale_uploads(&self) -> Result<usize, StorageError> {
        let uploads = self.root.join(UPLOADS);
        run_folder::sweep(&uploads).map_err(|error| {
            StorageError::new(format!("cannot remove unfinished uploads in {}", uploads.display()), error)
        })
    }

    fn base_url(&self) -> String {
        format!("file://{}", escaped(std::os::unix::ffi::OsStrExt::as_bytes(self.root.as_os_str())))
    }

    fn display_name(&self) -> String {
        self.root.display().to_string()
    }
}

/// Whether an error means that there is no such object. A part of its key may be the name of a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

struct DirectoryUpload {
    root: PathBuf,
    path: PathBuf,
    file: EagerFile,
    on_stored: Option<OnStored>,
    _run: Arc<Run>,
}

impl Write for DirectoryUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(on_stored) = &self.on_stored {
            on_stored(written as u64);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Upload for DirectoryUpload {
    fn commit(self: Box<Self>, key: &ObjectKey) -> Result<(), StorageError> {
        let publish = || {
            // The object must be on the disk before anything that refers to it.
            self.file.sync()?;
            files::move_into_place(&self.path, &self.root.join(key.to_string()))
        };
        publish().map_err(|error| StorageError::writing(key, error))
    }
}

impl Drop for DirectoryUpload {
    fn drop(&mut self) {
        // After a commit the file is gone already.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::suite;

    #[test]
    fn keeps_every_promise_of_a_storage() {
        suite::run(|| {
            let folder = tempfile::tempdir().unwrap();
            (Box::new(Directory::new(folder.path().to_owned())), folder)
        });
    }

    #[test]
    fn the_time_of_a_copy_is_the_time_of_the_copying() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Directory::new(folder.path().to_owned());
        let (from, to) = (ObjectKey::Probe("from".into()), ObjectKey::Probe("to".into()));
        storage.create(PutOptions::default()).unwrap().commit(&from).unwrap();
        let old = SystemTime::now() - std::time::Duration::from_secs(100_000);
        File::options().append(true).open(storage.path(&from)).unwrap().set_modified(old).unwrap();
        storage.copy(&from, &to, 0).unwrap();
        assert!(storage.stat(&to).unwrap().unwrap().modified.elapsed().unwrap().as_secs() < 100);
    }

    #[test]
    fn uploads_of_killed_runs_are_removed_and_uploads_of_live_runs_stay() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = folder.path().join(UPLOADS);
        let living = Directory::new(folder.path().to_owned());
        let mut upload = living.create(PutOptions::default()).unwrap();
        upload.write_all(b"half").unwrap();
        fs::create_dir_all(uploads.join("dead")).unwrap();
        fs::write(uploads.join("dead/0"), b"half").unwrap();
        fs::write(uploads.join("dead.lock"), b"").unwrap();
        let other = Directory::new(folder.path().to_owned());
        assert_eq!(other.abort_stale_uploads().unwrap(), 1);
        assert!(!uploads.join("dead").exists() && !uploads.join("dead.lock").exists());
        let key = ObjectKey::Probe("x".into());
        upload.commit(&key).unwrap();
        assert_eq!(other.stat(&key).unwrap().map(|found| found.size), Some(4));
        drop(living);
        assert_eq!(fs::read_dir(&uploads).unwrap().count(), 0, "a run removes its folder at its end");
    }
}
