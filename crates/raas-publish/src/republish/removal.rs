//! The files that are removed with a tag, or with a whole repository.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::{Content, Document, V2Content, tree};
use raas_types::{Digest, RepositoryName, Tag};

use super::Files;
use crate::publication::{Current, Publication};
use crate::published;
use crate::record::Record;
use crate::registry::Registry;
use raas_base::failure::Failure;
use raas_git::CommitId;

/// Whether the tag is published.
pub(super) fn has(current: &Current, tag: &Tag) -> bool {
    current.v2.as_ref().is_some_and(|v2| v2.tags.contains_key(tag))
        || current.v1.as_ref().is_some_and(|v1| v1.tags.contains_key(tag))
}

/// The removal of a whole repository.
pub(super) fn all(record: &Record, head: &CommitId, name: &RepositoryName) -> Result<Files, Failure> {
    let mut files: Files =
        record.files(head, &tree::manifests(name))?.into_iter().map(|file| (file.path, None)).collect();
    files.insert(tree::document(name), None);
    files.insert(tree::v1_document(name), None);
    Ok(files)
}

/// The removal of a tag, with the manifests and blobs that only this tag leads to. Returns the remaining tags too.
///
/// A manifest that no tag led to before stays: clients may pull it by its digest.
pub(super) fn tag(
    registry: &Registry<'_>,
    publication: &Publication<'_>,
    head: &CommitId,
    current: &Current,
    tag: &Tag,
) -> Result<(Files, BTreeMap<Tag, Digest>), Failure> {
    let (record, name) = (&publication.record, publication.repository());
    let mut v2 = current.v2.clone().unwrap_or_default();
    let gone = v2.tags.remove(tag);
    let mut v1 = current.v1.clone();
    if let Some(v1) = &mut v1 {
        v1.tags.remove(tag);
    }
    let v1 = v1.filter(|v1| !v1.tags.is_empty());
    if v2.tags.is_empty() && v1.is_none() {
        return Ok((all(record, head, name)?, BTreeMap::new()));
    }
    let mut files = Files::new();
    let reader = record.reader(head, &tree::manifests(name))?;
    let manifests = published::manifests(&reader, name, &v2)?;
    if let Some(gone) = gone {
        let mut kept: BTreeSet<Digest> =
            v2.tags.values().flat_map(|digest| published::reachable(&manifests, digest)).collect();
        let below = published::reachable(&manifests, &gone);
        kept.extend(v2.manifests.keys().filter(|digest| !below.contains(digest)));
        v2.manifests.retain(|digest, _| kept.contains(digest));
        let blobs_of = |of: &dyn Fn(&Digest) -> bool| -> BTreeSet<Digest> {
            let found = manifests.iter().filter(|(digest, _)| of(digest));
            found.flat_map(|(_, manifest)| manifest.blobs().map(|blob| blob.digest)).collect()
        };
        let still = blobs_of(&|digest| kept.contains(digest));
        let gone = blobs_of(&|digest| !kept.contains(digest));
        v2.blobs.retain(|digest, _| still.contains(digest) || !gone.contains(digest));
        files.extend(below.difference(&kept).map(|digest| (tree::manifest(name, digest), None)));
    }
    let left = v2.tags.clone();
    let document = |url: String, content| Document {
        repository: Document::repository_id(registry.vendor.name(), name),
        name: name.clone(),
        url,
        protected: current.protected,
        content,
    };
    let amd64 = |digest: &Digest| manifests.get(digest)?.amd64_child();
    let base = format!("{}/{name}", registry.storage.base_url());
    let content = Content::V2(V2Content::new(v2, amd64));
    files.insert(tree::document(name), Some(document(format!("{base}/_v2/"), content).to_bytes()));
    let v1 = v1.map(|v1| document(format!("{base}/"), Content::V1(v1)).to_bytes());
    files.insert(tree::v1_document(name), v1);
    Ok((files, left))
}
