//! What is published, as commits: the audit log, and the one place where a publication becomes true.

mod exchange;
mod reader;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::failure::{Context as _, Failure, Kind};
use crate::files;
use crate::git::{self, Git};
pub(crate) use reader::Reader;

/// A git repository of metadata trees.
#[derive(Debug)]
pub(crate) struct Record {
    git: Git,
    /// `refs/heads/…`
    branch: String,
}

/// The id of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitId(String);

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedFile {
    /// Its path in the tree.
    pub(crate) path: String,
    /// The id of its content: the same for the same content.
    pub(crate) object: String,
}

/// A change of a file: its new content, or nothing for a file that goes.
pub(crate) type Change = (String, Option<Vec<u8>>);

const BRANCH: &str = "refs/heads/main";

impl Record {
    /// A vendor's record.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { git: Git::new(folder), branch: BRANCH.to_owned() }
    }

    /// A branch of any repository, by its git folder.
    pub(crate) fn of_branch(folder: PathBuf, branch: &str) -> Self {
        Self { git: Git::new(folder), branch: format!("refs/heads/{branch}") }
    }

    /// Whatever a clone has checked out.
    pub(crate) fn at_head(folder: PathBuf) -> Self {
        Self { git: Git::new(folder), branch: "HEAD".to_owned() }
    }

    pub(crate) fn git(&self) -> &Git {
        &self.git
    }

    /// Makes the repository, if it is not there.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        let name = self.branch.strip_prefix("refs/heads/").unwrap_or(&self.branch);
        Ok(self.git.create(name)?)
    }

    /// The last publication; `None` before the first.
    pub(crate) fn head(&self) -> Result<Option<CommitId>, Failure> {
        let found =
            self.git.ask(&["rev-parse", "--verify", "--quiet", &format!("{}^{{commit}}", self.branch)])?;
        found.map(|text| CommitId::parse(text.trim())).transpose()
    }

    /// Whether the record has this commit.
    pub(crate) fn has(&self, commit: &CommitId) -> Result<bool, Failure> {
        Ok(self.git.ask(&["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")])?.is_some())
    }

    /// The files of a commit below a folder, or all with an empty one, in order.
    pub(crate) fn files(&self, commit: &CommitId, folder: &str) -> Result<Vec<RecordedFile>, Failure> {
        let mut arguments = vec!["ls-tree", "-r", "-z", "--full-tree", commit.as_str()];
        if !folder.is_empty() {
            arguments.push(folder);
        }
        let listing = self.git.run(&arguments)?;
        // <mode> SP <type> SP <object> TAB <path> NUL
        let line = |line: &str| {
            let (facts, path) = line.split_once('\t')?;
            // Commits may come from other homes, and what is in them becomes files.
            is_plain(path).then_some(RecordedFile {
                path: path.to_owned(),
                object: facts.split(' ').nth(2)?.to_owned(),
            })
        };
        listing
            .split_terminator('\0')
            .map(|text| {
                line(text).ok_or_else(|| self.git.odd(&format!("`git ls-tree` said `{text}`")).into())
            })
            .collect()
    }

    /// Reads files, one at a time.
    pub(crate) fn read_each(
        &self,
        files: &[RecordedFile],
        mut take: impl FnMut(&RecordedFile, Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if files.is_empty() {
            return Ok(());
        }
        let mut objects = self.git.objects()?;
        for file in files {
            take(file, objects.read(&file.object)?)?;
        }
        Ok(objects.finish()?)
    }

    /// One file's content; `None` if the commit has no such file.
    pub(crate) fn read(&self, commit: &CommitId, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let files = self.files(commit, path)?;
        let mut content = None;
        let file: Vec<RecordedFile> = files.into_iter().filter(|file| file.path == path).collect();
        self.read_each(&file, |_, bytes| {
            content = Some(bytes);
            Ok(())
        })?;
        Ok(content)
    }

    /// The paths that differ between two commits, and the content's id in the second for those that it has.
    pub(crate) fn changed(
        &self,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<Vec<(String, Option<RecordedFile>)>, Failure> {
        let arguments = ["diff-tree", "-r", "-z", "--no-renames", "--raw", from.as_str(), to.as_str()];
        let listing = self.git.run(&arguments)?;
        let mut words = listing.split_terminator('\0');
        let mut changed = Vec::new();
        // :<mode> SP <mode> SP <object> SP <object> SP <status> NUL <path> NUL
        while let (Some(facts), Some(path)) = (words.next(), words.next()) {
            let mut facts = facts.split(' ').skip(3);
            let (Some(object), Some(status)) = (facts.next(), facts.next()) else {
                return Err(self.git.odd(&format!("`git diff-tree` said something odd of `{path}`")).into());
            };
            let file = RecordedFile { path: path.to_owned(), object: object.to_owned() };
            changed.push((path.to_owned(), (status != "D").then_some(file)));
        }
        Ok(changed)
    }

    /// Every publication that was the last one at some time since then, the newest first.
    pub(crate) fn current_since(&self, since: SystemTime) -> Result<Vec<CommitId>, Failure> {
        if self.head()?.is_none() {
            return Ok(Vec::new());
        }
        let since = since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // The first parents alone: with merges, what was published is what the branch was at.
        let listing = self.git.run(&["rev-list", "--first-parent", "--reverse", "--timestamp", BRANCH])?;
        let mut commits = Vec::new();
        // No commit was made before those that it was made on, whatever the clock of its machine said.
        let mut made = 0;
        let latest = SystemTime::now() + Duration::from_secs(24 * 3600);
        let latest = latest.duration_since(UNIX_EPOCH).map_or(0, |latest| latest.as_secs());
        for line in listing.lines() {
            let (time, commit) =
                line.split_once(' ').ok_or_else(|| self.git.odd("`git rev-list` said no time"))?;
            let time: u64 = time.parse().unwrap_or(0);
            // One of the future says nothing.
            if time < latest {
                made = made.max(time);
            }
            if made < since {
                // Another one took its place before that.
                commits.clear();
            }
            commits.push(CommitId::parse(commit)?);
        }
        commits.reverse();
        Ok(commits)
    }

    /// Whether a commit is in the other one's history, or is that one.
    pub(crate) fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, Failure> {
        Ok(self.git.ask(&["merge-base", "--is-ancestor", old.as_str(), new.as_str()])?.is_some())
    }

    /// How many commits lead to this one, itself included.
    pub(crate) fn depth(&self, commit: &CommitId) -> Result<u64, Failure> {
        let said = self.git.run(&["rev-list", "--count", commit.as_str()])?;
        said.trim()
            .parse()
            .map_err(|_| self.git.odd(&format!("`git rev-list` said `{}`", said.trim())).into())
    }

    /// Makes the next publication: the parent's tree with the changes. The caller holds the vendor's lock, and
    /// `parent` is the head.
    pub(crate) fn commit(
        &self,
        parent: Option<&CommitId>,
        changes: &[Change],
        message: &str,
    ) -> Result<CommitId, Failure> {
        let parent = parent.map(CommitId::as_str);
        git::Commit { branch: &self.branch, parent, changes, message }.make(&self.git)?;
        self.head()?.ok_or_else(|| self.git.odd("git made no commit").into())
    }

    /// Takes away what a killed git holds against everybody: its lock files. The caller holds the vendor's lock, so
    /// no git that may write is alive.
    pub(crate) fn recover(&self) -> Result<(), Failure> {
        let folder = self.git.folder();
        let locks = |name: &str| name.ends_with(".lock");
        let recover = || {
            remove(folder, &|name| locks(name) || name.starts_with("fast_import_crash_"))?;
            remove_below(&folder.join("refs"), &locks)
        };
        recover().context(|| format!("cannot recover the record in {}", folder.display()))
    }

    /// Packs what many publications have made of small files, where that is worth it, and removes what runs that
    /// were killed have left. The caller holds the vendor's lock, so nobody else writes here.
    pub(crate) fn tidy(&self) -> Result<(), Failure> {
        let folder = self.git.folder();
        // A pack that is kept for a fast-import that has been killed is never packed together with others.
        let unfinished = |name: &str| name.starts_with("tmp_") || name.ends_with(".keep");
        remove_below(&folder.join("objects"), &unfinished)
            .context(|| format!("cannot tidy the record in {}", folder.display()))?;
        self.git.run(&["gc", "--auto", "--quiet"])?;
        Ok(())
    }
}

/// Whether a path leads nowhere but down.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Removes the files of a folder whose names are meant; one that is not there has none.
fn remove(folder: &Path, meant: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let named = entry.file_name().to_str().is_some_and(meant);
        if named && !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// As [`remove`], in all folders below too.
fn remove_below(folder: &Path, meant: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let mut found = Vec::new();
    files::walk(folder, "", &mut |path, _| {
        if path.rsplit('/').next().is_some_and(meant) {
            found.push(folder.join(path));
        }
    })?;
    found.into_iter().try_for_each(fs::remove_file)
}

impl CommitId {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        // SHA-1 or SHA-256, as the repository was made.
        if matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Failure::new(Kind::Environment, format!("`{text}` is not the id of a commit")))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people's eyes.
    pub(crate) fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
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
    fn a_new_record_has_no_head_and_can_be_made_again() {
        let (record, _folder) = record();
        assert_eq!(record.head().unwrap(), None);
        record.create().unwrap();
    }

    #[test]
    fn commits_build_on_one_another() {
        let (record, _folder) = record();
        let first = [change("a/b.json", Some("one\n")), change("a/ü \"x\"", Some(""))];
        let one = record.commit(None, &first, "One").unwrap();
        let second = [change("a/b.json", Some("two")), change("a/ü \"x\"", None), change("c", Some("3"))];
        let two = record.commit(Some(&one), &second, "Two\n\nwith a body").unwrap();
        assert_eq!(record.head().unwrap(), Some(two.clone()));
        assert_eq!(record.read(&one, "a/ü \"x\"").unwrap().as_deref(), Some(b"".as_slice()));
        assert_eq!(record.read(&two, "a/b.json").unwrap().as_deref(), Some(b"two".as_slice()));
        assert_eq!(record.read(&two, "nowhere").unwrap(), None);
        let paths = |commit, folder| -> Vec<String> {
            record.files(commit, folder).unwrap().into_iter().map(|file| file.path).collect()
        };
        assert_eq!(paths(&two, ""), ["a/b.json", "c"]);
        assert_eq!(paths(&two, "a/"), ["a/b.json"]);
        let changed = record.changed(&one, &two).unwrap();
        let changed: Vec<(&str, bool)> = changed.iter().map(|(p, f)| (p.as_str(), f.is_some())).collect();
        assert_eq!(changed, [("a/b.json", true), ("a/ü \"x\"", false), ("c", true)]);
        assert!(record.is_ancestor(&one, &two).unwrap());
        assert!(!record.is_ancestor(&two, &one).unwrap());
    }

    #[test]
    fn what_others_could_not_have_published_is_refused() {
        let (record, _folder) = record();
        let good = [change("crane/data/a.json", Some("1")), change("crane/data/ü/_v1.json", Some("2"))];
        let one = record.commit(None, &good, "One").unwrap();
        record.check_tree(&one, "s3://b").unwrap();
        for bad in ["revision", "crane/data/../x", "crane/datas/x"] {
            let commit = record.commit(Some(&one), &[change(bad, Some("x"))], "Bad");
            // git itself refuses some of them.
            let Ok(commit) = commit else { continue };
            let failure = record.check_tree(&commit, "s3://b").unwrap_err().to_string();
            assert!(failure.contains("s3://b") && failure.contains("no metadata"), "{failure}");
            record.advance(Some(&commit), &one).unwrap();
        }
    }

    #[test]
    fn times_that_go_back_are_not_believed() {
        let (record, _folder) = record();
        let day = |days: u64| SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut parent = None;
        let mut made = Vec::new();
        // The third comes from a machine whose clock is wrong.
        for (n, days) in [50, 3, 40, 1].into_iter().enumerate() {
            let tree = record.git.run(&["mktree"]).unwrap();
            let mut arguments =
                vec!["commit-tree".to_owned(), tree.trim().to_owned(), "-m".into(), n.to_string()];
            if let Some(parent) = &parent {
                arguments.extend(["-p".to_owned(), String::clone(parent)]);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let commit = record.git.run_at(seconds(day(days)), &arguments).unwrap().trim().to_owned();
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
        // One that claims to be of next year keeps nothing that is older.
        let head = made[3].clone();
        let tree = record.git.run(&["mktree"]).unwrap();
        let next_year = seconds(SystemTime::now()) + 365 * 24 * 3600;
        let arguments = ["commit-tree", tree.trim(), "-m", "late", "-p", head.as_str()];
        let late = record.git.run_at(next_year, &arguments).unwrap();
        record.advance(Some(&head), &CommitId::parse(late.trim()).unwrap()).unwrap();
        assert_eq!(record.current_since(day(0)).unwrap().len(), 1);
    }

    #[test]
    fn what_killed_runs_left_is_tidied_away() {
        let (record, _folder) = record();
        record.commit(None, &[change("a", Some("1"))], "One").unwrap();
        let folder = record.git.folder();
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

    #[test]
    fn a_missing_repository_is_told_by_its_place() {
        let record = Record::new("/nonexistent/r.git".into());
        let failure = record.head().unwrap_err().to_string();
        assert!(failure.contains("/nonexistent/r.git"), "{failure}");
    }
}
