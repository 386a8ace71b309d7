//! The list of publications, from the record's commits: who published what, and when.

use raas_types::crane::tree;
use raas_types::{Digest, RepositoryName, Tag};

use crate::record::{Record, parse_tag_line, rolled_back_to};
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

/// A publication, as its commit describes it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The commit that made it.
    pub commit: CommitId,
    /// The time in UTC: `2026-11-24T17:12:08Z`.
    pub time: String,
    /// The committer: `Name <address>`.
    pub who: String,
    /// The first line of the message.
    pub subject: String,
    /// The tags that it published.
    pub tags: Vec<(RepositoryName, Tag, Digest)>,
    /// For a rollback: the publication whose content it has.
    pub rolled_back_to: Option<CommitId>,
}

/// The publications up to a commit, the last one first. With paths, only those that changed one of the paths.
pub fn entries(
    record: &Record,
    commit: &CommitId,
    paths: &[String],
    most: Option<usize>,
) -> Result<Vec<Entry>, Failure> {
    let count = most.map(|most| format!("--max-count={most}"));
    let mut arguments = vec!["log", "-z", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"];
    // The separator is a character that no text has.
    arguments.push("--format=%H%x1f%cd%x1f%cn <%ce>%x1f%B");
    arguments.extend(count.as_deref());
    arguments.extend([commit.as_str(), "--"]);
    arguments.extend(paths.iter().map(String::as_str));
    let said = record.git().run_in_utc(&arguments)?;
    let entry = |text: &str| {
        let mut parts = text.splitn(4, '\x1f');
        let (commit, time, who, message) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Entry {
            commit: CommitId::parse(commit.trim()).ok()?,
            time: time.to_owned(),
            who: who.to_owned(),
            subject: message.lines().next().unwrap_or_default().to_owned(),
            tags: message.lines().filter_map(parse_tag_line).collect(),
            rolled_back_to: rolled_back_to(message),
        })
    };
    said.split_terminator('\0')
        .map(|text| entry(text).ok_or_else(|| record.git().unexpected("`git log` said something odd").into()))
        .collect()
}

/// The publication of one commit.
pub fn entry(record: &Record, commit: &CommitId) -> Result<Option<Entry>, Failure> {
    Ok(entries(record, commit, &[], Some(1))?.pop())
}

/// The paths that a commit changed.
pub fn touched(record: &Record, commit: &CommitId) -> Result<Vec<String>, Failure> {
    let arguments =
        ["diff-tree", "-r", "-z", "--root", "--no-commit-id", "--no-renames", "--name-only", commit.as_str()];
    let said = record.git().run(&arguments)?;
    Ok(said.split_terminator('\0').map(str::to_owned).collect())
}

/// The paths of a repository's documents and manifests, for git.
pub fn paths_of(name: &RepositoryName) -> Vec<String> {
    vec![
        tree::document(name),
        tree::v1_document(name),
        tree::manifests(name).trim_end_matches('/').to_owned(),
        tree::operators_document(name),
        tree::operators_v1_document(name),
    ]
}

/// Finds a commit by its id or by the beginning of its id. It must be in the history of `head`.
pub fn find(record: &Record, head: &CommitId, text: &str) -> Result<CommitId, Failure> {
    let unknown = |why: &str| {
        Failure::new(Kind::Usage, format!("`{text}` is no publication of this vendor: {why}"))
            .hint("run `raas log ISV` to see the commits")
    };
    if !(4..=64).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unknown("expected a commit's id, or at least its first four digits"));
    }
    let found = record.git().ask(&["rev-parse", "--verify", "--quiet", &format!("{text}^{{commit}}")]);
    // git fails if several ids begin so.
    let Ok(Some(found)) = found else { return Err(unknown("no commit or several commits begin with it")) };
    let commit = CommitId::parse(found.trim())?;
    if !record.is_ancestor(&commit, head)? {
        return Err(unknown("the commit is not in the history of the last publication"));
    }
    Ok(commit)
}
