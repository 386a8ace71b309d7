//! The files that are removed with a tag, or with a whole repository.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::{V2Extension, tree};
use raas_types::{Digest, Manifest, RepositoryName, Tag};

use super::Files;
use super::documents::NewRepository;
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
    Removal { registry, publication, head, current }.run(|_, v2| Gone::tag(v2, tag), tag_only(tag))
}

/// The removal of several tags, and of everything that is attached to what they lead to.
pub(super) fn tags(
    registry: &Registry<'_>,
    publication: &Publication<'_>,
    head: &CommitId,
    current: &Current,
    tags: &BTreeSet<Tag>,
) -> Result<(Files, BTreeMap<Tag, Digest>), Failure> {
    let removal = Removal { registry, publication, head, current };
    removal.run(|manifests, v2| Gone::with_attachments(manifests, v2, tags.clone()), tags.clone())
}

fn tag_only(tag: &Tag) -> BTreeSet<Tag> {
    BTreeSet::from([tag.clone()])
}

/// What a removal takes out of a repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) tags: BTreeSet<Tag>,
    /// The manifests that the tags lead to, and their attachments. Another tag may lead to some of them.
    manifests: BTreeSet<Digest>,
}

impl Gone {
    fn tag(v2: &V2Extension, tag: &Tag) -> Self {
        let manifests = v2.tags.get(tag).copied().into_iter().collect();
        Self { tags: tag_only(tag), manifests }
    }

    /// Adds the attachments: manifests whose subject is gone, and tags that are made of a digest that is gone, as cosign
    /// makes them. An attachment may have attachments of its own.
    pub(super) fn with_attachments(
        manifests: &BTreeMap<Digest, Manifest>,
        v2: &V2Extension,
        tags: BTreeSet<Tag>,
    ) -> Self {
        let mut gone = Self { tags, manifests: BTreeSet::new() };
        loop {
            gone.manifests.extend(gone.tags.iter().filter_map(|tag| v2.tags.get(tag)).copied());
            let removed = gone.removed(manifests, v2);
            let attached = |digest: &Digest| removed.contains(digest);
            let by_subject = manifests.iter().filter(|(digest, manifest)| {
                !gone.manifests.contains(*digest)
                    && manifest.subject.as_ref().is_some_and(|subject| attached(&subject.digest))
            });
            let by_subject: Vec<Digest> = by_subject.map(|(digest, _)| *digest).collect();
            let by_name = v2.tags.keys().filter(|tag| {
                !gone.tags.contains(*tag) && subject_of(tag).is_some_and(|subject| attached(&subject))
            });
            let by_name: Vec<Tag> = by_name.cloned().collect();
            if by_subject.is_empty() && by_name.is_empty() {
                return gone;
            }
            gone.manifests.extend(by_subject);
            gone.tags.extend(by_name);
        }
    }

    /// The manifests that no remaining tag leads to.
    fn removed(&self, manifests: &BTreeMap<Digest, Manifest>, v2: &V2Extension) -> BTreeSet<Digest> {
        let remaining = v2.tags.iter().filter(|(tag, _)| !self.tags.contains(*tag));
        let kept: BTreeSet<Digest> =
            remaining.flat_map(|(_, digest)| published::reachable(manifests, digest)).collect();
        let below = self.manifests.iter().flat_map(|digest| published::reachable(manifests, digest));
        below.filter(|digest| !kept.contains(digest)).collect()
    }
}

/// The digest that a tag of an attachment is made of: `sha256-<hex>.sig`, or `sha256-<hex>` for a list of referrers.
///
/// Source: cosign, "Signature Spec"; OCI distribution-spec 1.1, "Referrers Tag Schema".
pub(super) fn subject_of(tag: &Tag) -> Option<Digest> {
    let rest = tag.as_str().strip_prefix("sha256-")?;
    Digest::from_hex(rest.get(..64)?).ok()
}

struct Removal<'a> {
    registry: &'a Registry<'a>,
    publication: &'a Publication<'a>,
    head: &'a CommitId,
    current: &'a Current,
}

impl Removal<'_> {
    /// The files that change, and the remaining tags. `gone` decides what goes with the tags `named`.
    fn run(
        self,
        gone: impl FnOnce(&BTreeMap<Digest, Manifest>, &V2Extension) -> Gone,
        named: BTreeSet<Tag>,
    ) -> Result<(Files, BTreeMap<Tag, Digest>), Failure> {
        let Self { registry, publication, head, current } = self;
        let (record, name) = (&publication.record, publication.repository());
        let mut v2 = current.v2.clone().unwrap_or_default();
        let reader = record.reader(head)?;
        let manifests = published::manifests(&reader, name, &v2)?;
        let gone = gone(&manifests, &v2);
        let removed = gone.removed(&manifests, &v2);
        v2.tags.retain(|tag, _| !gone.tags.contains(tag));
        let mut v1 = current.v1.clone();
        if let Some(v1) = &mut v1 {
            v1.tags.retain(|tag, _| !named.contains(tag));
        }
        let v1 = v1.filter(|v1| !v1.tags.is_empty());
        if v2.tags.is_empty() && v1.is_none() {
            return Ok((all(record, head, name)?, BTreeMap::new()));
        }
        v2.manifests.retain(|digest, _| !removed.contains(digest));
        let blobs_of = |of: &dyn Fn(&Digest) -> bool| -> BTreeSet<Digest> {
            let found = manifests.iter().filter(|(digest, _)| of(digest));
            found.flat_map(|(_, manifest)| manifest.blobs().map(|blob| blob.digest)).collect()
        };
        let still = blobs_of(&|digest| !removed.contains(digest));
        let left_over = blobs_of(&|digest| removed.contains(digest));
        v2.blobs.retain(|digest, _| still.contains(digest) || !left_over.contains(digest));
        let mut files: Files = removed.iter().map(|digest| (tree::manifest(name, digest), None)).collect();
        let left = v2.tags.clone();
        let protected = current.protected;
        files.extend(NewRepository { name, protected, v2, v1, manifests: &manifests }.files(registry));
        Ok((files, left))
    }
}

#[cfg(test)]
mod tests {
    use raas_types::Manifest;

    use super::*;

    fn manifest(text: &str) -> (Digest, Manifest) {
        (Digest::of(text.as_bytes()), Manifest::parse(text.as_bytes(), None).unwrap())
    }

    /// An image with a config of these bytes, attached to a subject.
    fn image(seed: &str, subject: Option<&Digest>) -> (Digest, Manifest) {
        let config = Digest::of(seed.as_bytes());
        let subject = subject.map_or(String::new(), |subject| {
            format!(
                r#","subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{subject}","size":1}}"#
            )
        });
        manifest(&format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":1}},"layers":[]{subject}}}"#
        ))
    }

    #[test]
    fn attachments_follow_their_subject_and_shared_manifests_stay() {
        let (one, two) = (image("1", None), image("2", None));
        let signature = image("signature", Some(&one.0));
        let of_signature = image("of the signature", Some(&signature.0));
        let of_two = image("of two", Some(&two.0));
        let tagged = image("cosign", None);
        let tag = |text: &str| text.parse::<Tag>().unwrap();
        let cosign = tag(&format!("sha256-{}.sig", one.0.hex()));
        let v2 = V2Extension {
            tags: [(tag("1"), one.0), (tag("2"), two.0), (tag("two"), two.0), (cosign.clone(), tagged.0)]
                .into(),
            ..V2Extension::default()
        };
        let all = [&one, &two, &signature, &of_signature, &of_two, &tagged];
        let manifests: BTreeMap<_, _> = all.into_iter().cloned().collect();
        let gone = Gone::with_attachments(&manifests, &v2, [tag("1"), tag("2")].into());
        assert_eq!(gone.tags, [tag("1"), tag("2"), cosign].into());
        let removed = gone.removed(&manifests, &v2);
        // The second image still has a tag, so its attachment stays too.
        assert_eq!(removed, [one.0, signature.0, of_signature.0, tagged.0].into());
        let only = Gone::tag(&v2, &tag("1"));
        assert_eq!(only.removed(&manifests, &v2), [one.0].into());
    }
}
