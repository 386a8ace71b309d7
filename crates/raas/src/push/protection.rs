//! Tells whether an unpublished image was protected when it was last published.
//!
//! `protected` is a decision about who may see the image, and no part of the image. A push keeps it, a rollback keeps it,
//! and a push after `raas unpublish` keeps it too. Otherwise a protected image would become public without anybody's
//! decision.

use raas_types::RepositoryName;
use raas_types::crane::tree;

use raas_base::failure::Failure;
use raas_git::CommitId;
use raas_publish::history;
use raas_publish::publication::Current;
use raas_publish::record::Record;

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
