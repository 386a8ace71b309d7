//! Decides whether a publication protects its image. It does if the command line says so, if a pattern matches a new
//! image, or if the image was protected when it was last published.
//!
//! `protected` says who may see the image, and is no part of the image. A push, a rollback, and a push after
//! `raas unpublish` all keep it. Otherwise a protected image would become public without anybody's decision.

use std::fmt;

use raas_types::crane::tree;
use raas_types::{RepositoryName, RepositoryPattern};

use raas_base::failure::Failure;
use raas_git::CommitId;
use raas_publish::publication::Current;
use raas_publish::record::Record;
use raas_publish::registry::Registry;
use raas_publish::{access, history};

use crate::config::Config;
use crate::exposure;

/// Everything that decides whether a push protects an image that is not protected yet.
#[derive(Clone, Copy)]
pub(super) struct ProtectionRules<'a> {
    pub(super) registry: &'a Registry<'a>,
    pub(super) config: &'a Config,
    pub(super) name: &'a RepositoryName,
    /// `--protected`
    pub(super) asked: bool,
}

/// Why a push protects an image that was not protected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Asked,
    /// A pattern of `raas protect`.
    Record(RepositoryPattern),
    /// A pattern of the vendor's section.
    Config(RepositoryPattern),
}

impl ProtectionRules<'_> {
    /// Checks what is known before anything is stored.
    ///
    /// # Errors
    /// The push would protect the image, and everybody could read its content.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let vendor = self.registry.vendor;
        let record = vendor.record();
        let head = if vendor.exists()? { record.head()? } else { None };
        let current = match &head {
            Some(head) => Current::read(&record, head, self.name)?,
            None => Current::default(),
        };
        if current.protected || self.reason(&record, head.as_ref(), current.is_empty())?.is_some() {
            self.check_content_is_private()?;
        }
        Ok(())
    }

    /// Why this push protects an image that is not protected yet. Patterns decide about new images only.
    pub(super) fn reason(
        &self,
        record: &Record,
        head: Option<&CommitId>,
        is_new: bool,
    ) -> Result<Option<Reason>, Failure> {
        if self.asked {
            return Ok(Some(Reason::Asked));
        }
        if !is_new {
            return Ok(None);
        }
        if let Some(pattern) = access::patterns(record, head)?.matching(self.name) {
            return Ok(Some(Reason::Record(pattern.clone())));
        }
        let settings = self.config.vendor(self.registry.vendor.name());
        let pattern = settings.protected_repositories.iter().find(|pattern| pattern.matches(self.name));
        Ok(pattern.cloned().map(Reason::Config))
    }

    fn check_content_is_private(&self) -> Result<(), Failure> {
        let vendor = self.registry.vendor;
        exposure::check_new(vendor, &self.config.vendor(vendor.name()), self.name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Asked => f.write_str("`--protected`"),
            Reason::Record(pattern) => write!(f, "`{pattern}` is protected with `raas protect`"),
            Reason::Config(pattern) => write!(f, "`protected_repositories` has `{pattern}`"),
        }
    }
}

/// The last publication of an image that is unpublished now, if the image was protected in it.
pub(super) fn before_removal(
    record: &Record,
    head: &CommitId,
    name: &RepositoryName,
) -> Result<Option<CommitId>, Failure> {
    let documents = [tree::document(name), tree::v1_document(name)];
    for document in &documents {
        if record.read(head, document)?.is_some() {
            return Ok(None);
        }
    }
    // The last commit that changed the documents removed them.
    let last = history::entries(record, head, &documents, Some(2))?;
    let [_, before] = last.as_slice() else { return Ok(None) };
    // An unreadable document does not prevent the push. It does not make the image public either.
    let protected = Current::read(record, &before.commit, name).map_or(true, |then| then.protected);
    Ok(protected.then(|| before.commit.clone()))
}

#[cfg(test)]
mod tests {
    use raas_types::crane::{Content, Document, V2Content, V2Extension};

    use super::*;

    #[test]
    fn the_last_publication_before_the_removal_decides() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::new(folder.path().join("r.git"));
        record.create().unwrap();
        let name: RepositoryName = "app".parse().unwrap();
        let document = |protected| {
            let content = Content::V2(V2Content::new(V2Extension::default(), |_| None));
            let url = "https://x/app/_v2/".to_owned();
            let repository = Document::repository_id(&"acme".parse().unwrap(), &name);
            Document { repository, name: name.clone(), url, protected, content }.to_bytes()
        };
        let commit = |content: Option<Vec<u8>>| {
            let change = (tree::document(&name), content);
            record.commit(record.head().unwrap().as_ref(), &[change], "change").unwrap()
        };
        let other = (tree::document(&"other".parse().unwrap()), Some(b"other".to_vec()));
        let never = record.commit(None, &[other], "other").unwrap();
        let found = |head: &CommitId| before_removal(&record, head, &name).unwrap();
        assert_eq!(found(&never), None);
        let protected = commit(Some(document(true)));
        assert_eq!(found(&protected), None, "a published image has its own document");
        let removed = commit(None);
        assert_eq!(found(&removed), Some(protected));
        commit(Some(document(true)));
        commit(Some(document(false)));
        let removed = commit(None);
        assert_eq!(found(&removed), None, "the operator made the image public before the removal");
        let unreadable = commit(Some(b"no document".to_vec()));
        assert_eq!(found(&commit(None)), Some(unreadable), "it may have been protected");
    }
}
