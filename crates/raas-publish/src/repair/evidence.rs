//! The evidence of what is published: every place that names a commit as the last one.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use super::salvage::Salvage;
use crate::checkout::Checkout;
use crate::reading::Reading;
use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_git::CommitId;

/// The commits that are or were the last publication, according to all evidence.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// In the order of their age, as far as it is known: the branch's log, its file, the checkout, the pointer.
    commits: Vec<CommitId>,
    /// The commit whose files the checkout has.
    served: Option<CommitId>,
    /// The commit of the bucket's pointer.
    pointer: Option<CommitId>,
    /// The commits that a branch has left on purpose.
    aside: Vec<CommitId>,
}

impl Evidence {
    /// Reads all evidence, and leaves out what is damaged.
    ///
    /// # Errors
    /// The system refuses to read a file, or nobody can know which commit the checkout has.
    pub(super) fn collect(registry: &Registry<'_>, record: &Record) -> Result<Self, Failure> {
        let folder = record.git().folder();
        let text = |name: &str| match fs::read(folder.join(name)) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            // Evidence of another user is not gone.
            Err(error) => Err(error).context(|| format!("cannot read {}", folder.join(name).display())),
        };
        let mut evidence = Self::default();
        let is_real = |commit: &CommitId| commit.as_str().bytes().any(|digit| digit != b'0');
        let parse = |id: &str| CommitId::parse(id.trim()).ok().filter(is_real);
        let log = text("logs/refs/heads/main")?;
        evidence.commits.extend(log.lines().filter_map(|line| parse(line.split(' ').nth(1)?)));
        let packed = text("packed-refs")?;
        let mut in_packed = packed.lines().filter_map(|line| line.split_once(' '));
        let branch = in_packed.find(|(_, name)| *name == "refs/heads/main");
        evidence.commits.extend(branch.and_then(|(id, _)| parse(id)));
        evidence.commits.extend(parse(&text("refs/heads/main")?));
        let checkout = registry.vendor.checkout();
        let served = match checkout.revision() {
            Reading::There(commit) => Some(commit),
            Reading::Absent | Reading::Unreadable(_) => served_commit(&checkout, record, &evidence.commits)?,
        };
        evidence.commits.extend(served.clone());
        evidence.served = served;
        if let Some(storage) = registry.shared_storage()
            && let Reading::There(pointer) = snapshot::read_pointer(storage)?
        {
            let commit = CommitId::parse(&pointer.revision)?;
            evidence.commits.push(commit.clone());
            evidence.pointer = Some(commit);
        }
        let asides = folder.join("refs/raas/aside");
        let cannot = || format!("cannot read {}", asides.display());
        let entries = match fs::read_dir(&asides) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries.context(cannot)?),
        };
        for entry in entries.into_iter().flatten() {
            evidence.aside.extend(parse(&entry.context(cannot)?.file_name().to_string_lossy()));
        }
        let asides = packed.lines().filter_map(|line| line.rsplit_once(" refs/raas/aside/"));
        evidence.aside.extend(asides.filter_map(|(_, id)| parse(id)));
        Ok(evidence)
    }

    /// Whether there is no evidence that anything was ever published.
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Whether the checkout has no commit's files, or those of this commit, and all other evidence is of this commit or of
    /// an earlier one.
    pub(super) fn agrees_with(&self, record: &Record, head: &CommitId) -> Result<bool, Failure> {
        if self.served.as_ref().is_some_and(|served| served != head) {
            return Ok(false);
        }
        for commit in &self.commits {
            if commit != head && !record.covers(head, commit)? {
                return Ok(false);
            }
        }
        Ok(true)
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
                        // Other homes publish on top of the pointer's commit, and servers elsewhere serve it.
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

/// The commit whose files a checkout has that does not say its commit. `None` if it has no documents.
///
/// A branch that came back old may leave the last publication as a commit that no reference leads to. Its files are in the
/// checkout, so it is found by them.
///
/// # Errors
/// No commit has these documents.
fn served_commit(
    checkout: &Checkout,
    record: &Record,
    named: &[CommitId],
) -> Result<Option<CommitId>, Failure> {
    let cannot = || format!("cannot read {}", checkout.folder().display());
    if !checkout.is_finished() || !checkout.has_documents().context(cannot)? {
        return Ok(None);
    }
    // git stops at a damaged object. Then only the commits that other evidence names are compared.
    let format = "--batch-check=%(objectname) %(objecttype)";
    let listing = record.git().run(&["cat-file", "--batch-all-objects", format]).unwrap_or_default();
    let all = listing.lines().filter_map(|line| CommitId::parse(line.strip_suffix(" commit")?).ok());
    // The last commit that other evidence names is the likeliest.
    let candidates = named.iter().rev().cloned().chain(all);
    let (mut seen, mut is_any_readable) = (BTreeSet::new(), false);
    for commit in candidates {
        if !seen.insert(commit.as_str().to_owned()) {
            continue;
        }
        // A commit whose files are damaged cannot be compared.
        let Ok((differing, unknown)) = checkout.damage(record, &commit) else { continue };
        if differing.is_empty() && unknown.is_empty() {
            return Ok(Some(commit));
        }
        is_any_readable = true;
    }
    if !is_any_readable {
        return Ok(None);
    }
    let message =
        format!("{} says no commit, and no commit of the record has its files", checkout.folder().display());
    Err(Failure::new(Kind::Environment, message).hint(
        "move that folder away if the record has the last publication, and run the command again; nothing was changed",
    ))
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
