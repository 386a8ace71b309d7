//! What the configuration repository keeps of each publication: the vendor's documents as they are published, and a
//! line in a log.
//!
//! ```text
//! <isv>/metadata/<document>.json    a document, the slashes of its path as `+`, which no name has
//! <isv>/logs/yyyy-mm-dd.log         a line for each publication of that day (UTC)
//! ```
//!
//! The documents are those of the record's last commit at the moment of the push, not of the commit that is kept:
//! whoever pushes last, and has seen what the others pushed, writes what is published last. Where other homes publish to
//! the vendor's bucket too, that is looked for before each try.
//!
//! Publications of the image that could not be kept before get their lines with the next one.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::tree;
use raas_types::{RepositoryName, VendorName};

use crate::config::{Config, ReadFile, Source};
use raas_base::failure::Failure;
use raas_git::{Change, CommitId};
use raas_publish::catch_up;
use raas_publish::history::{self, Entry};
use raas_publish::record::Record;
use raas_publish::registry::Registry;

/// As many publications of an image are looked for in the logs.
const MOST_MISSING: usize = 20;

/// Keeps the publication that a commit made, if the configuration comes from a repository; says whether that has it.
pub(crate) fn keep(
    config: &Config,
    registry: &Registry<'_>,
    commit: &CommitId,
    name: &RepositoryName,
    say: &dyn Fn(&str),
) -> Result<bool, Failure> {
    let Source::Repository(repository) = &config.source else { return Ok(false) };
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
            let Some(kept) = flat(vendor.name(), &path) else { continue };
            changes.push((kept, record.read(&head, &path)?));
        }
        for entry in &missing {
            logs.add(entry)?;
        }
        changes.extend(logs.changed.into_iter().map(|(path, log)| (path, Some(log))));
        Ok(changes)
    });
    match changed {
        Ok(true) => say("Kept in the configuration repository"),
        Ok(false) => say("The configuration repository has it already"),
        Err(failure) => {
            return Err(failure.preceded_by(
                "it is published, and not kept in the configuration repository; the next push of the image makes up \
                 for it",
            ));
        }
    }
    Ok(true)
}

/// The paths of the image's documents, and of those of the operator's that came with these publications.
fn documents(
    record: &Record,
    name: &RepositoryName,
    entry: &Entry,
    missing: &[Entry],
) -> Result<BTreeSet<String>, Failure> {
    let mut paths: BTreeSet<String> = [tree::document(name), tree::v1_document(name)].into();
    for entry in missing.iter().chain([entry]) {
        let touched = history::touched(record, &entry.commit)?;
        paths.extend(touched.into_iter().filter(|path| path.ends_with(".json")));
    }
    Ok(paths)
}

/// The publications whose lines are not there, the oldest first: this one, and those of the image before it up to one
/// that has its line.
fn missing(
    record: &Record,
    entry: &Entry,
    name: &RepositoryName,
    logs: &mut Logs<'_>,
) -> Result<Vec<Entry>, Failure> {
    let mut missing = Vec::new();
    for earlier in history::entries(record, &entry.commit, &history::paths_of(name), Some(MOST_MISSING))? {
        if logs.has(&earlier)? {
            break;
        }
        missing.push(earlier);
    }
    missing.reverse();
    // It may be of the operator's documents alone.
    if missing.last().is_none_or(|last| last.commit != entry.commit) && !logs.has(entry)? {
        missing.push(entry.clone());
    }
    Ok(missing)
}

/// The logs of a vendor, and what is added to them.
struct Logs<'a> {
    vendor: &'a VendorName,
    read: &'a ReadFile<'a>,
    /// Those that are added to, by their paths.
    changed: BTreeMap<String, Vec<u8>>,
}

impl Logs<'_> {
    /// The log of the day of a publication.
    fn path(&self, entry: &Entry) -> String {
        format!("{}/logs/{}.log", self.vendor, entry.time.split('T').next().unwrap_or_default())
    }

    /// Whether a publication has its line.
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

/// When, who, what, digests, commit.
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

/// Where a document of the record is kept; nothing for other files.
fn flat(vendor: &VendorName, path: &str) -> Option<String> {
    let document = path.strip_prefix(tree::DATA)?.strip_prefix('/')?;
    Some(format!("{vendor}/metadata/{}", document.replace('/', "+")))
}

#[cfg(test)]
mod tests;
