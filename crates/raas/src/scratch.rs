//! A private folder for as long as a command runs.
//!
//! It is removed however the command ends: by itself, by a signal (`interrupt`), or, after a kill, by the next run,
//! which sees by its lock that nobody lives there any more.
//!
//! ```text
//! <parent>/<name>         the folder, for this user alone
//! <parent>/<name>.lock    locked for as long as the run lives
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::interrupt;

/// A private folder, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    _interrupted: interrupt::Folder,
}

impl Scratch {
    /// Makes one, and removes those of runs that are gone.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        // The home above is for all who may read it; this folder is not.
        if let Some(above) = parent.parent() {
            fs::create_dir_all(above)?;
        }
        match DirBuilder::new().mode(0o700).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        sweep(parent)?;
        loop {
            let (lock, lock_path) = tempfile::Builder::new()
                .suffix(".lock")
                .tempfile_in(parent)?
                .keep()
                .map_err(|error| error.error)?;
            lock.lock()?;
            // Between its making and its locking another run may have swept it away as dead.
            if lock.metadata()?.nlink() == 0 {
                continue;
            }
            let folder = lock_path.with_extension("");
            let interrupted = interrupt::Folder::new(folder.clone());
            DirBuilder::new().mode(0o700).create(&folder)?;
            return Ok(Self { folder, lock_path, _lock: lock, _interrupted: interrupted });
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        if fs::remove_dir_all(&self.folder).is_ok() {
            drop(fs::remove_file(&self.lock_path));
        }
    }
}

/// Removes the folders of runs that are gone.
fn sweep(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let lock_path = entry?.path();
        if lock_path.extension().is_none_or(|end| end != "lock") {
            continue;
        }
        let Ok(lock) = File::open(&lock_path) else { continue };
        match lock.try_lock() {
            Ok(()) => {
                match fs::remove_dir_all(lock_path.with_extension("")) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                drop(fs::remove_file(&lock_path));
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_with_the_run() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(&parent.path().join("p")).unwrap();
        let folder = scratch.folder().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        fs::create_dir(folder.join("sub")).unwrap();
        let other = Scratch::new(&parent.path().join("p")).unwrap();
        assert!(folder.join("sub").is_dir(), "one that lives is left alone");
        drop((scratch, other));
        assert_eq!(fs::read_dir(parent.path().join("p")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_run_left_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("dead")).unwrap();
        fs::write(parent.path().join("dead/secret"), "x").unwrap();
        fs::write(parent.path().join("dead.lock"), "").unwrap();
        drop(Scratch::new(parent.path()).unwrap());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
