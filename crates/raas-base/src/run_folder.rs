//! A folder that lives as long as a run.
//!
//! ```text
//! <parent>/<name>         the folder
//! <parent>/<name>.lock    locked for as long as the run lives
//! ```
//!
//! The folder is removed at the end of the run. After a kill, the next run removes it: the system releases a lock
//! however its holder ends, so a folder whose lock can be taken belongs to no living run.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::interrupt;

/// A folder of this run, removed when this value is dropped.
#[derive(Debug)]
pub struct RunFolder {
    folder: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes a folder with these permissions, in a parent that exists. `register` gets its path before the folder
    /// exists. An interrupt finds all of it or nothing.
    pub fn begin(parent: &Path, mode: u32, register: impl FnOnce(&Path)) -> io::Result<Self> {
        interrupt::make(|| {
            let (lock, lock_path) = lock_file(parent)?;
            let folder = lock_path.with_extension("");
            register(&folder);
            DirBuilder::new().mode(mode).create(&folder)?;
            Ok(Self { folder, lock_path, _lock: lock })
        })
    }

    /// The folder's path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // If this fails, the next run removes the folder.
        if fs::remove_dir_all(&self.folder).is_ok() {
            drop(fs::remove_file(&self.lock_path));
        }
    }
}

/// A new file with a name of its own, locked.
fn lock_file(parent: &Path) -> io::Result<(File, PathBuf)> {
    loop {
        let new = tempfile::Builder::new().suffix(".lock").tempfile_in(parent)?;
        let (lock, path) = new.keep().map_err(|error| error.error)?;
        lock.lock()?;
        // Before the lock was taken, another run may have removed the file as that of a killed run.
        if lock.metadata()?.nlink() > 0 {
            return Ok((lock, path));
        }
    }
}

/// Removes the folders of killed runs, and returns their number.
pub fn sweep(parent: &Path) -> io::Result<usize> {
    let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(parent) {
        Err(error) if is_absent(&error) => return Ok(0),
        entries => entries?,
    };
    let mut swept = 0;
    for entry in entries {
        let lock_path = entry?.path();
        if lock_path.extension().is_none_or(|end| end != "lock") {
            continue;
        }
        let lock = match File::open(&lock_path) {
            Err(error) if is_absent(&error) => continue,
            lock => lock?,
        };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        // The run has just ended, or another run has swept the folder.
        if lock.metadata()?.nlink() == 0 {
            continue;
        }
        match fs::remove_dir_all(lock_path.with_extension("")) {
            Err(error) if !is_absent(&error) => return Err(error),
            _ => fs::remove_file(&lock_path)?,
        }
        swept += 1;
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_killed_runs_are_swept_and_those_of_living_runs_stay() {
        let parent = tempfile::tempdir().unwrap();
        let living = RunFolder::begin(parent.path(), 0o755, |_| {}).unwrap();
        fs::create_dir(parent.path().join("dead")).unwrap();
        fs::write(parent.path().join("dead/0"), "half").unwrap();
        fs::write(parent.path().join("dead.lock"), "").unwrap();
        assert_eq!(sweep(parent.path()).unwrap(), 1);
        assert!(living.folder().is_dir());
        drop(living);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        assert_eq!(sweep(&parent.path().join("nowhere")).unwrap(), 0);
    }
}
