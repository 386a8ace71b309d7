//! A branch of a git repository: its commits and the files in them.

use std::fmt;
use std::path::PathBuf;

use raas_base::failure::{Failure, Kind};

use crate::commit::Commit;
use crate::git::Git;
use crate::objects::ObjectReader;

/// A branch of a git repository.
#[derive(Debug)]
pub struct Repository {
    git: Git,
    /// `refs/heads/…`, or `HEAD`.
    reference: String,
}

/// The id of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitId(String);

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedFile {
    /// Its path in the tree.
    pub path: String,
    /// The id of its content: the same for the same content.
    pub object: String,
}

/// A change of a file: its path, and its new content, or `None` for a file that is removed.
pub type Change = (String, Option<Vec<u8>>);

impl Repository {
    /// A branch of a repository, by its git folder.
    pub fn of_branch(folder: PathBuf, branch: &str) -> Self {
        Self { git: Git::new(folder), reference: format!("refs/heads/{branch}") }
    }

    /// The branch that a clone has checked out.
    pub fn at_head(folder: PathBuf) -> Self {
        Self { git: Git::new(folder), reference: "HEAD".to_owned() }
    }

    /// The git commands of the repository.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// Makes the repository, if it does not exist.
    pub fn create(&self) -> Result<(), Failure> {
        let name = self.reference.strip_prefix("refs/heads/").unwrap_or(&self.reference);
        Ok(self.git.create(name)?)
    }

    /// The last commit; `None` before the first.
    pub fn head(&self) -> Result<Option<CommitId>, Failure> {
        let found =
            self.git.ask(&["rev-parse", "--verify", "--quiet", &format!("{}^{{commit}}", self.reference)])?;
        found.map(|text| CommitId::parse(text.trim())).transpose()
    }

    /// Whether the repository has this commit.
    pub fn has(&self, commit: &CommitId) -> Result<bool, Failure> {
        Ok(self.git.ask(&["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")])?.is_some())
    }

    /// The files of a commit below a folder, or all files if the folder is empty, in order of their paths.
    ///
    /// # Errors
    /// git fails, or a path is not safe: see [`is_safe_path`].
    pub fn files(&self, commit: &CommitId, folder: &str) -> Result<Vec<CommittedFile>, Failure> {
        let mut arguments = vec!["ls-tree", "-r", "-z", "--full-tree", commit.as_str()];
        if !folder.is_empty() {
            arguments.push(folder);
        }
        let listing = self.git.run(&arguments)?;
        // <mode> SP <type> SP <object> TAB <path> NUL
        let line = |line: &str| {
            let (facts, path) = line.split_once('\t')?;
            // A commit may come from another home, and its paths become files of this machine.
            is_safe_path(path).then_some(CommittedFile {
                path: path.to_owned(),
                object: facts.split(' ').nth(2)?.to_owned(),
            })
        };
        listing
            .split_terminator('\0')
            .map(|text| {
                line(text)
                    .ok_or_else(|| self.git.unexpected(&format!("`git ls-tree` printed `{text}`")).into())
            })
            .collect()
    }

    /// Reads files one after the other.
    pub fn read_each(
        &self,
        files: &[CommittedFile],
        mut take: impl FnMut(&CommittedFile, Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if files.is_empty() {
            return Ok(());
        }
        let mut objects = ObjectReader::begin(&self.git)?;
        for file in files {
            take(file, objects.read(&file.object)?)?;
        }
        Ok(objects.finish()?)
    }

    /// One file's content; `None` if the commit has no such file.
    pub fn read(&self, commit: &CommitId, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let files = self.files(commit, path)?;
        let mut content = None;
        let file: Vec<CommittedFile> = files.into_iter().filter(|file| file.path == path).collect();
        self.read_each(&file, |_, bytes| {
            content = Some(bytes);
            Ok(())
        })?;
        Ok(content)
    }

    /// The paths that differ between two commits, with the file of the second commit, or `None` if it has none.
    pub fn changed(
        &self,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<Vec<(String, Option<CommittedFile>)>, Failure> {
        let arguments = ["diff-tree", "-r", "-z", "--no-renames", "--raw", from.as_str(), to.as_str()];
        let listing = self.git.run(&arguments)?;
        let mut words = listing.split_terminator('\0');
        let mut changed = Vec::new();
        // :<mode> SP <mode> SP <object> SP <object> SP <status> NUL <path> NUL
        while let (Some(facts), Some(path)) = (words.next(), words.next()) {
            let mut facts = facts.split(' ').skip(3);
            let (Some(object), Some(status)) = (facts.next(), facts.next()) else {
                return Err(self
                    .git
                    .unexpected(&format!("the output of `git diff-tree` about `{path}` is cut off"))
                    .into());
            };
            let file = CommittedFile { path: path.to_owned(), object: object.to_owned() };
            changed.push((path.to_owned(), (status != "D").then_some(file)));
        }
        Ok(changed)
    }

    /// Whether the old commit is in the history of the new commit, or is the same.
    pub fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, Failure> {
        Ok(self.git.ask(&["merge-base", "--is-ancestor", old.as_str(), new.as_str()])?.is_some())
    }

    /// The number of commits in the history of a commit, the commit included.
    pub fn depth(&self, commit: &CommitId) -> Result<u64, Failure> {
        let output = self.git.run(&["rev-list", "--count", commit.as_str()])?;
        output
            .trim()
            .parse()
            .map_err(|_| self.git.unexpected(&format!("`git rev-list` printed `{}`", output.trim())).into())
    }

    /// Makes the next commit of the branch: the tree of `parent`, which is the head, with the changes.
    ///
    /// # Errors
    /// git fails, or the head is another commit by now.
    pub fn commit(
        &self,
        parent: Option<&CommitId>,
        changes: &[Change],
        message: &str,
    ) -> Result<CommitId, Failure> {
        let parent = parent.map(CommitId::as_str);
        Commit { branch: &self.reference, parent, changes, message }.make(&self.git)?;
        self.head()?.ok_or_else(|| self.git.unexpected("the commit is missing").into())
    }
}

/// Whether a path stays below the folder where it starts: no part is empty, `.` or `..`.
pub fn is_safe_path(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

impl CommitId {
    /// Reads 40 or 64 hex digits, in small letters as git writes them: a commit has one id.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        // 40 digits are SHA-1, 64 are SHA-256: the repository decides.
        if matches!(text.len(), 40 | 64) && text.bytes().all(is_digit) {
            return Ok(Self(text.to_owned()));
        }
        Err(Failure::new(Kind::Environment, format!("`{text}` is not the id of a commit")))
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
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

    fn repository() -> (Repository, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::of_branch(folder.path().join("r.git"), "main");
        repository.create().unwrap();
        (repository, folder)
    }

    fn change(path: &str, content: Option<&str>) -> Change {
        (path.to_owned(), content.map(|text| text.as_bytes().to_vec()))
    }

    #[test]
    fn a_new_repository_has_no_head_and_can_be_created_again() {
        let (repository, _folder) = repository();
        assert_eq!(repository.head().unwrap(), None);
        repository.create().unwrap();
    }

    #[test]
    fn each_commit_builds_on_its_parent() {
        let (repository, _folder) = repository();
        let first = [change("a/b.json", Some("one\n")), change("a/ü \"x\"", Some(""))];
        let one = repository.commit(None, &first, "One").unwrap();
        let second = [change("a/b.json", Some("two")), change("a/ü \"x\"", None), change("c", Some("3"))];
        let two = repository.commit(Some(&one), &second, "Two\n\nwith a body").unwrap();
        assert_eq!(repository.head().unwrap(), Some(two.clone()));
        assert_eq!(repository.read(&one, "a/ü \"x\"").unwrap().as_deref(), Some(b"".as_slice()));
        assert_eq!(repository.read(&two, "a/b.json").unwrap().as_deref(), Some(b"two".as_slice()));
        assert_eq!(repository.read(&two, "nowhere").unwrap(), None);
        let paths = |commit, folder| -> Vec<String> {
            repository.files(commit, folder).unwrap().into_iter().map(|file| file.path).collect()
        };
        assert_eq!(paths(&two, ""), ["a/b.json", "c"]);
        assert_eq!(paths(&two, "a/"), ["a/b.json"]);
        let changed = repository.changed(&one, &two).unwrap();
        let changed: Vec<(&str, bool)> = changed.iter().map(|(p, f)| (p.as_str(), f.is_some())).collect();
        assert_eq!(changed, [("a/b.json", true), ("a/ü \"x\"", false), ("c", true)]);
        assert!(repository.is_ancestor(&one, &two).unwrap());
        assert!(!repository.is_ancestor(&two, &one).unwrap());
    }

    #[test]
    fn the_hint_for_a_failed_signature_names_the_key() {
        let table: [&[(&str, &str)]; 4] = [
            &[("gpg.program", "/bin/false")],
            &[("gpg.program", "/nonexistent/gpg")],
            &[("gpg.format", "ssh"), ("user.signingKey", "/nonexistent/key.pub")],
            &[("gpg.format", "ssh"), ("user.signingKey", "")],
        ];
        for settings in table {
            let (repository, _folder) = repository();
            let git = repository.git();
            let settings = settings.iter().chain(&[("commit.gpgSign", "true")]);
            for (name, value) in settings {
                git.run(&["config", name, value]).unwrap();
            }
            let failure = repository.commit(None, &[change("a", Some("1"))], "One").unwrap_err();
            let hints = failure.hints().join("\n");
            assert!(hints.contains("signs commits") && !hints.contains("fsck"), "{failure}");
            assert_eq!(repository.head().unwrap(), None);
        }
    }

    #[test]
    fn an_error_names_the_missing_repository() {
        let repository = Repository::of_branch("/nonexistent/r.git".into(), "main");
        let failure = repository.head().unwrap_err().to_string();
        assert!(failure.contains("/nonexistent/r.git"), "{failure}");
    }
}
