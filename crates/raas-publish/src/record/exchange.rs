//! Commits on their way from one home's record to another's, as packs.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::process::Stdio;

use raas_types::crane::{Document, tree};

use raas_base::failure::{Context as _, Failure, Kind};
use raas_git::{CommitId, is_safe_path};

use super::{REFERENCE, Record};

/// The commit that was made here and that the bucket was not seen to have.
const UNCONFIRMED: &str = "refs/raas/unconfirmed";

impl Record {
    /// Writes the commits that lead to one, and all that is in them, into a file; without those that lead to `since`.
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

    /// Takes in what [`write_pack`](Self::write_pack) wrote elsewhere. Every object is checked, and that all that it
    /// refers to is there. No branch moves.
    pub fn take_pack(&self, file: File) -> Result<(), Failure> {
        let arguments = ["index-pack", "--strict", "--stdin", "--fix-thin"];
        Ok(self.git().pass(&arguments, Stdio::from(file), Stdio::null())?)
    }

    /// Refuses a commit that others have made and that raas could not have: its files become files of this machine.
    /// `place` is where it came from.
    pub fn check_tree(&self, commit: &CommitId, place: &str) -> Result<(), Failure> {
        let wrong = |what: &str| {
            Failure::new(Kind::Environment, format!("commit {} of {place} {what}", commit.short()))
                .hint("somebody has changed what is in the bucket; nothing of it was taken over")
        };
        let listing = self.git().run_raw(&["ls-tree", "-r", "-l", "-z", "--full-tree", commit.as_str()])?;
        let listing = String::from_utf8(listing).map_err(|_| wrong("has names that are not UTF-8"))?;
        for line in listing.split_terminator('\0') {
            // <mode> SP <type> SP <object> SP+ <size> TAB <path> NUL
            let Some((facts, path)) = line.split_once('\t') else { return Err(wrong("cannot be read")) };
            let mut facts = facts.split_ascii_whitespace();
            let (mode, size) = (facts.next(), facts.nth(2).and_then(|size| size.parse::<u64>().ok()));
            let known = path.starts_with(&format!("{}/", tree::DATA)) && is_safe_path(path);
            if mode != Some("100644") || !known || size.is_none_or(|size| size > Document::MAX_SIZE) {
                return Err(wrong(&format!("has `{path}`, which is no metadata")));
            }
        }
        Ok(())
    }

    /// Moves the branch on to a commit that the record has. The caller holds the vendor's lock.
    pub fn advance(&self, from: Option<&CommitId>, to: &CommitId) -> Result<(), Failure> {
        // An empty old value means that the branch must not be there.
        let from = from.map_or("", CommitId::as_str);
        self.git().run(&["update-ref", REFERENCE, to.as_str(), from])?;
        Ok(())
    }

    /// Marks a commit that nobody but this home has yet, or, with none, that there is no such commit.
    pub fn mark_unconfirmed(&self, commit: Option<&CommitId>) -> Result<(), Failure> {
        match commit {
            Some(commit) => self.git().run(&["update-ref", UNCONFIRMED, commit.as_str()])?,
            None => self.git().run(&["update-ref", "-d", UNCONFIRMED])?,
        };
        Ok(())
    }

    /// Whether a commit is marked so.
    pub fn is_unconfirmed(&self, commit: &CommitId) -> Result<bool, Failure> {
        let found = self.git().ask(&["rev-parse", "--verify", "--quiet", UNCONFIRMED])?;
        Ok(found.is_some_and(|found| found.trim() == commit.as_str()))
    }

    /// Keeps a commit that the branch is going to leave.
    pub fn set_aside(&self, commit: &CommitId) -> Result<String, Failure> {
        let name = format!("refs/raas/aside/{commit}");
        self.git().run(&["update-ref", &name, commit.as_str()])?;
        Ok(name)
    }

    /// Whether two commits have a common past.
    pub fn is_related(&self, one: &CommitId, other: &CommitId) -> Result<bool, Failure> {
        Ok(self.git().ask(&["merge-base", one.as_str(), other.as_str()])?.is_some())
    }
}
