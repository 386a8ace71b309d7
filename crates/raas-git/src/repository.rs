//! A branch of a git repository: its commits and the files in them.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use raas_base::failure::{Failure, Kind};

use crate::commit::Commit;
use crate::error::GitError;
use crate::git::Git;
use crate::listing::{self, ListedFile};
use crate::object::EntryKind;
use crate::objects::Objects;

/// A branch of a git repository.
///
/// One process of git reads its commits and files. It is started when it is first needed, and ends when the last clone of
/// this value is dropped. It inherits what other processes of git inherit, so a lock that git inherits has to be released
/// explicitly.
#[derive(Debug, Clone)]
pub struct Repository {
    git: Git,
    /// `refs/heads/…`, or `HEAD`.
    reference: String,
    objects: Arc<Objects>,
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
        Self::new(folder, format!("refs/heads/{branch}"))
    }

    /// The branch that a clone has checked out.
    pub fn at_head(folder: PathBuf) -> Self {
        Self::new(folder, "HEAD".to_owned())
    }

    fn new(folder: PathBuf, reference: String) -> Self {
        let git = Git::new(folder);
        let objects = Arc::new(Objects::new(git.clone()));
        Self { git, reference, objects }
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
        Ok(self.find_head()?)
    }

    /// As [`head`](Self::head), with the error of git.
    pub fn find_head(&self) -> Result<Option<CommitId>, GitError> {
        let found = self.objects.commit_of(&self.reference)?;
        found.map(|id| CommitId::of_git(id, &self.git)).transpose()
    }

    /// Whether the repository has this commit.
    pub fn has(&self, commit: &CommitId) -> Result<bool, Failure> {
        Ok(self.objects.commit_of(commit.as_str())?.is_some())
    }

    /// Forgets what was read. A caller that removes objects of the repository calls it: otherwise removed objects may still
    /// be found.
    pub fn forget(&self) {
        self.objects.forget();
    }

    /// The files of a commit below a folder, or all files if the folder is empty, in order of their paths. A file's own path
    /// gives that file.
    ///
    /// # Errors
    /// git fails, an object is damaged, or a path is not safe: see [`is_safe_path`](crate::is_safe_path).
    pub fn files(&self, commit: &CommitId, folder: &str) -> Result<Vec<CommittedFile>, Failure> {
        let root = self.objects.commit(commit.as_str())?.tree;
        let files = listing::files(&self.objects, &root, folder)?;
        Ok(files.into_iter().map(CommittedFile::from).collect())
    }

    /// As [`files`](Self::files) of the whole commit, without links and submodules.
    pub(crate) fn regular_files(&self, commit: &CommitId) -> Result<Vec<CommittedFile>, Failure> {
        let root = self.objects.commit(commit.as_str())?.tree;
        let files = listing::files(&self.objects, &root, "")?.into_iter();
        let regular = files.filter(|file| matches!(file.kind, EntryKind::File { .. }));
        Ok(regular.map(CommittedFile::from).collect())
    }

    /// Reads files one after the other.
    pub fn read_each(
        &self,
        files: &[CommittedFile],
        mut take: impl FnMut(&CommittedFile, Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        files.iter().try_for_each(|file| take(file, self.objects.blob_of_many(&file.object)?))
    }

    /// One file's content; `None` if the commit has no such file.
    pub fn read(&self, commit: &CommitId, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let root = self.objects.commit(commit.as_str())?.tree;
        self.read_of_tree(&root, path)
    }

    /// The id of the tree of a commit.
    pub(crate) fn tree_of(&self, commit: &CommitId) -> Result<String, Failure> {
        Ok(self.objects.commit(commit.as_str())?.tree)
    }

    /// One file's content; `None` if the tree has no such file.
    pub(crate) fn read_of_tree(&self, root: &str, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        match listing::find(&self.objects, root, path)? {
            Some(file) if file.kind != EntryKind::Folder => {
                Ok(Some(Arc::unwrap_or_clone(self.objects.blob(&file.id)?)))
            }
            Some(_) | None => Ok(None),
        }
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The paths that differ between two commits, with the file of the second commit, or `None` if it has none.
    pub fn changed(
        &self,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<Vec<(String, Option<CommittedFile>)>, Failure> {
        let (from, to) = (self.tree_of(from)?, self.tree_of(to)?);
        let changed = listing::differences(&self.objects, &from, &to)?.into_iter();
        Ok(changed.map(|(path, file)| (path, file.map(CommittedFile::from))).collect())
    }

    /// Whether the old commit is in the history of the new commit, or is the same.
    pub fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, Failure> {
        if self.is_near_ancestor(old, new) {
            return Ok(true);
        }
        Ok(self.git.ask(&["merge-base", "--is-ancestor", old.as_str(), new.as_str()])?.is_some())
    }

    /// Whether the old commit is among the commits that lead to the new one directly. `false` says nothing.
    fn is_near_ancestor(&self, old: &CommitId, new: &CommitId) -> bool {
        let mut next = VecDeque::from([new.as_str().to_owned()]);
        for _ in 0..NEAR {
            let Some(commit) = next.pop_front() else { break };
            // A commit that cannot be read is an error of the process that is asked then.
            let Ok(facts) = self.objects.commit(&commit) else { break };
            if commit == old.as_str() {
                return true;
            }
            next.extend(facts.parents);
        }
        false
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

/// How many commits raas looks at itself before it asks git about the history.
const NEAR: usize = 50;

impl From<ListedFile> for CommittedFile {
    fn from(file: ListedFile) -> Self {
        Self { path: file.path, object: file.id }
    }
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

    fn of_git(id: String, git: &Git) -> Result<Self, GitError> {
        let unexpected = |_| git.unexpected(&format!("`{id}` is not the id of a commit"));
        Self::parse(&id).map_err(unexpected)
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
pub(crate) mod tests {
    use super::*;

    /// An empty repository, in a folder of its own.
    pub(crate) fn repository() -> (Repository, tempfile::TempDir) {
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
