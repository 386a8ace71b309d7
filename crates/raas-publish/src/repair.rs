//! Repairing a home and its bucket from whatever copy is good.
//!
//! ```text
//! objects of the record ◀── its loose objects and packs, the history in the bucket, the checkout, the backup
//! branch of the record  ◀── its own file, its log, the checkout's revision, the pointer in the bucket
//! content               ◀── the record (manifests, tag lists), other repositories of the vendor
//! ```
//!
//! A repair first collects all good objects in a folder of their own. The record gets them as one new pack, then the
//! repair restores the branch, then the checkout. It moves damaged files aside and does not remove them. So a killed
//! repair has lost nothing, and can be run again.

mod chosen;
mod content;
mod evidence;
mod restored;
mod salvage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use raas_types::Utc;
use raas_types::crane::tree;

use crate::history;
use crate::home::Vendor;
use crate::integrity;
use crate::publication::acquire_lease;
use crate::reading::Reading;
use crate::record::Record;
use crate::registry::Registry;
use crate::snapshot::SnapshotPublisher;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_git::CommitId;

pub use chosen::accept_history;
pub use content::content;
use evidence::Evidence;
use salvage::Salvage;

/// Files of the record by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a repair does if it can make the last publication again, but not the commits that lead to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostHistory {
    /// Refuse in a bucket that other homes may publish to: one of them may have the commits.
    Refuse,
    /// Publish the same files again as a new commit.
    LeaveBehind,
}

/// What a repair did.
#[derive(Debug, Default)]
pub struct Report {
    /// What is right again, a sentence each.
    pub mended: Vec<String>,
    /// What could not be mended, each with what to do.
    pub lost: Vec<String>,
}

/// Mends damaged format numbers of a home and of its record. Numbers of a newer raas stay.
///
/// # Errors
/// A number cannot be written.
pub fn formats(vendor: &Vendor) -> Result<Report, Failure> {
    let mended = vendor.mend_formats()?;
    let mended = mended.then(|| "The format numbers of the home or of the record were damaged".to_owned());
    Ok(Report { mended: mended.into_iter().collect(), lost: Vec::new() })
}

/// Repairs the record and the checkout of a home. `backup` gives the published documents of the configuration repository, by
/// their paths in the record.
///
/// # Errors
/// No good copy of the last publication can be found. Then the home is as it was.
pub fn record(
    registry: &Registry<'_>,
    history: LostHistory,
    backup: &dyn Fn() -> Result<Files, Failure>,
) -> Result<Report, Failure> {
    let vendor = registry.vendor;
    let mut report = formats(vendor)?;
    let _lock = vendor.lock_for_repair(registry.say)?;
    let record = vendor.record();
    make_usable(&record, &mut report)?;
    report.mended.extend(record.mend_files()?);
    record.forget();
    let evidence = Evidence::collect(registry, &record)?;
    let checkout = vendor.checkout();
    if let (Reading::Unreadable(_), Reading::There(head)) = (checkout.revision(), record.branch())
        && evidence.agrees_with(&record, &head)?
    {
        checkout.repair(&record, &head)?;
        report.mended.push(format!("{} was damaged", checkout.revision_file().display()));
    }
    let damage = integrity::record(vendor)?;
    let is_new = evidence.is_empty();
    if damage.is_empty() && !is_new && evidence.unknown_to(&record)?.is_empty() {
        if let (Some(head), false) = (record.head()?, matches!(vendor.presence(), Reading::There(()))) {
            vendor.checkout().repair(&record, &head)?;
            report
                .mended
                .push("The checkout for servers was missing, and is made again from the record".to_owned());
        }
        report.lost.extend(never_published(&record, &backup()?)?);
        return Ok(report);
    }
    let salvage = Salvage::collect(registry, &record)?;
    let newest = evidence.newest(registry, &salvage)?;
    let complete = match &newest {
        Some(newest) if salvage.lacks(newest)?.is_empty() => true,
        Some(_) | None => false,
    };
    let missing = evidence.unknown_to(salvage.record())?;
    let (base, restored) = if complete && missing.is_empty() {
        (newest, None)
    } else if is_new {
        (None, restored::from_backup(registry, backup()?)?)
    } else {
        if registry.shared && history == LostHistory::Refuse {
            return Err(lost_in_bucket(registry, missing.first().or(newest.as_ref())));
        }
        let base = evidence.last_complete(&salvage)?;
        let last = missing.last().or(newest.as_ref());
        let files = restored::files(registry, &salvage, last, backup)?;
        (base, Some(files.ok_or_else(|| lost(vendor, last))?))
    };
    if is_new && restored.is_none() {
        // A vendor that is new, or one that has lost everything that says what was published.
        return if matches!(vendor.presence(), Reading::Unreadable(_)) {
            Err(lost(vendor, None))
        } else {
            Ok(report)
        };
    }
    if !damage.is_empty() {
        report.mended.push(format!("The record has all objects again; it had {} damaged", damage.len()));
    }
    let mut kept: Vec<&CommitId> = base.iter().collect();
    for commit in evidence.set_aside() {
        if salvage.record().has(commit)? && salvage.lacks(commit)?.is_empty() {
            kept.push(commit);
        }
    }
    let aside = set_damaged_aside(vendor, &record, &salvage, &kept)?;
    record.forget();
    if let Some(aside) = aside {
        report.mended.push(format!("What was damaged is kept in {aside}"));
    }
    restore_branch(&record, base.as_ref())?;
    for commit in kept.into_iter().filter(|commit| evidence.set_aside().contains(commit)) {
        record.set_aside(commit)?;
    }
    let mut head = base;
    let is_made_again = restored.is_some();
    if let Some(files) = restored {
        let changes = restored::changes(&record, head.as_ref(), files)?;
        if !changes.is_empty() {
            head = Some(record.commit(head.as_ref(), &changes, restored::MESSAGE)?);
            report
                .mended
                .push("The last publication was made again, as a new commit: its own is lost".to_owned());
        }
    }
    let Some(head) = head else { return Ok(report) };
    record.begin_log(&head)?;
    report.mended.push(format!("The last publication is commit {head}"));
    if let (true, Some(pointed)) = (is_made_again, evidence.pointer())
        && !record.has(pointed)?
    {
        // No home can catch up with a commit that is lost.
        let mut lease = acquire_lease(registry, None)?;
        let (name, spool) = (vendor.name(), vendor.folder());
        let publisher = SnapshotPublisher { vendor: name, record: &record, storage: registry.storage, spool };
        let is_earlier = publisher.replace_lost(pointed, &mut lease)?;
        lease.release()?;
        report.mended.push(format!("The pointer of the bucket named commit {pointed}, which is lost"));
        if is_earlier {
            let note = "Restart the servers that have no home with --allow-rollback: they take the new commit for an earlier publication";
            report.mended.push(note.to_owned());
        }
    }
    vendor.checkout().repair(&record, &head)?;
    Ok(report)
}

/// What a backup has and the record never had, in a sentence. A record that was begun anew after a loss lacks such documents.
/// A document that was withdrawn is in the record's history.
fn never_published(record: &Record, backup: &Files) -> Result<Option<String>, Failure> {
    let Some(head) = record.head()? else { return Ok(None) };
    let known: BTreeSet<String> =
        record.files(&head, tree::DATA)?.into_iter().map(|file| file.path).collect();
    let mut never = Vec::new();
    for path in backup.keys().filter(|path| !known.contains(*path)) {
        if history::entries(record, &head, std::slice::from_ref(path), Some(1))?.is_empty() {
            never.push(path.trim_start_matches(tree::DATA).trim_start_matches('/'));
        }
    }
    let folder = record.git().folder().display();
    Ok((!never.is_empty()).then(|| {
        format!(
            "the backup in the configuration repository has documents that the record never had: {}; push their images again, \
             or move {folder} and the folder `checkout` beside it away and run the repair again, which restores the backup",
            never.join(", ")
        )
    }))
}

/// Makes the folder of the record a repository that git opens.
fn make_usable(record: &Record, report: &mut Report) -> Result<(), Failure> {
    let folder = record.git().folder();
    let cannot = || format!("cannot repair {}", folder.display());
    for name in ["objects", "refs/heads"] {
        fs::create_dir_all(folder.join(name)).context(cannot)?;
    }
    let head = folder.join("HEAD");
    if fs::read(&head).is_ok_and(|found| found != b"ref: refs/heads/main\n") {
        fs::remove_file(&head).context(cannot)?;
        report.mended.push("HEAD of the record was damaged".to_owned());
    }
    let config = folder.join("config");
    if config.exists() && !record.has_sound_settings() {
        let aside = folder.join("config.damaged");
        fs::rename(&config, &aside).context(cannot)?;
        report.mended.push(format!(
            "The settings of the record were damaged and are made anew; the old ones are in {}",
            aside.display()
        ));
    }
    record.create()
}

/// Gives the record the salvaged objects of these commits as one pack, and moves all other objects into a folder beside it.
/// Returns that folder. A repair that is killed after that finds them there.
fn set_damaged_aside(
    vendor: &Vendor,
    record: &Record,
    salvage: &Salvage,
    commits: &[&CommitId],
) -> Result<Option<String>, Failure> {
    let folder = record.git().folder();
    let cannot = || format!("cannot repair {}", folder.display());
    let new = salvage.install(commits, &folder.join("objects/pack"))?;
    let aside = aside(vendor);
    let mut moved = false;
    for entry in fs::read_dir(folder.join("objects")).context(cannot)? {
        let path = entry.context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files = match name.as_str() {
            // Only caches, which git makes again.
            "info" => {
                fs::remove_dir_all(&path).context(cannot)?;
                continue;
            }
            _ => files_of(&path).context(cannot)?,
        };
        // A pack that was there before may have the same name, and damaged files beside those of the new one.
        for file in files.into_iter().filter(|file| !new.contains(file)) {
            let to = aside.join(&name);
            fs::create_dir_all(&to).context(cannot)?;
            fs::rename(path.join(&file), to.join(&file)).context(cannot)?;
            moved = true;
        }
    }
    Ok(moved.then(|| aside.display().to_string()))
}

/// The folder for what was damaged.
fn aside(vendor: &Vendor) -> PathBuf {
    let time = Utc::of(SystemTime::now()).to_string().replace(':', "");
    vendor.folder().join(format!("damaged-{time}"))
}

fn files_of(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// Moves the branch to a commit that the record has, whatever its file says.
fn restore_branch(record: &Record, to: Option<&CommitId>) -> Result<(), Failure> {
    let folder = record.git().folder();
    // git does not replace a reference that it cannot read.
    for name in ["refs/heads/main", "packed-refs"] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    match to {
        Some(to) => record.advance(None, to),
        None => Ok(()),
    }
}

fn lost(vendor: &Vendor, commit: Option<&CommitId>) -> Failure {
    let what = commit.map_or_else(|| "the last publication".to_owned(), |commit| format!("commit {commit}"));
    let message = format!("there is no good copy of {what} of {}", vendor.name());
    Failure::new(Kind::Environment, message).hint(format!(
        "restore {} from a backup, or push all images again after you have moved that folder away; nothing was changed",
        vendor.folder().display()
    ))
}

fn lost_in_bucket(registry: &Registry<'_>, commit: Option<&CommitId>) -> Failure {
    let what = commit.map_or_else(|| "the last publication".to_owned(), |commit| format!("commit {commit}"));
    let message =
        format!("neither this home nor {} has all history of {what}", registry.storage.display_name());
    Failure::new(Kind::Environment, message).hint(format!(
        "run `raas setup {0} --repair` in another home of the bucket first, which stores its history there, and then here; \
         nothing was changed",
        registry.vendor.name()
    ))
    .hint(format!(
        "run `raas setup {0} --repair --without-history` if no other home is left: it publishes the same images again as a \
         new commit",
        registry.vendor.name()
    ))
}

#[cfg(test)]
mod tests;
