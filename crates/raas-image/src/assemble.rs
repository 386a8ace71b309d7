//! Reading chosen manifests of a store, with their platforms narrowed and their attachments.

use std::collections::BTreeMap;

use raas_types::{Digest, Platform, Tag};

use crate::manifests::{self, collect};
use crate::platforms::{Incomplete, narrow};
use crate::roots::Root;
use crate::select::{Chosen, Selection};
use crate::store::Layered;
use crate::{ImageError, Limits, ManifestSet, SourceKind, Store};

/// A manifest that is published if its subject is, such as a signature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The manifest.
    pub digest: Digest,
    /// Its tag. The subject of a manifest without a subject of its own is in the tag: see
    /// [`cosign_subject`](crate::cosign_subject).
    pub tag: Option<Tag>,
}

/// Reads manifests of a store, and everything that they list: for a source that is no archive, such as a registry.
///
/// `images` are the manifests to publish, each with its tags. `platforms` are those wanted of an index; empty for all.
///
/// # Errors
/// A manifest is missing, or breaks a rule.
pub fn read_store(
    store: &dyn Store,
    images: &BTreeMap<Digest, Vec<Tag>>,
    attachments: &[Attachment],
    platforms: &[Platform],
    limits: &Limits,
) -> Result<ManifestSet, ImageError> {
    let chosen = images.iter().map(|(digest, tags)| Chosen { digest: *digest, tags: tags.clone() });
    let selection = Selection {
        kind: SourceKind::Oci,
        repository: None,
        images: chosen.collect(),
        platforms: platforms.to_vec(),
        notes: Vec::new(),
    };
    let roots = images.keys().map(|digest| Root::by_digest(*digest)).collect();
    let others: Vec<Root> = attachments
        .iter()
        .map(|attachment| Root { tag: attachment.tag.clone(), ..Root::by_digest(attachment.digest) })
        .collect();
    assemble(store, &selection, roots, &others, Incomplete::Refuse, None, limits)
}

/// Reads the chosen roots, each under its chosen tags, and the others as far as they are attached to them.
pub(crate) fn assemble(
    source: &dyn Store,
    selection: &Selection,
    chosen: Vec<Root>,
    others: &[Root],
    incomplete: Incomplete,
    earlier: Option<&dyn Store>,
    limits: &Limits,
) -> Result<ManifestSet, ImageError> {
    let mut store = Layered { made: BTreeMap::new(), source, earlier };
    let mut notes = selection.notes.clone();
    let mut published_whole: BTreeMap<Digest, bool> = BTreeMap::new();
    let mut roots = Vec::new();
    let has_tags = selection.images.iter().any(|image| !image.tags.is_empty());
    let mut skipped = Vec::new();
    for root in chosen {
        // A manifest has a root for each of its names; the first one gets all tags of the selection, and the
        // descriptors of the others are checked.
        if let Some(whole) = published_whole.get(&root.digest) {
            roots.extend(whole.then(|| Root { tag: None, ..root }));
            continue;
        }
        let tags = selection.tags_of(&root.digest).unwrap_or_default();
        let narrowed = readable(&store, &root)
            .and_then(|()| narrow(&store, &root, &selection.platforms, incomplete, limits));
        let narrowed = match narrowed {
            // Nobody asked for this root: it has no tag, and others have.
            Err(ImageError::Refused { member, rule }) if has_tags && tags.is_empty() => {
                skipped.push(format!("{} has no tag and is not published: `{member}`: {rule}", root.digest));
                continue;
            }
            outcome => outcome?,
        };
        published_whole.insert(root.digest, narrowed.root.digest == root.digest);
        store.made.extend(narrowed.made);
        notes.extend(narrowed.note);
        if tags.is_empty() {
            roots.push(Root { tag: None, ..narrowed.root });
        } else {
            roots.extend(tags.iter().map(|tag| Root { tag: Some(tag.clone()), ..narrowed.root.clone() }));
        }
    }
    if skipped.len() > MOST_NOTES {
        let more = skipped.len() - MOST_NOTES;
        skipped.truncate(MOST_NOTES);
        skipped.push(format!("{more} more manifests without a tag are not published for such faults"));
    }
    notes.append(&mut skipped);
    let mut set = collect(&store, &roots, others, limits)?;
    if let Some(earlier) = earlier {
        let mut taken = 0;
        for digest in set.manifests.keys() {
            let is_ours = store.made.contains_key(digest) || source.manifest(digest)?.is_some();
            taken += usize::from(!is_ours && earlier.manifest(digest)?.is_some());
        }
        if taken > 0 {
            let manifests = if taken == 1 { "a manifest".to_owned() } else { format!("{taken} manifests") };
            notes.push(format!("the source lacks {manifests} that an earlier publication has"));
        }
    }
    notes.append(&mut set.notes);
    set.notes = notes;
    Ok(set)
}

/// The number of faults that are told each by itself.
const MOST_NOTES: usize = 5;

/// Whether the manifest of a root can be read.
fn readable(store: &dyn Store, root: &Root) -> Result<(), ImageError> {
    manifests::read(store, root.digest, root.media_type.as_deref(), root.size, "the source names it")
        .map(drop)
}
