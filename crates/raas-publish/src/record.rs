//! The record: a git repository whose commits are the publications. It is the audit log, and a commit in it is what
//! makes a publication take effect.

mod branch;
mod exchange;
mod message;
mod soundness;

use std::fs;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raas_base::failure::{Context as _, Failure};
use raas_base::files;
use raas_git::{CommitId, Repository};

pub use message::{Message, parse_tag_line, rolled_back_to};

/// A vendor's record: the branch `main` of a bare git repository.
///
/// The repository can read and commit. The record adds what only publications need.
#[derive(Debug, Clone)]
pub struct Record {
    repository: Repository,
    /// The file with the commit that servers of the home serve. If the file exists, something was published.
    served: Option<PathBuf>,
}

/// The reference of [`BRANCH`].
const REFERENCE: &str = "refs/heads/main";
const BRANCH: &str = "main";

impl Deref for Record {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

impl Record {
    /// The record in this folder, which need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { repository: Repository::of_branch(folder, BRANCH), served: None }
    }

    /// With the file that has the commit that servers of the home serve.
    pub fn served_by(self, revision: PathBuf) -> Self {
        Self { served: Some(revision), ..self }
    }

    /// Every publication that was the last one at some time since `since`, the newest first.
    pub fn current_since(&self, since: SystemTime) -> Result<Vec<CommitId>, Failure> {
        if self.head()?.is_none() {
            return Ok(Vec::new());
        }
        let since = since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // Only the first parents: a merged commit was never the last one of the branch.
        let listing =
            self.git().run(&["rev-list", "--first-parent", "--reverse", "--timestamp", REFERENCE])?;
        let mut commits = Vec::new();
        // A commit is never older than its parents, whatever the clock of its machine said.
        let mut made = 0;
        let latest = SystemTime::now() + Duration::from_secs(24 * 3600);
        let latest = latest.duration_since(UNIX_EPOCH).map_or(0, |latest| latest.as_secs());
        for line in listing.lines() {
            let (time, commit) =
                line.split_once(' ').ok_or_else(|| self.git().unexpected("`git rev-list` said no time"))?;
            let time: u64 = time.parse().unwrap_or(0);
            // A time in the future is wrong and is ignored.
            if time < latest {
                made = made.max(time);
            }
            if made < since {
                // This commit replaced all earlier ones before `since`.
                commits.clear();
            }
            commits.push(CommitId::parse(commit)?);
        }
        commits.reverse();
        Ok(commits)
    }

    /// Removes the lock files of a killed git. The caller holds the vendor's lock, so no live git needs them.
    pub fn recover(&self) -> Result<(), Failure> {
        let folder = self.git().folder();
        let locks = |name: &str| name.ends_with(".lock");
        let recover = || {
            remove(folder, &|name| locks(name) || name.starts_with("fast_import_crash_"))?;
            remove_below(&folder.join("refs"), &locks)
        };
        recover().context(|| format!("cannot recover the record in {}", folder.display()))
    }

    /// Packs small files if there are many, and removes temporary files of killed runs. The caller holds the vendor's lock, so
    /// no other process writes here.
    pub fn tidy(&self) -> Result<(), Failure> {
        let folder = self.git().folder();
        // git never repacks a pack with a `.keep` file. A killed fast-import leaves such a file.
        let unfinished = |name: &str| name.starts_with("tmp_") || name.ends_with(".keep");
        remove_below(&folder.join("objects"), &unfinished)
            .context(|| format!("cannot clean up the record in {}", folder.display()))?;
        self.git().run(&["gc", "--auto", "--quiet"])?;
        Ok(())
    }
}

/// Removes the files of a folder whose names match. The folder need not exist.
fn remove(folder: &Path, matches: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let named = entry.file_name().to_str().is_some_and(matches);
        if named && !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// As [`remove`], also in all folders below.
fn remove_below(folder: &Path, matches: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let mut found = Vec::new();
    files::walk(folder, "", &mut |path, _| {
        if path.rsplit('/').next().is_some_and(matches) {
            found.push(folder.join(path));
        }
    })?;
    found.into_iter().try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use raas_git::Change;

    use super::*;

    fn record() -> (Record, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::new(folder.path().join("r.git"));
        record.create().unwrap();
        (record, folder)
    }

    fn change(path: &str, content: Option<&str>) -> Change {
        (path.to_owned(), content.map(|text| text.as_bytes().to_vec()))
    }

    #[test]
    fn a_foreign_commit_with_files_outside_its_tree_or_of_the_checkout_is_refused() {
        let (record, _folder) = record();
        // The last file is of a newer raas.
        let good = [
            change("crane/data/a.json", Some("1")),
            change("crane/data/ü/_v1.json", Some("2")),
            change("signatures/a.sig", Some("3")),
        ];
        let one = record.commit(None, &good, "One").unwrap();
        record.check_tree(&one, "s3://b").unwrap();
        for bad in ["revision", "revision/x", "unfinished", "revision.new", "crane/data/../x"] {
            let commit = record.commit(Some(&one), &[change(bad, Some("x"))], "Bad");
            // git itself refuses some of these paths.
            let Ok(commit) = commit else { continue };
            let failure = record.check_tree(&commit, "s3://b").unwrap_err().to_string();
            assert!(failure.contains("s3://b") && failure.contains("no metadata"), "{failure}");
            record.advance(Some(&commit), &one).unwrap();
        }
    }

    #[test]
    fn a_commit_keeps_files_that_this_raas_does_not_know() {
        let (record, _folder) = record();
        let first = [change("crane/data/a.json", Some("1")), change("crane/data/later/b.sig", Some("2"))];
        let one = record.commit(None, &first, "One").unwrap();
        let two = record.commit(Some(&one), &[change("crane/data/a.json", None)], "Two").unwrap();
        let paths: Vec<String> = record.files(&two, "").unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(paths, ["crane/data/later/b.sig"]);
    }

    /// Runs git with another time than now.
    fn git_at(record: &Record, seconds: u64, arguments: &[&str]) -> String {
        let mut command = std::process::Command::new("git");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_DATE"), format!("{seconds} +0000"));
            command.env(format!("GIT_{who}_NAME"), "x").env(format!("GIT_{who}_EMAIL"), "x@x");
        }
        let output = command.arg("--git-dir").arg(record.git().folder()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn a_commit_is_never_older_than_its_parents() {
        let (record, _folder) = record();
        let day = |days: u64| SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut parent = None;
        let mut made = Vec::new();
        // The clock of the third commit's machine is wrong.
        for (n, days) in [50, 3, 40, 1].into_iter().enumerate() {
            let tree = record.git().run(&["mktree"]).unwrap();
            let mut arguments =
                vec!["commit-tree".to_owned(), tree.trim().to_owned(), "-m".into(), n.to_string()];
            if let Some(parent) = &parent {
                arguments.extend(["-p".to_owned(), String::clone(parent)]);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let commit = git_at(&record, seconds(day(days)), &arguments);
            made.push(CommitId::parse(&commit).unwrap());
            parent = Some(commit);
        }
        record.advance(None, &made[3]).unwrap();
        let current = record.current_since(day(30)).unwrap();
        assert_eq!(
            current,
            made.iter().rev().cloned().collect::<Vec<_>>(),
            "the first was current until 3 days ago"
        );
        assert_eq!(record.current_since(day(2)).unwrap().len(), 2);
        // A commit with a time of next year keeps nothing that is older.
        let head = made[3].clone();
        let tree = record.git().run(&["mktree"]).unwrap();
        let next_year = seconds(SystemTime::now()) + 365 * 24 * 3600;
        let arguments = ["commit-tree", tree.trim(), "-m", "late", "-p", head.as_str()];
        let late = git_at(&record, next_year, &arguments);
        record.advance(Some(&head), &CommitId::parse(late.trim()).unwrap()).unwrap();
        assert_eq!(record.current_since(day(0)).unwrap().len(), 1);
    }

    #[test]
    fn files_of_killed_runs_are_removed() {
        let (record, _folder) = record();
        record.commit(None, &[change("a", Some("1"))], "One").unwrap();
        let folder = record.git().folder();
        fs::create_dir_all(folder.join("objects/pack")).unwrap();
        let write = |name: &str| fs::write(folder.join(name), b"half").unwrap();
        ["objects/pack/tmp_pack_x", "objects/pack/pack-x.keep"].iter().for_each(|name| write(name));
        ["HEAD.lock", "packed-refs.lock", "config.lock", "refs/heads/main.lock", "fast_import_crash_9"]
            .iter()
            .for_each(|name| write(name));
        let head = record.head().unwrap();
        record.recover().unwrap();
        record.commit(head.as_ref(), &[change("a", Some("2"))], "Two").unwrap();
        record.tidy().unwrap();
        let mut left = Vec::new();
        files::walk(folder, "", &mut |path, _| {
            if [".lock", ".keep", "tmp_", "crash"].iter().any(|mark| path.contains(mark)) {
                left.push(path.to_owned());
            }
        })
        .unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}
