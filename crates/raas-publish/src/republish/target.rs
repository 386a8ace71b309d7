//! The publication that a rollback publishes again.
//!
//! A rollback is a publication too. Its message names the publication whose content it has, so a later rollback can go
//! further back: through rollbacks to the publication that is in effect, and from there to the publication before.

use raas_types::RepositoryName;

use crate::history::{self, Entry};
use crate::publication::Current;
use crate::record::Record;
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

/// The history of an image up to a commit.
pub(super) struct ImageHistory<'a> {
    record: &'a Record,
    name: &'a RepositoryName,
    /// The publications that changed the image, the last one first.
    entries: Vec<Entry>,
}

impl<'a> ImageHistory<'a> {
    pub(super) fn read(
        record: &'a Record,
        head: &CommitId,
        name: &'a RepositoryName,
    ) -> Result<Self, Failure> {
        let entries = history::entries(record, head, &history::paths_of(name), None)?;
        Ok(Self { record, name, entries })
    }

    /// The publication before the one in effect.
    ///
    /// # Errors
    /// There is none, or the image was not published then.
    pub(super) fn before(&self) -> Result<&Entry, Failure> {
        let Self { name, entries, .. } = self;
        if entries.is_empty() {
            return Err(never(name));
        }
        let in_effect = self.in_effect(0)?;
        let Some(before) =
            (in_effect + 1 < entries.len()).then(|| self.in_effect(in_effect + 1)).transpose()?
        else {
            let only = entries[in_effect].commit.short();
            let message =
                format!("commit {only} is the first publication of {name}: there is none before it");
            return Err(Failure::new(Kind::Usage, message)
                .hint(format!("run `raas unpublish ISV {name}` to remove the image from the registry")));
        };
        if Current::read(self.record, &entries[before].commit, name)?.is_empty() {
            let message = format!(
                "before commit {}, {name} was not published: commit {} had removed it",
                entries[in_effect].commit.short(),
                entries[before].commit.short()
            );
            return Err(Failure::new(Kind::Usage, message).hint(
                "run `raas unpublish` to remove the image again, or name a publication with --to COMMIT",
            ));
        }
        Ok(&entries[before])
    }

    /// The publication of the image that was in effect at a commit. `None` if no publication had changed the image yet.
    pub(super) fn at(&self, commit: &CommitId) -> Result<Option<&Entry>, Failure> {
        let at = self.position(commit)?.map(|at| self.in_effect(at)).transpose()?;
        Ok(at.map(|at| &self.entries[at]))
    }

    /// Walks from a publication through rollbacks to the publication whose content it has.
    fn in_effect(&self, mut at: usize) -> Result<usize, Failure> {
        while let Some(to) = &self.entries[at].rolled_back_to {
            match self.position(to)? {
                // A rollback goes to an earlier publication, so the walk ends.
                Some(earlier) if earlier > at => at = earlier,
                _ => break,
            }
        }
        Ok(at)
    }

    /// The index in `entries` of the last publication of the image up to a commit.
    fn position(&self, commit: &CommitId) -> Result<Option<usize>, Failure> {
        if let Some(at) = self.entries.iter().position(|entry| entry.commit == *commit) {
            return Ok(Some(at));
        }
        // The commit is of another image.
        if !self.record.has(commit)? {
            return Ok(None);
        }
        let last = history::entries(self.record, commit, &history::paths_of(self.name), Some(1))?;
        Ok(last.first().and_then(|last| self.entries.iter().position(|entry| entry.commit == last.commit)))
    }
}

/// The error for an image without publications.
pub(super) fn never(name: &RepositoryName) -> Failure {
    Failure::new(Kind::Usage, format!("{name} has never been published"))
        .hint("run `raas list ISV` to see the images")
}

#[cfg(test)]
mod tests {
    use raas_types::crane::{Content, Document, V2Content, V2Extension, tree};

    use super::*;

    struct History {
        record: Record,
        name: RepositoryName,
        _folder: tempfile::TempDir,
    }

    impl History {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let record = Record::new(folder.path().join("r.git"));
            record.create().unwrap();
            Self { record, name: "app".parse().unwrap(), _folder: folder }
        }

        /// Commits a document of an image with this text in it, or its removal.
        fn publish(&self, name: &RepositoryName, content: Option<&str>, message: &str) -> CommitId {
            let document = content.map(|content| {
                let url = format!("https://x/{content}/");
                let repository = Document::repository_id(&"acme".parse().unwrap(), name);
                let content = Content::V2(V2Content::new(V2Extension::default(), |_| None));
                Document { repository, name: name.clone(), url, protected: false, content }.to_bytes()
            });
            let head = self.record.head().unwrap();
            self.record.commit(head.as_ref(), &[(tree::document(name), document)], message).unwrap()
        }

        fn push(&self, content: &str) -> CommitId {
            self.publish(&self.name, Some(content), "Publish app: 1.0\n\nSource: x (oci)")
        }

        fn roll_back(&self, content: &str, to: &CommitId) -> CommitId {
            let message = format!("Roll back app to {} of today\n\nAs in commit {to}", to.short());
            self.publish(&self.name, Some(content), &message)
        }

        fn before(&self) -> Result<CommitId, String> {
            let head = self.record.head().unwrap().unwrap();
            let history = ImageHistory::read(&self.record, &head, &self.name).unwrap();
            history.before().map(|entry| entry.commit.clone()).map_err(|failure| failure.to_string())
        }
    }

    #[test]
    fn a_second_rollback_goes_further_back() {
        let history = History::new();
        let (one, two) = (history.push("1"), history.push("2"));
        history.push("3");
        assert_eq!(history.before().unwrap(), two);
        let back = history.roll_back("2", &two);
        assert_eq!(history.before().unwrap(), one);
        // The rollback of a rollback commit has the content of the same publication.
        history.roll_back("1", &one);
        assert!(history.before().unwrap_err().contains(&format!("{} is the first", one.short())));
        history.roll_back("2", &back);
        assert_eq!(history.before().unwrap(), one);
        let four = history.push("4");
        assert_eq!(history.before().unwrap(), two, "before the push, the second was in effect");
        history.roll_back("2", &two);
        history.roll_back("4", &four);
        assert_eq!(history.before().unwrap(), two);
    }

    #[test]
    fn a_commit_of_another_image_stands_for_the_last_publication_before_it() {
        let history = History::new();
        let (one, other) = (history.push("1"), "other".parse().unwrap());
        let between = history.publish(&other, Some("x"), "Publish other: 1.0");
        let two = history.push("2");
        history.push("3");
        history.roll_back("2", &two);
        history.roll_back("1", &between);
        assert!(history.before().unwrap_err().contains(&format!("{} is the first", one.short())));
    }

    #[test]
    fn a_removed_image_comes_back_and_its_removal_is_no_target() {
        let history = History::new();
        let one = history.push("1");
        history.publish(&history.name, None, "Unpublish app: 1.0");
        assert_eq!(history.before().unwrap(), one);
        history.push("2");
        let failure = history.before().unwrap_err();
        assert!(failure.contains("was not published") && failure.contains("--to COMMIT"), "{failure}");
    }

    #[test]
    fn a_push_cannot_pretend_to_be_a_rollback() {
        let history = History::new();
        let (one, two) = (history.push("1"), history.push("2"));
        history.publish(&history.name, Some("3"), &format!("Publish app: 1.0\n\nAs in commit {one}"));
        assert_eq!(history.before().unwrap(), two);
    }
}
