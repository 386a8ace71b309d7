//! The private git repository that holds `raas.cfg`, and what raas keeps there of each vendor.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::source::FILE;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::redact;
use raas_base::scratch::Scratch;
use raas_git::Repository;
use raas_git::{Change, CommitId};
use raas_git::{GitErrorKind, Remote};
use raas_publish::home::Home;

/// A clone that lives as long as the command.
#[derive(Debug)]
pub(crate) struct ConfigRepository {
    remote: Remote,
    branch: String,
    record: Repository,
    folder: PathBuf,
    pace: Duration,
    _scratch: Scratch,
}

/// Gives a file's content by its path; nothing if there is no such file.
pub(crate) type ReadFile<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, Failure> + 'a;

/// What stands in the configuration of a new repository.
const FIRST: &[u8] = b"# The configuration of raas; raas.cfg.template explains every key.\n";

/// How often a push that others were faster than is made again.
const TRIES: u32 = 20;

/// What the pauses between tries are made of: see [`pause`].
const PACE: Duration = Duration::from_millis(100);

impl ConfigRepository {
    /// Clones it.
    pub(super) fn open(remote: Remote, branch: Option<&str>, home: &Home) -> Result<Self, Failure> {
        let parent = home.config_clones();
        let scratch = Scratch::new(&parent)
            .context(|| format!("cannot make a private folder in {}", parent.display()))?;
        let folder = scratch.folder().join("clone");
        remote.clone_into(&folder, branch)?;
        let git_folder = folder.join(".git");
        let named = Repository::at_head(git_folder.clone());
        let branch = named.git().run(&["symbolic-ref", "--short", "HEAD"])?.trim().to_owned();
        let record = Repository::of_branch(git_folder, &branch);
        let repository = Self { remote, branch, record, folder, pace: PACE, _scratch: scratch };
        // Nothing is to be written into a repository that somebody has named by mistake.
        if let Some(head) = repository.record.head()?
            && repository.record.read(&head, FILE)?.is_none()
        {
            let message = format!(
                "{} has no {FILE} on branch {}: is it the configuration repository?",
                redact::text(&repository.remote.address),
                repository.branch
            );
            return Err(Failure::new(Kind::Usage, message)
                .hint("commit a raas.cfg there first; raas.cfg.template explains every key"));
        }
        Ok(repository)
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

    /// The configuration's bytes; empty in a repository without commits.
    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        match self.record.head()? {
            Some(head) => Ok(self.record.read(&head, FILE)?.unwrap_or_default()),
            None => Ok(Vec::new()),
        }
    }

    /// Changes one file's text; says whether it did.
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

    /// Commits and pushes changes; says whether there were any. `make` is given a reader of the branch's files and
    /// is called again on top of what others have pushed meanwhile, so that nobody's work is lost.
    pub(crate) fn change(
        &self,
        message: &str,
        make: &dyn Fn(&ReadFile<'_>) -> Result<Vec<Change>, Failure>,
    ) -> Result<bool, Failure> {
        let mut tries = 1;
        loop {
            let head = self.record.head()?;
            let read = |path: &str| match &head {
                Some(head) => self.record.read(head, path),
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
            // A repository without commits becomes one of ours, so that the next run knows it.
            if head.is_none() && !changes.iter().any(|(path, _)| path == FILE) {
                changes.push((FILE.to_owned(), Some(FIRST.to_vec())));
            }
            let commit = self.record.commit(head.as_ref(), &changes, message)?;
            match self.remote.push(self.record.git(), commit.as_str(), &self.branch) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind == GitErrorKind::Rejected && tries < TRIES => {
                    thread::sleep(pause(self.pace, tries));
                    tries += 1;
                    self.start_over(head.as_ref())?;
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    return Err(if tries == TRIES {
                        failure.preceded_by(&format!("others were faster {TRIES} times in a row"))
                    } else {
                        failure
                    });
                }
            }
        }
    }

    /// Takes the branch to where the others have it.
    fn start_over(&self, before: Option<&CommitId>) -> Result<(), Failure> {
        match self.remote.fetch(self.record.git(), &self.branch) {
            // A new repository whose first push did not come through.
            Err(error) if error.kind == GitErrorKind::NotFound && before.is_none() => {
                let reference = format!("refs/heads/{}", self.branch);
                self.record.git().run(&["update-ref", "-d", &reference])?;
                Ok(())
            }
            fetched => Ok(fetched?),
        }
    }
}

/// Some time, longer after more tries and by chance, so that those who met do not meet again.
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
    fn a_race_that_is_always_lost_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let hosted = Repository::of_branch(folder.path().join("conf.git"), "main");
        hosted.create().unwrap();
        hosted.commit(None, &[(FILE.into(), Some(b"".into()))], "Configure").unwrap();
        let address = format!("file://{}", hosted.git().folder().display());
        let home = Home::new(Some(folder.path().join("home"))).unwrap();
        home.ensure().unwrap();
        let remote = Remote { address, patience: Duration::from_secs(60) };
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
        assert!(said.contains("others were faster 20 times in a row"), "{said}");
        assert_eq!(races.get(), 20);
        let read = |path| hosted.read(&hosted.head().unwrap().unwrap(), path).unwrap();
        assert_eq!((read("ours"), read("other")), (None, Some(b"20".to_vec())));
    }

    #[test]
    fn pauses_grow_and_differ() {
        for (tries, most) in [(1, 125), (2, 250), (3, 500), (20, 500)] {
            let pauses: Vec<Duration> = (0..50).map(|_| pause(PACE, tries)).collect();
            let (least, most) = (Duration::from_millis(most / 5), Duration::from_millis(most));
            assert!(pauses.iter().all(|pause| (least..most).contains(pause)), "{tries}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
