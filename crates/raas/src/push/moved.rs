//! Finds the tags that a push moves: published tags that get another image.

use std::collections::BTreeMap;

use raas_types::crane::tree;
use raas_types::{Digest, ImageId, Manifest, ManifestBody, RepositoryName, Tag};
use serde::Serialize;

use super::plan::{Plan, PlannedImage};
use raas_base::failure::Failure;
use raas_git::CommitId;
use raas_publish::publication::Current;
use raas_publish::record::Record;

/// A tag that gets another manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MovedTag {
    /// The manifest that the tag has before the push.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) from: Digest,
    /// The manifest that the push gives to the tag. A dry run does not know it if raas makes the manifest.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) to: Option<Digest>,
}

/// Moved tags by name.
pub(crate) type MovedTags = BTreeMap<Tag, MovedTag>;

/// The published tags that `new` gives another manifest.
pub(super) fn between(current: &Current, new: &BTreeMap<Tag, Digest>) -> MovedTags {
    let published = current.v2.iter().flat_map(|v2| &v2.tags);
    let moved = published.filter_map(|(tag, from)| {
        let to = *new.get(tag)?;
        (to != *from).then(|| (tag.clone(), MovedTag { from: *from, to: Some(to) }))
    });
    moved.collect()
}

/// What a tag will name. If raas makes the manifest, its digest is not known before the transfer.
enum Foreseen {
    /// This manifest of the source.
    Manifest(Digest),
    /// A manifest that raas makes for this config.
    Config(Digest),
    /// A manifest that raas makes for this Docker v1 image.
    Image(ImageId),
}

/// The published tags that a plan will move.
pub(super) fn foresee(
    record: &Record,
    head: &CommitId,
    name: &RepositoryName,
    current: &Current,
    plan: &Plan,
) -> Result<MovedTags, Failure> {
    let new = foreseen(plan);
    let mut moved = MovedTags::new();
    for (tag, from) in current.v2.iter().flat_map(|v2| &v2.tags) {
        let (same, to) = match new.get(tag) {
            None => continue,
            Some(Foreseen::Manifest(to)) => (to == from, Some(*to)),
            Some(Foreseen::Config(config)) => {
                let manifest = record.read(head, &tree::manifest(name, from))?;
                (manifest.is_some_and(|bytes| config_of(&bytes) == Some(*config)), None)
            }
            Some(Foreseen::Image(id)) => {
                (current.v1.as_ref().is_some_and(|v1| v1.tags.get(tag) == Some(id)), None)
            }
        };
        if !same {
            moved.insert(tag.clone(), MovedTag { from: *from, to });
        }
    }
    Ok(moved)
}

fn foreseen(plan: &Plan) -> BTreeMap<&Tag, Foreseen> {
    match &plan.image {
        PlannedImage::Manifests(set, _) => {
            set.tags.iter().map(|(tag, digest)| (tag, Foreseen::Manifest(*digest))).collect()
        }
        PlannedImage::Saved(set, _) => {
            let of = |tag, config| (tag, Foreseen::Config(config));
            let tags = set.images.iter().flat_map(|image| {
                let config = Digest::of(&image.config);
                image.tags.iter().map(move |tag| of(tag, config))
            });
            tags.collect()
        }
        PlannedImage::V1(set, _) => set.tags.iter().map(|(tag, id)| (tag, Foreseen::Image(*id))).collect(),
    }
}

/// The digest of the config that an image's manifest names.
fn config_of(manifest: &[u8]) -> Option<Digest> {
    match Manifest::parse(manifest, None).ok()?.body {
        ManifestBody::Image { config, .. } => Some(config.digest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use raas_types::crane::V2Extension;

    use super::*;

    #[test]
    fn only_a_published_tag_with_another_manifest_is_moved() {
        let tag = |name: &str| name.parse::<Tag>().unwrap();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let tags = [(tag("same"), one), (tag("moved"), one), (tag("left"), one)].into();
        let v2 = Some(V2Extension { tags, ..V2Extension::default() });
        let current = Current { v2, ..Current::default() };
        let new = [(tag("same"), one), (tag("moved"), two), (tag("new"), two)].into();
        let expected = MovedTag { from: one, to: Some(two) };
        assert_eq!(between(&current, &new), [(tag("moved"), expected)].into());
    }
}
