//! Whether an image that is in the registry no more was protected while it was.
//!
//! What `protected` says is a decision about who may see the image, and no part of it: a push keeps it, `rollback` keeps
//! it, and so does a push after `unpublish`. Otherwise an image that was for some would be for all from one command to the
//! next, and nobody would have said so.

use raas_types::RepositoryName;
use raas_types::crane::tree;

use raas_base::failure::Failure;
use raas_git::CommitId;
use raas_publish::history;
use raas_publish::publication::Current;
use raas_publish::record::Record;

/// The commit that an image which is not published was last published in, if it was protected there.
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
    // The last commit to change them took them out.
    let last = history::entries(record, head, &documents, Some(2))?;
    let [_, before] = last.as_slice() else { return Ok(None) };
    // One that nobody can read does not keep the image from being published.
    let protected = Current::read(record, &before.commit, name).is_ok_and(|then| then.protected);
    Ok(protected.then(|| before.commit.clone()))
}

#[cfg(test)]
mod tests {
    use raas_types::crane::{Content, Document, V2Content, V2Extension};

    use super::*;

    #[test]
    fn the_last_publication_before_the_removal_counts() {
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
        assert_eq!(found(&protected), None, "it is published: its document says it");
        let removed = commit(None);
        assert_eq!(found(&removed), Some(protected));
        commit(Some(document(true)));
        commit(Some(document(false)));
        let removed = commit(None);
        assert_eq!(found(&removed), None, "somebody has said that everybody may see it");
        commit(Some(b"no document".to_vec()));
        assert_eq!(found(&commit(None)), None);
    }
}
