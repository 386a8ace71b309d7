//! Protecting repositories, and making them public again.

use std::collections::BTreeSet;

use raas_types::access::ProtectedPatterns;
use raas_types::crane::{Document, keep_unknown_keys, tree};
use raas_types::{RepositoryName, RepositoryPattern};

use super::read;
use crate::publication::{Done, SettingsPublication};
use crate::record::Record;
use crate::registry::Registry;
use raas_base::failure::{Failure, Kind};
use raas_git::{Change, CommitId};

/// What a repository becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Only users and customers see the repository.
    Protected,
    /// Everybody sees the repository.
    Public,
}

/// What a change of protection has done.
#[derive(Debug)]
pub struct ProtectionChange {
    /// The published repositories that have changed.
    pub repositories: BTreeSet<RepositoryName>,
    /// The published repositories that match, and needed no change.
    pub unchanged: BTreeSet<RepositoryName>,
    /// The patterns of new repositories that were added or removed.
    pub patterns: Vec<RepositoryPattern>,
    /// The patterns that still match some of the repositories that are public now.
    pub remaining: Vec<RepositoryPattern>,
    /// The publication.
    pub done: Done,
}

/// The patterns of new repositories that are protected from their first publication on.
///
/// # Errors
/// The file cannot be read, or a newer raas has written it.
pub fn patterns(record: &Record, head: Option<&CommitId>) -> Result<ProtectedPatterns, Failure> {
    Ok(read(record, head, tree::PROTECTED, ProtectedPatterns::parse)?.unwrap_or_default())
}

/// Protects all published repositories that match a pattern and all future ones, or makes them public.
///
/// # Errors
/// There is nothing to make public, or publishing fails.
pub fn change_protection(
    registry: &Registry<'_>,
    pattern: &RepositoryPattern,
    to: Protection,
) -> Result<ProtectionChange, Failure> {
    let publication = SettingsPublication::begin(registry)?;
    let (record, head) = (&publication.record, publication.head.as_ref());
    let mut file = patterns(record, head)?;
    let (before, protected) = (file.patterns.clone(), to == Protection::Protected);
    match to {
        Protection::Protected if !before.contains(pattern) => file.patterns.push(pattern.clone()),
        Protection::Protected => {}
        Protection::Public => file.patterns.retain(|earlier| !covers(pattern, earlier)),
    }
    let Documents { mut changes, repositories, unchanged } = match head {
        Some(head) => documents(record, head, pattern, protected)?,
        None => Documents::default(),
    };
    let differs = |these: &[RepositoryPattern], those: &[RepositoryPattern]| -> Vec<RepositoryPattern> {
        these.iter().filter(|one| !those.contains(one)).cloned().collect()
    };
    let changed_patterns = match to {
        Protection::Protected => differs(&file.patterns, &before),
        Protection::Public => differs(&before, &file.patterns),
    };
    if to == Protection::Public && changes.is_empty() && changed_patterns.is_empty() {
        let message =
            format!("no protected repository and no pattern of protected repositories matches `{pattern}`");
        return Err(Failure::new(Kind::Usage, message)
            .hint(format!("run `raas list {}` to see what is protected", registry.vendor.name())));
    }
    let remaining =
        file.patterns.iter().filter(|pattern| repositories.iter().any(|name| pattern.matches(name)));
    let remaining = if protected { Vec::new() } else { remaining.cloned().collect() };
    if !changed_patterns.is_empty() {
        changes.push((tree::PROTECTED.to_owned(), Some(file.to_bytes())));
    }
    let done = publication.commit(changes, &message(pattern, to, &repositories))?;
    // A record without a publication has no pattern to remove, and a pattern to add is a change.
    let done = done.expect("there is a change or a publication");
    Ok(ProtectionChange { repositories, unchanged, patterns: changed_patterns, remaining, done })
}

/// The documents of the repositories that match.
#[derive(Default)]
struct Documents {
    changes: Vec<Change>,
    repositories: BTreeSet<RepositoryName>,
    unchanged: BTreeSet<RepositoryName>,
}

fn documents(
    record: &Record,
    head: &CommitId,
    pattern: &RepositoryPattern,
    protected: bool,
) -> Result<Documents, Failure> {
    let mut files = record.files(head, tree::DATA)?;
    files.retain(|file| file.path.ends_with(".json") && !tree::is_operators(&file.path));
    let mut found = Documents::default();
    record.read_each(&files, |file, bytes| {
        let mut document = match Document::parse(&bytes) {
            Ok(document) => document,
            // Its repository may be one of those that match.
            Err(_) if !may_match(&file.path, pattern) => return Ok(()),
            Err(error) => {
                let message = format!("{} of commit {} cannot be read", file.path, head.short());
                return Err(Failure::new(Kind::Environment, message).caused_by(error).hint(
                    "push its image again, or correct the document in the record with git; nothing was published",
                ));
            }
        };
        let name = document.name.clone();
        let is_home = [tree::document(&name), tree::v1_document(&name)].contains(&file.path);
        if is_home && pattern.matches(&name) {
            if document.protected == protected {
                found.unchanged.insert(name);
            } else {
                document.protected = protected;
                let changed = keep_unknown_keys(&bytes, document.to_bytes());
                found.changes.push((file.path.clone(), Some(changed)));
                found.repositories.insert(name);
            }
        }
        Ok(())
    })?;
    // A repository has two documents if it has Docker v1 content too.
    found.unchanged.retain(|name| !found.repositories.contains(name));
    Ok(found)
}

/// Whether the document at this path may be of a repository that matches.
fn may_match(path: &str, pattern: &RepositoryPattern) -> bool {
    let name = path.strip_prefix(tree::DATA).map(|name| name.trim_start_matches('/'));
    let name = name.and_then(|name| name.strip_suffix("/_v1.json").or_else(|| name.strip_suffix(".json")));
    name.and_then(|name| name.parse().ok()).is_some_and(|name| pattern.matches(&name))
}

/// Whether a pattern matches everything that another one matches.
fn covers(pattern: &RepositoryPattern, other: &RepositoryPattern) -> bool {
    match (pattern, other) {
        (RepositoryPattern::All, _) => true,
        (_, RepositoryPattern::All) => false,
        (pattern, RepositoryPattern::One(name)) => pattern.matches(name),
        (RepositoryPattern::Below(_), RepositoryPattern::Below(name)) => {
            pattern == other || pattern.matches(name)
        }
        (RepositoryPattern::One(_), RepositoryPattern::Below(_)) => false,
    }
}

/// The message of the commit. Its first line names the pattern and the first repositories.
fn message(pattern: &RepositoryPattern, to: Protection, repositories: &BTreeSet<RepositoryName>) -> String {
    const MOST: usize = 5;
    let verb = match to {
        Protection::Protected => "Protect",
        Protection::Public => "Unprotect",
    };
    let is_alone = matches!(pattern, RepositoryPattern::One(_));
    let names: Vec<&str> = repositories.iter().map(RepositoryName::as_str).take(MOST).collect();
    let more = repositories.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let list =
        if names.is_empty() || is_alone { String::new() } else { format!(": {}{more}", names.join(", ")) };
    format!("{verb} {pattern}{list}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_narrower_ones() {
        let table = [
            ("*", "a/*", true),
            ("a/*", "*", false),
            ("a/*", "a/*", true),
            ("a/*", "a/b/*", true),
            ("a/*", "ab/*", false),
            ("a/*", "a/b", true),
            ("a/*", "a", false),
            ("a", "a", true),
            ("a", "a/*", false),
        ];
        for (one, other, expected) in table {
            assert_eq!(covers(&one.parse().unwrap(), &other.parse().unwrap()), expected, "{one} {other}");
        }
    }

    #[test]
    fn a_document_that_cannot_be_read_is_of_the_repository_of_its_path() {
        let pattern: RepositoryPattern = "a/*".parse().unwrap();
        for (path, expected) in [
            ("crane/data/a/b.json", true),
            ("crane/data/a/b/_v1.json", true),
            ("crane/data/c.json", false),
            ("crane/data/_access/x.json", false),
        ] {
            assert_eq!(may_match(path, &pattern), expected, "{path}");
        }
    }

    #[test]
    fn the_message_names_the_first_repositories() {
        let names: BTreeSet<RepositoryName> = (0..7).map(|n| format!("a/{n}").parse().unwrap()).collect();
        let text = message(&"a/*".parse().unwrap(), Protection::Protected, &names);
        assert_eq!(text, "Protect a/*: a/0, a/1, a/2, a/3, a/4 and 2 more\n");
        let one = message(&"a".parse().unwrap(), Protection::Public, &["a".parse().unwrap()].into());
        assert_eq!(one, "Unprotect a\n");
    }
}
