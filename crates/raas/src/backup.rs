//! The backup of publications in the configuration repository: the vendor's published documents, and a log with a line for
//! each publication.
//!
//! ```text
//! <isv>/metadata/<document>.json    a document; the slashes of its path become `+`, which no name contains
//! <isv>/logs/yyyy-mm-dd.log         a line for each publication of that day (UTC)
//! ```
//!
//! The documents come from the last commit of the record at the moment of the backup, not from the commit that is backed
//! up. So the last backup has what is published last. If other homes publish to the vendor's bucket too, each attempt
//! first takes in what they have published.
//!
//! If an earlier backup of the image failed, the next one adds the missing lines.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::tree;
use raas_types::{RepositoryName, VendorName};

use crate::config::{Config, ConfigSource, ReadFile};
use raas_base::failure::Failure;
use raas_git::{Change, CommitId};
use raas_publish::catch_up;
use raas_publish::history::{self, Entry};
use raas_publish::record::Record;
use raas_publish::registry::Registry;
use raas_publish::repair::Files;

/// The most publications of an image that are searched for in the logs.
const MOST_MISSING: usize = 20;

/// Backs up the publication of a commit, if the configuration comes from a repository. Returns whether the repository has
/// the backup.
pub(crate) fn back_up(
    config: &Config,
    registry: &Registry<'_>,
    commit: &CommitId,
    name: Option<&RepositoryName>,
    say: &dyn Fn(&str),
) -> Result<bool, Failure> {
    let ConfigSource::Repository(repository) = &config.source else { return Ok(false) };
    let vendor = registry.vendor;
    let record = vendor.record();
    let Some(entry) = history::entry(&record, commit)? else { return Ok(false) };
    let changed = repository.change(&message(vendor.name(), &entry), &|read| {
        if registry.shared {
            catch_up::lock_and_catch_up(registry)?;
        }
        let Some(head) = record.head()? else { return Ok(Vec::new()) };
        let mut logs = Logs { vendor: vendor.name(), read, changed: BTreeMap::new() };
        let missing = missing(&record, &entry, name, &mut logs)?;
        let mut changes: Vec<Change> = Vec::new();
        for path in documents(&record, name, &entry, &missing)? {
            let Some(backup) = backup_path(vendor.name(), &path) else { continue };
            changes.push((backup, record.read(&head, &path)?));
        }
        for entry in &missing {
            logs.add(entry)?;
        }
        changes.extend(logs.changed.into_iter().map(|(path, log)| (path, Some(log))));
        Ok(changes)
    });
    match changed {
        Ok(true) => say("Backed up in the configuration repository"),
        Ok(false) => say("The configuration repository has the backup already"),
        Err(failure) => {
            let statement = match name {
                Some(_) => {
                    "the image is published, but not backed up in the configuration repository; the next push of the image \
                     backs it up"
                }
                None => {
                    "the change is published, but not backed up in the configuration repository; the next change of access \
                     backs it up"
                }
            };
            return Err(failure.preceded_by(statement));
        }
    }
    Ok(true)
}

/// The vendor's own documents of the last backup, by their paths in the record. There are none without a configuration
/// repository. The operator's documents are not among them: the next push publishes them again.
pub(crate) fn documents_of_backup(config: &Config, vendor: &VendorName) -> Result<Files, Failure> {
    let ConfigSource::Repository(repository) = &config.source else { return Ok(Files::new()) };
    let folder = format!("{vendor}/metadata/");
    let files = repository.files_below(&folder)?.into_iter();
    Ok(files
        .filter_map(|(path, bytes)| Some((published_path(path.strip_prefix(&folder)?)?, bytes)))
        .collect())
}

/// The path in the record of the backup of a document, of a customer, or of the protected patterns. `None` for the
/// operator's documents and for other files.
fn published_path(name: &str) -> Option<String> {
    let path = format!("{}/{}", tree::DATA, name.replace('+', "/"));
    let is_own = name.ends_with(".json") && !name.starts_with('+');
    (is_own || tree::is_access(&path)).then_some(path)
}

/// The paths of the image's documents, and of the operator's documents that these publications changed.
fn documents(
    record: &Record,
    name: Option<&RepositoryName>,
    entry: &Entry,
    missing: &[Entry],
) -> Result<BTreeSet<String>, Failure> {
    let own = name.map(|name| [tree::document(name), tree::v1_document(name)]);
    let mut paths: BTreeSet<String> = own.into_iter().flatten().collect();
    for entry in missing.iter().chain([entry]) {
        let touched = history::touched(record, &entry.commit)?;
        paths.extend(touched.into_iter().filter(|path| path.ends_with(".json") || tree::is_access(path)));
    }
    Ok(paths)
}

/// The publications without a line in the logs, the oldest first: this one, and earlier ones of the image up to the first
/// that has its line.
fn missing(
    record: &Record,
    entry: &Entry,
    name: Option<&RepositoryName>,
    logs: &mut Logs<'_>,
) -> Result<Vec<Entry>, Failure> {
    let mut missing = Vec::new();
    let paths = name.map_or_else(|| vec![tree::ACCESS.trim_end_matches('/').to_owned()], history::paths_of);
    for earlier in history::entries(record, &entry.commit, &paths, Some(MOST_MISSING))? {
        if logs.has(&earlier)? {
            break;
        }
        missing.push(earlier);
    }
    missing.reverse();
    // A publication that changes the operator's documents only is not in the history of the image.
    if missing.last().is_none_or(|last| last.commit != entry.commit) && !logs.has(entry)? {
        missing.push(entry.clone());
    }
    Ok(missing)
}

/// The logs of a vendor, with the lines that this backup adds.
struct Logs<'a> {
    vendor: &'a VendorName,
    read: &'a ReadFile<'a>,
    /// The changed logs by path.
    changed: BTreeMap<String, Vec<u8>>,
}

impl Logs<'_> {
    /// The path of the log for the day of a publication.
    fn path(&self, entry: &Entry) -> String {
        format!("{}/logs/{}.log", self.vendor, entry.time.split('T').next().unwrap_or_default())
    }

    /// Whether the log has the line of a publication.
    fn has(&self, entry: &Entry) -> Result<bool, Failure> {
        let log = (self.read)(&self.path(entry))?.unwrap_or_default();
        let commit = entry.commit.as_str().as_bytes();
        Ok(log.windows(commit.len()).any(|window| window == commit))
    }

    /// Adds the line of a publication.
    fn add(&mut self, entry: &Entry) -> Result<(), Failure> {
        let path = self.path(entry);
        let log = match self.changed.remove(&path) {
            Some(log) => Some(log),
            None => (self.read)(&path)?,
        };
        let mut log = log.unwrap_or_default();
        if log.last().is_some_and(|last| *last != b'\n') {
            log.push(b'\n');
        }
        log.extend(line(entry).into_bytes());
        self.changed.insert(path, log);
        Ok(())
    }
}

/// The line of a publication: time, person, subject, digests, commit.
fn line(entry: &Entry) -> String {
    let mut line = format!("{} {}: {}", entry.time, entry.who, entry.subject);
    for (name, tag, digest) in &entry.tags {
        line.push_str(&format!(" {name}:{tag}@{digest}"));
    }
    line.push_str(&format!(" commit {}\n", entry.commit));
    line
}

fn message(vendor: &VendorName, entry: &Entry) -> String {
    let mut message = format!("{vendor}: {}\n\nBy {} at {}\n", entry.subject, entry.who, entry.time);
    for (name, tag, digest) in &entry.tags {
        message.push_str(&format!("{name}:{tag} {digest}\n"));
    }
    message.push_str(&format!("\nCommit {} of the vendor's record\n", entry.commit));
    message
}

/// The path of a document's backup. `None` for other files of the record.
fn backup_path(vendor: &VendorName, path: &str) -> Option<String> {
    let document = path.strip_prefix(tree::DATA)?.strip_prefix('/')?;
    Some(format!("{vendor}/metadata/{}", document.replace('/', "+")))
}

#[cfg(test)]
mod tests;
