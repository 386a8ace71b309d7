//! Finds the image of a push that no tag names.

use std::collections::BTreeSet;

use raas_types::{Digest, Manifest};

/// The image to pull if no tag names it: a manifest without a tag, which no index lists and which is attached to nothing.
pub(super) fn untagged<'a>(
    manifests: &[(Digest, &'a Manifest)],
    tags: impl Iterator<Item = &'a Digest>,
) -> Option<Digest> {
    let listed = manifests.iter().flat_map(|(_, manifest)| manifest.children()).map(|child| child.digest);
    let named: BTreeSet<Digest> = listed.chain(tags.copied()).collect();
    let is_image =
        |(digest, manifest): &&(Digest, &Manifest)| !named.contains(digest) && manifest.subject.is_none();
    manifests.iter().find(is_image).map(|(digest, _)| *digest)
}
