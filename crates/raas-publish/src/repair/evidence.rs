//! The evidence of what is published: every place that names a commit as the last one.

use std::fs;

use super::salvage::Salvage;
use crate::reading::Reading;
use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot;
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

/// The commits that are or were the last publication, by all that says so.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// In the order of their age, as far as it is known: the branch's log, its file, the checkout, the pointer.
    commits: Vec<CommitId>,
    /// The commit of the bucket's pointer.
    pointer: Option<CommitId>,
    /// The commits that a branch has left on purpose.
    aside: Vec<CommitId>,
}

impl Evidence {
    /// Reads all of it. Evidence that cannot be read is none: the others must do.
    pub(super) fn collect(registry: &Registry<'_>, record: &Record) -> Result<Self, Failure> {
        let folder = record.git().folder();
        let text = |name: &str| {
            fs::read(folder.join(name))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default()
        };
        let mut evidence = Self::default();
        let is_real = |commit: &CommitId| commit.as_str().bytes().any(|digit| digit != b'0');
        let parse = |id: &str| CommitId::parse(id.trim()).ok().filter(is_real);
        let log = text("logs/refs/heads/main");
        evidence.commits.extend(log.lines().filter_map(|line| parse(line.split(' ').nth(1)?)));
        let packed = text("packed-refs");
        let mut in_packed = packed.lines().filter_map(|line| line.split_once(' '));
        let branch = in_packed.find(|(_, name)| *name == "refs/heads/main");
        evidence.commits.extend(branch.and_then(|(id, _)| parse(id)));
        evidence.commits.extend(parse(&text("refs/heads/main")));
        if let Reading::There(commit) = registry.vendor.checkout().revision() {
            evidence.commits.push(commit);
        }
        if let Some(storage) = registry.shared_storage()
            && let Reading::There(pointer) = snapshot::read_pointer(storage)?
        {
            let commit = CommitId::parse(&pointer.revision)?;
            evidence.commits.push(commit.clone());
            evidence.pointer = Some(commit);
        }
        let asides = fs::read_dir(folder.join("refs/raas/aside")).into_iter().flatten().flatten();
        evidence.aside.extend(asides.filter_map(|entry| parse(&entry.file_name().to_string_lossy())));
        let asides = packed.lines().filter_map(|line| line.rsplit_once(" refs/raas/aside/"));
        evidence.aside.extend(asides.filter_map(|(_, id)| parse(id)));
        Ok(evidence)
    }

    /// Whether nothing says that anything was ever published.
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// The commit of the bucket's pointer.
    pub(super) fn pointer(&self) -> Option<&CommitId> {
        self.pointer.as_ref()
    }

    /// The commits that were left on purpose.
    pub(super) fn set_aside(&self) -> &[CommitId] {
        &self.aside
    }

    /// The newest commits that a record does not have. An entry of the log counts only if it is the last: a later one
    /// contains it.
    pub(super) fn unknown_to(&self, record: &Record) -> Result<Vec<CommitId>, Failure> {
        let mut unknown = Vec::new();
        for commit in &self.commits {
            if record.has(commit)? {
                unknown.clear();
            } else if !unknown.contains(commit) && !self.aside.contains(commit) {
                unknown.push(commit.clone());
            }
        }
        Ok(unknown)
    }

    /// The newest commit that was salvaged: all others are in its history, or were set aside.
    ///
    /// # Errors
    /// Two commits are candidates, and neither is in the history of the other.
    pub(super) fn newest(
        &self,
        registry: &Registry<'_>,
        salvage: &Salvage,
    ) -> Result<Option<CommitId>, Failure> {
        let record = salvage.record();
        // A commit between the two may be lost. Then the order of the log decides.
        let is_before = |one: &CommitId, other: &CommitId| record.is_ancestor(one, other).ok();
        let mut newest: Option<&CommitId> = None;
        for (at, commit) in self.commits.iter().enumerate() {
            if self.aside.contains(commit) || self.commits[..at].contains(commit) || !record.has(commit)? {
                continue;
            }
            newest = match newest {
                None => Some(commit),
                Some(newest) => match (is_before(commit, newest), is_before(newest, commit)) {
                    (Some(true), _) => Some(newest),
                    (Some(false), Some(false)) => match &self.pointer {
                        // What servers elsewhere are given is what other homes publish on top of.
                        Some(pointer) if pointer == commit || pointer == newest => Some(pointer),
                        _ => return Err(two_ends(registry, newest, commit)),
                    },
                    (_, _) => Some(commit),
                },
            };
        }
        Ok(newest.cloned())
    }

    /// The newest commit that was salvaged with all its history.
    pub(super) fn last_complete(&self, salvage: &Salvage) -> Result<Option<CommitId>, Failure> {
        for commit in self.commits.iter().rev() {
            if salvage.record().has(commit)? && salvage.lacks(commit)?.is_empty() {
                return Ok(Some(commit.clone()));
            }
        }
        Ok(None)
    }
}

fn two_ends(registry: &Registry<'_>, one: &CommitId, other: &CommitId) -> Failure {
    let folder = registry.vendor.record();
    let folder = folder.git().folder().display();
    let message = format!("two commits may be the last publication: {one} and {other}");
    Failure::new(Kind::Environment, message).hint(format!(
        "look at both with `git --git-dir {folder} log COMMIT`, and choose with `git --git-dir {folder} update-ref \
         refs/raas/aside/COMMIT COMMIT` the commit that is not the last; nothing was changed"
    ))
}
