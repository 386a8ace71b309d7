//! A private folder that lives as long as a command, for files that nobody else may read.
//!
//! It is removed at the end of the command, by a signal (`interrupt`), or after a kill by the next run (`run_folder`).

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::interrupt;
use crate::run_folder::{self, RunFolder};

/// A private folder, removed when this value is dropped.
#[derive(Debug)]
pub struct Scratch {
    run: RunFolder,
    _interrupted: Option<interrupt::PrivateFolder>,
}

impl Scratch {
    /// Makes a private folder, and removes those of killed runs.
    pub fn new(parent: &Path) -> io::Result<Self> {
        // Other users may be allowed to read the home above, but not this folder.
        if let Some(above) = parent.parent() {
            fs::create_dir_all(above)?;
        }
        match DirBuilder::new().mode(0o700).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        run_folder::sweep(parent)?;
        let mut interrupted = None;
        let register = |folder: &Path| interrupted = Some(interrupt::PrivateFolder::new(folder.to_owned()));
        let run = RunFolder::begin(parent, 0o700, register)?;
        Ok(Self { run, _interrupted: interrupted })
    }

    /// The folder's path.
    pub fn folder(&self) -> &Path {
        self.run.folder()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_folder_is_private_and_is_removed_with_the_run() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(&parent.path().join("p")).unwrap();
        let folder = scratch.folder().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        fs::create_dir(folder.join("sub")).unwrap();
        let other = Scratch::new(&parent.path().join("p")).unwrap();
        assert!(folder.join("sub").is_dir(), "the folder of a living run stays");
        drop((scratch, other));
        assert_eq!(fs::read_dir(parent.path().join("p")).unwrap().count(), 0);
    }

    #[test]
    fn the_folder_of_a_killed_run_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("dead")).unwrap();
        fs::write(parent.path().join("dead/secret"), "x").unwrap();
        fs::write(parent.path().join("dead.lock"), "").unwrap();
        drop(Scratch::new(parent.path()).unwrap());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
