//! What the configuration repository keeps of each publication: the vendor's documents as they are published, and a
//! line in a log.
//!
//! ```text
//! <isv>/metadata/<document>.json    a document, the slashes of its path as `+`, which no name has
//! <isv>/logs/yyyy-mm-dd.log         a line for each publication of that day (UTC)
//! ```
//!
//! The documents are those of the record's last commit at the moment of the push, not of the commit that is kept:
//! whoever pushes last, and has seen what the others pushed, writes what is published last.

use std::collections::BTreeSet;

use raas_types::crane::tree;
use raas_types::{RepositoryName, VendorName};

use crate::config::{Config, ReadFile, Source};
use crate::failure::Failure;
use crate::history::{self, Entry};
use crate::home::Vendor;
use crate::record::{Change, CommitId};

/// Keeps the publication that a commit made, if the configuration comes from a repository; says whether that has it.
pub(crate) fn keep(
    config: &Config,
    vendor: &Vendor,
    commit: &CommitId,
    name: &RepositoryName,
    say: &dyn Fn(&str),
) -> Result<bool, Failure> {
    let Source::Repository(repository) = &config.source else { return Ok(false) };
    let record = vendor.record();
    let Some(entry) = history::entry(&record, commit)? else { return Ok(false) };
    let mut paths: BTreeSet<String> = [tree::document(name), tree::v1_document(name)].into();
    // The operator's documents may have come with the same commit.
    paths.extend(history::touched(&record, commit)?.into_iter().filter(|path| path.ends_with(".json")));
    let changed = repository.change(&message(vendor.name(), &entry), &|read| {
        let Some(head) = record.head()? else { return Ok(Vec::new()) };
        let mut changes: Vec<Change> = Vec::new();
        for path in &paths {
            let Some(kept) = flat(vendor.name(), path) else { continue };
            changes.push((kept, record.read(&head, path)?));
        }
        changes.extend(log_line(vendor.name(), &entry, read)?);
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

/// The line of a publication, in the log of its day; nothing if it is there.
fn log_line(vendor: &VendorName, entry: &Entry, read: &ReadFile<'_>) -> Result<Option<Change>, Failure> {
    let day = entry.time.split('T').next().unwrap_or_default();
    let path = format!("{vendor}/logs/{day}.log");
    let mut log = read(&path)?.unwrap_or_default();
    let commit = entry.commit.as_str().as_bytes();
    if log.windows(commit.len()).any(|window| window == commit) {
        return Ok(None);
    }
    if log.last().is_some_and(|last| *last != b'\n') {
        log.push(b'\n');
    }
    log.extend(line(entry).into_bytes());
    Ok(Some((path, Some(log))))
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
mod tests {
    use super::*;

    #[test]
    fn no_two_documents_are_kept_in_one_place() {
        let vendor: VendorName = "acme".parse().unwrap();
        let names = ["a/b", "a-b", "a.v1", "a/b.v1", "a__v1", "a/v1", "a"];
        let mut kept = BTreeSet::new();
        for name in names {
            let name: RepositoryName = name.parse().unwrap();
            for path in [tree::document(&name), tree::v1_document(&name)] {
                let path = flat(&vendor, &path).unwrap();
                assert!(!path.trim_start_matches("acme/metadata/").contains('/'), "{path}");
                kept.insert(path);
            }
        }
        assert_eq!(kept.len(), 2 * names.len());
        assert_eq!(flat(&vendor, "README"), None);
    }
}
