//! The configuration repository: the private git repository that holds `raas.cfg` and receives the backups.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::FILE;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::redact;
use raas_base::scratch::Scratch;
use raas_git::Repository;
use raas_git::{Change, CommitId};
use raas_git::{GitErrorKind, Remote};
use raas_publish::home::Home;

/// A private clone of the configuration repository. It is removed with this value.
#[derive(Debug)]
pub struct ConfigRepository {
    remote: Remote,
    branch: String,
    clone: Repository,
    folder: PathBuf,
    pace: Duration,
    _scratch: Scratch,
}

/// Reads a file of the branch by its path. `None` if there is no such file.
pub type ReadFile<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, Failure> + 'a;

/// The content of `raas.cfg` in a new repository.
const FIRST: &[u8] = b"# The configuration of raas; raas.cfg.template explains every key.\n";

/// How many times raas tries a push when other pushes come first.
const TRIES: u32 = 20;

/// The measure of the pauses between tries: see [`pause`].
const PACE: Duration = Duration::from_millis(100);

/// Refuses the address of a repository on this machine that does not exist: then the address is wrong, and no network.
///
/// Source: git-clone(1), "GIT URLS": a path has no `:` before its first `/`.
fn check_local_path(address: &str) -> Result<(), Failure> {
    let path = match address.strip_prefix("file://") {
        Some(path) => path,
        None if address.split('/').next().is_some_and(|first| first.contains(':')) => return Ok(()),
        None => address,
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = format!("there is no configuration repository {}", redact::address(address));
            Err(Failure::new(Kind::Usage, message).hint("correct --config-repo or RAAS_CONF_REPO"))
        }
        // git says what else is wrong.
        _ => Ok(()),
    }
}

impl ConfigRepository {
    /// Clones the repository.
    ///
    /// # Errors
    /// It cannot be cloned, or has commits and no `raas.cfg`.
    pub(super) fn open(remote: Remote, branch: Option<&str>, home: &Home) -> Result<Self, Failure> {
        check_local_path(&remote.address)?;
        let parent = home.config_clones();
        let scratch = Scratch::new(&parent)
            .context(|| format!("cannot make a private folder in {}", parent.display()))?;
        // Beside the clone, so that no file of a commit can become a part of `.git`.
        let folder = scratch.folder().join("files");
        let clone = scratch.folder().join("clone");
        remote.clone_into(&clone, branch)?;
        let git_folder = clone.join(".git");
        let named = Repository::at_head(git_folder.clone());
        let branch = named.git().run(&["symbolic-ref", "--short", "HEAD"])?.trim().to_owned();
        let clone = Repository::of_branch(git_folder, &branch);
        let repository = Self { remote, branch, clone, folder, pace: PACE, _scratch: scratch };
        // The address may be a mistake: raas must not write into an unrelated repository.
        let head = repository.clone.head()?;
        if let Some(head) = &head
            && repository.clone.read(head, FILE)?.is_none()
        {
            let message = format!(
                "{} has no {FILE} on branch {}: is it the configuration repository?",
                redact::address(&repository.remote.address),
                repository.branch
            );
            return Err(Failure::new(Kind::Usage, message)
                .hint("commit a raas.cfg there first; raas.cfg.template explains every key"));
        }
        // The file may name other files of the repository by relative paths.
        head.map_or(Ok(()), |head| repository.clone.write_files(&head, &repository.folder))?;
        Ok(repository)
    }

    /// The commit of a branch as it is now. `None` if it cannot be asked for.
    pub(super) fn version(remote: &Remote, branch: Option<&str>) -> Option<String> {
        remote.head(branch).ok()?
    }

    pub(super) fn address(&self) -> &str {
        &self.remote.address
    }

    pub(super) fn branch(&self) -> &str {
        &self.branch
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration's bytes. They are empty in a repository without commits.
    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        match self.clone.head()? {
            Some(head) => Ok(self.clone.read(&head, FILE)?.unwrap_or_default()),
            None => Ok(Vec::new()),
        }
    }

    /// The files below a folder of the branch, with their paths and bytes.
    ///
    /// # Errors
    /// git cannot read them.
    pub fn files_below(&self, folder: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let Some(head) = self.clone.head()? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        self.clone.read_each(&self.clone.files(&head, folder)?, |file, bytes| {
            found.push((file.path.clone(), bytes));
            Ok(())
        })?;
        Ok(found)
    }

    /// Changes one file's text, and returns whether `edit` changed it.
    pub(super) fn edit(
        &self,
        path: &str,
        message: &str,
        edit: &dyn Fn(&str) -> Result<Option<String>, Failure>,
    ) -> Result<bool, Failure> {
        self.change(message, &|read| {
            let text = String::from_utf8_lossy(&read(path)?.unwrap_or_default()).into_owned();
            Ok(edit(&text)?.map(|text| (path.to_owned(), Some(text.into_bytes()))).into_iter().collect())
        })
    }

    /// Commits and pushes changes, and returns whether there were any.
    ///
    /// `make` gets a reader of the branch's files, and returns the changes. If somebody else pushes first, it is called
    /// again on top of that push, so that no push overwrites another.
    ///
    /// # Errors
    /// git fails, or other pushes come first 20 times in a row.
    pub fn change(
        &self,
        message: &str,
        make: &dyn Fn(&ReadFile<'_>) -> Result<Vec<Change>, Failure>,
    ) -> Result<bool, Failure> {
        let mut tries = 1;
        loop {
            let head = self.clone.head()?;
            let read = |path: &str| match &head {
                Some(head) => self.clone.read(head, path),
                None => Ok(None),
            };
            let mut changes = Vec::new();
            for (path, content) in make(&read)? {
                if read(&path)? != content {
                    changes.push((path, content));
                }
            }
            if changes.is_empty() {
                return Ok(false);
            }
            // The first commit also adds `raas.cfg`, without which the next run would reject the repository.
            if head.is_none() && !changes.iter().any(|(path, _)| path == FILE) {
                changes.push((FILE.to_owned(), Some(FIRST.to_vec())));
            }
            let commit = self.clone.commit(head.as_ref(), &changes, message)?;
            match self.remote.push(self.clone.git(), commit.as_str(), &self.branch) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind == GitErrorKind::Rejected && tries < TRIES => {
                    thread::sleep(pause(self.pace, tries));
                    tries += 1;
                    self.start_over(head.as_ref())?;
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    return Err(if tries == TRIES {
                        failure.preceded_by(&format!("other pushes came first {TRIES} times in a row"))
                    } else {
                        failure
                    });
                }
            }
        }
    }

    /// Moves the clone's branch to the last commit of the remote branch, which drops the commit that could not be
    /// pushed.
    fn start_over(&self, before: Option<&CommitId>) -> Result<(), Failure> {
        match self.remote.fetch(self.clone.git(), &self.branch) {
            // The remote repository still has no commit, so the clone's branch must have none either.
            Err(error) if error.kind == GitErrorKind::NotFound && before.is_none() => {
                let reference = format!("refs/heads/{}", self.branch);
                self.clone.git().run(&["update-ref", "-d", &reference])?;
                Ok(())
            }
            fetched => Ok(fetched?),
        }
    }
}

/// The pause after a try: 1/4 to 5/4 of `pace`, doubled after the second try and again after the third. It is random,
/// so that two runs that collided do not collide again.
fn pause(pace: Duration, tries: u32) -> Duration {
    let most = pace * (1 << (tries.min(3) - 1));
    let chance = RandomState::new().hash_one(std::process::id()) % 1000;
    most / 4 + most * chance as u32 / 1000
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_push_that_always_comes_second_ends() {
        let folder = tempfile::tempdir().unwrap();
        let hosted = Repository::of_branch(folder.path().join("conf.git"), "main");
        hosted.create().unwrap();
        hosted.commit(None, &[(FILE.into(), Some(b"".into()))], "Configure").unwrap();
        let address = format!("file://{}", hosted.git().folder().display());
        let home = Home::new(Some(folder.path().join("home"))).unwrap();
        home.ensure().unwrap();
        let remote = Remote { address, timeout: Duration::from_secs(60) };
        let mut ours = ConfigRepository::open(remote, None, &home).unwrap();
        ours.pace = Duration::ZERO;
        let races = Cell::new(0);
        let change = |most: usize| {
            races.set(0);
            ours.change("ours", &|_| {
                if races.get() < most {
                    races.set(races.get() + 1);
                    let other = ("other".into(), Some(races.get().to_string().into_bytes()));
                    hosted.commit(hosted.head()?.as_ref(), &[other], "other")?;
                }
                Ok(vec![("ours".into(), Some(b"x".into()))])
            })
        };
        let said = change(usize::MAX).unwrap_err().to_string();
        assert!(said.contains("other pushes came first 20 times in a row"), "{said}");
        assert_eq!(races.get(), 20);
        let read = |path| hosted.read(&hosted.head().unwrap().unwrap(), path).unwrap();
        assert_eq!((read("ours"), read("other")), (None, Some(b"20".to_vec())));
    }

    #[test]
    fn pauses_grow_and_are_random() {
        for (tries, most) in [(1, 125), (2, 250), (3, 500), (20, 500)] {
            let pauses: Vec<Duration> = (0..50).map(|_| pause(PACE, tries)).collect();
            let (least, most) = (Duration::from_millis(most / 5), Duration::from_millis(most));
            assert!(pauses.iter().all(|pause| (least..most).contains(pause)), "{tries}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
