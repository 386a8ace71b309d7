//! Exchanging commits between the records of homes, as packs.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::process::Stdio;

use raas_types::crane::{Document, tree};

use raas_base::failure::{Context as _, Failure, Kind};
use raas_git::{CommitId, is_safe_path};

use super::{REFERENCE, Record};

/// Names the commit that was made here and that the bucket is not known to have.
const UNCONFIRMED: &str = "refs/raas/unconfirmed";

impl Record {
    /// Writes a commit, its ancestors and their files into a pack, without the ancestors of `since`.
    pub fn write_pack(&self, since: Option<&CommitId>, to: &CommitId, file: &File) -> Result<(), Failure> {
        let wanted = match since {
            Some(since) => format!("{to}\n^{since}\n"),
            None => format!("{to}\n"),
        };
        let prepare = || {
            let mut list = tempfile::tempfile()?;
            list.write_all(wanted.as_bytes())?;
            list.rewind()?;
            Ok::<_, io::Error>((Stdio::from(list), Stdio::from(file.try_clone()?)))
        };
        let (list, file) = prepare().context(|| "cannot pack the record".into())?;
        let arguments = ["pack-objects", "--quiet", "--stdout", "--revs", "--thin", "--delta-base-offset"];
        Ok(self.git().pass(&arguments, list, file)?)
    }

    /// Adds a pack that [`write_pack`](Self::write_pack) wrote in another home. git checks every object, and that everything
    /// it refers to is there. No branch moves.
    pub fn take_pack(&self, file: File) -> Result<(), Failure> {
        let arguments = ["index-pack", "--strict", "--stdin", "--fix-thin"];
        Ok(self.git().pass(&arguments, Stdio::from(file), Stdio::null())?)
    }

    /// Checks a commit of another home, since its files become files of this machine. `storage` names where it came from. A
    /// file that this raas does not know may be a newer raas's, and stays.
    ///
    /// # Errors
    /// The commit has a file that cannot be metadata: no plain file, too long, or at a path that leaves the folder or is the
    /// checkout's own.
    pub fn check_tree(&self, commit: &CommitId, storage: &str) -> Result<(), Failure> {
        let wrong = |what: &str| {
            Failure::new(Kind::Environment, format!("commit {} of {storage} {what}", commit.short()))
                .hint("restore the bucket from a backup: somebody has changed it; nothing was taken over")
        };
        let listing = self.git().run_raw(&["ls-tree", "-r", "-l", "-z", "--full-tree", commit.as_str()])?;
        let listing = String::from_utf8(listing).map_err(|_| wrong("has names that are not UTF-8"))?;
        for line in listing.split_terminator('\0') {
            // <mode> SP <type> SP <object> SP+ <size> TAB <path> NUL
            let Some((facts, path)) = line.split_once('\t') else { return Err(wrong("cannot be read")) };
            let mut facts = facts.split_ascii_whitespace();
            let (mode, size) = (facts.next(), facts.nth(2).and_then(|size| size.parse::<u64>().ok()));
            let is_free = is_safe_path(path) && !tree::is_of_checkout(path);
            if mode != Some("100644") || !is_free || size.is_none_or(|size| size > Document::MAX_SIZE) {
                return Err(wrong(&format!("has `{path}`, which is no metadata")));
            }
        }
        Ok(())
    }

    /// Moves the branch from a commit to another commit that the record has. The caller holds the vendor's lock.
    pub fn advance(&self, from: Option<&CommitId>, to: &CommitId) -> Result<(), Failure> {
        // To git, an empty old value means that the branch must not exist.
        let from = from.map_or("", CommitId::as_str);
        self.git().run(&["update-ref", REFERENCE, to.as_str(), from])?;
        Ok(())
    }

    /// Marks a commit as one that only this home has. `None` removes the mark.
    pub fn mark_unconfirmed(&self, commit: Option<&CommitId>) -> Result<(), Failure> {
        match commit {
            Some(commit) => self.git().run(&["update-ref", UNCONFIRMED, commit.as_str()])?,
            None => self.git().run(&["update-ref", "-d", UNCONFIRMED])?,
        };
        Ok(())
    }

    /// Whether the commit has that mark.
    pub fn is_unconfirmed(&self, commit: &CommitId) -> Result<bool, Failure> {
        let found = self.git().ask(&["rev-parse", "--verify", "--quiet", UNCONFIRMED])?;
        Ok(found.is_some_and(|found| found.trim() == commit.as_str()))
    }

    /// Keeps a commit that the branch is about to leave, under a name of its own; returns that name.
    pub fn set_aside(&self, commit: &CommitId) -> Result<String, Failure> {
        let name = format!("refs/raas/aside/{commit}");
        self.git().run(&["update-ref", &name, commit.as_str()])?;
        Ok(name)
    }

    /// Ends that a commit is [set aside](Self::set_aside).
    pub fn take_back(&self, commit: &CommitId) -> Result<(), Failure> {
        self.git().run(&["update-ref", "-d", &format!("refs/raas/aside/{commit}")])?;
        Ok(())
    }

    /// The subjects of the commits up to `ours` that `theirs` does not have, the oldest first.
    pub fn subjects(&self, theirs: &CommitId, ours: &CommitId) -> Result<Vec<String>, Failure> {
        let range = format!("{theirs}..{ours}");
        let said = self.git().run(&["log", "--reverse", "--format=%s", &range, "--"])?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// Whether a commit was [set aside](Self::set_aside).
    pub fn is_set_aside(&self, commit: &CommitId) -> Result<bool, Failure> {
        let name = format!("refs/raas/aside/{commit}");
        Ok(self.git().ask(&["rev-parse", "--verify", "--quiet", &name])?.is_some())
    }

    /// Whether two commits have a common ancestor.
    pub fn is_related(&self, one: &CommitId, other: &CommitId) -> Result<bool, Failure> {
        Ok(self.git().ask(&["merge-base", one.as_str(), other.as_str()])?.is_some())
    }
}
