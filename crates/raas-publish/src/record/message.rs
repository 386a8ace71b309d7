//! The message of a publication's commit. `raas list`, `raas log` and people read it.

use std::collections::BTreeMap;
use std::fmt;

use raas_git::CommitId;
use raas_types::{Digest, RepositoryName, Tag};

/// The message of a commit.
#[derive(Debug, Clone)]
pub struct Message {
    /// The first line: `Publish app: 1.0, latest`.
    pub subject: String,
    /// The repository.
    pub name: RepositoryName,
    /// The tags that it publishes; each has a line.
    pub tags: BTreeMap<Tag, Digest>,
    /// Further lines.
    pub notes: Vec<String>,
}

impl Message {
    /// A message whose first line names the action, the image and the first of these tags.
    pub fn new<'a>(verb: &str, name: &RepositoryName, named: impl Iterator<Item = &'a Tag>) -> Self {
        let mut tags: Vec<&str> = named.map(Tag::as_str).collect();
        let more = tags.len().saturating_sub(5);
        tags.truncate(5);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let list = if tags.is_empty() { String::new() } else { format!(": {}{more}", tags.join(", ")) };
        Self {
            subject: format!("{verb} {name}{list}"),
            name: name.clone(),
            tags: BTreeMap::new(),
            notes: Vec::new(),
        }
    }
}

/// The beginning of the first line of a rollback's message.
const ROLL_BACK: &str = "Roll back ";

/// The beginning of the line of a rollback's message that names the publication whose content it has.
const AS_IN: &str = "As in commit ";

impl Message {
    /// The message of a rollback of an image to the publication of this commit, which was made at this time.
    pub fn roll_back(name: &RepositoryName, to: &CommitId, time: &str) -> Self {
        Self {
            subject: format!("{ROLL_BACK}{name} to {} of {time}", to.short()),
            name: name.clone(),
            tags: BTreeMap::new(),
            notes: vec![format!("{AS_IN}{to}")],
        }
    }
}

/// The publication whose content a rollback has, by the rollback's message. `None` for the message of anything else.
pub fn rolled_back_to(message: &str) -> Option<CommitId> {
    let mut lines = message.lines();
    // Only raas writes the first line. Another line may come from a name in the source.
    lines.next().filter(|subject| subject.starts_with(ROLL_BACK))?;
    lines.rev().find_map(|line| CommitId::parse(line.strip_prefix(AS_IN)?).ok())
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.subject)?;
        if !self.tags.is_empty() {
            writeln!(f)?;
        }
        for (tag, digest) in &self.tags {
            writeln!(f, "{}:{tag} {digest}", self.name)?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// Parses a line that names a published tag: `<image>:<tag> <digest>`.
pub fn parse_tag_line(line: &str) -> Option<(RepositoryName, Tag, Digest)> {
    let (image, digest) = line.split_once(' ')?;
    let (name, tag) = image.split_once(':')?;
    Some((name.parse().ok()?, tag.parse().ok()?, digest.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_message_parses() {
        let tag: Tag = "1.0".parse().unwrap();
        let name: RepositoryName = "tools/app".parse().unwrap();
        let mut message = Message::new("Publish", &name, [&tag].into_iter());
        message.tags.insert(tag.clone(), Digest::of(b""));
        message.notes.push("Source: x (y)".into());
        let text = message.to_string();
        assert!(text.starts_with("Publish tools/app: 1.0\n\ntools/app:1.0 sha256:"), "{text}");
        let parsed: Vec<_> = text.lines().filter_map(parse_tag_line).collect();
        assert_eq!(parsed, [(name, tag, Digest::of(b""))]);
    }
}
