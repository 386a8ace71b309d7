//! A private folder for as long as a command runs, for what nobody else may see.
//!
//! It is removed however the command ends: by itself, by a signal (`interrupt`), or, after a kill, by the next run
//! (`run_folder`).

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::interrupt;
use crate::run_folder::{self, RunFolder};

/// A private folder, removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    run: RunFolder,
    _interrupted: Option<interrupt::Folder>,
}

impl Scratch {
    /// Makes one, and removes those of runs that are gone.
    pub fn new(parent: &Path) -> io::Result<Self> {
        // The home above is for all who may read it; this folder is not.
        if let Some(above) = parent.parent() {
            fs::create_dir_all(above)?;
        }
        match DirBuilder::new().mode(0o700).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        run_folder::sweep(parent)?;
        let mut interrupted = None;
        let known = |folder: &Path| interrupted = Some(interrupt::Folder::new(folder.to_owned()));
        let run = RunFolder::begin(parent, 0o700, known)?;
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
