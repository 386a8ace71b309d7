//! Writes the files of a commit to a folder, as they are in the repository.
//!
//! `git checkout` runs programs: the filters that the commit's `.gitattributes` chooses among those of the machine.
//! Here git only reads objects.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use raas_base::failure::{Context as _, Failure};

use crate::repository::{CommitId, Repository};

impl Repository {
    /// Writes the regular files of a commit into a folder that nobody else writes to. Links and submodules are left
    /// out.
    ///
    /// # Errors
    /// git fails, a path is not safe, or a file cannot be written.
    pub fn write_files(&self, commit: &CommitId, folder: &Path) -> Result<(), Failure> {
        let files = self.regular_files(commit)?;
        self.read_each(&files, |file, bytes| {
            let path = folder.join(&file.path);
            let write = || {
                fs::create_dir_all(path.parent().unwrap_or(folder))?;
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(0o600).open(&path)?.write_all(&bytes)
            };
            write().context(|| format!("cannot write {}", path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn regular_files_are_written_and_nothing_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (work, out) = (folder.path().join("work"), folder.path().join("out"));
        let git = |arguments: &[&str]| {
            let settings = ["-c", "user.name=A", "-c", "user.email=a@example.com"];
            let run =
                Command::new("git").arg("-C").arg(&work).args(settings).args(arguments).output().unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        };
        fs::create_dir(&work).unwrap();
        git(&["init", "--quiet", "--initial-branch=main"]);
        let ran = folder.path().join("ran");
        git(&["config", "filter.evil.smudge", &format!("touch {}; cat", ran.display())]);
        fs::create_dir(work.join("sub")).unwrap();
        fs::write(work.join(".gitattributes"), "* filter=evil\n").unwrap();
        fs::write(work.join("raas.cfg"), "[redhat]\r\n").unwrap();
        fs::write(work.join("sub/users"), "a:b\n").unwrap();
        symlink("/etc/passwd", work.join("link")).unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message=one"]);
        let repository = Repository::at_head(work.join(".git"));
        repository.write_files(&repository.head().unwrap().unwrap(), &out).unwrap();
        assert_eq!(fs::read(out.join("raas.cfg")).unwrap(), b"[redhat]\r\n");
        assert_eq!(fs::read(out.join("sub/users")).unwrap(), b"a:b\n");
        assert!(out.join("link").symlink_metadata().is_err());
        assert!(!ran.exists());
        // The filter is one that git would run.
        fs::remove_file(work.join("raas.cfg")).unwrap();
        git(&["checkout", "--quiet", "--", "raas.cfg"]);
        assert!(ran.exists());
        // Nothing is written over.
        assert!(repository.write_files(&repository.head().unwrap().unwrap(), &out).is_err());
    }
}
