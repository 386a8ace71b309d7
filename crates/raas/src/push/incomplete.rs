//! Leaves out what nobody asked for and what is not whole: manifests without a tag that need a blob which is nowhere.

use std::collections::{BTreeMap, BTreeSet};

use raas_image::{ManifestItem, ManifestSet};
use raas_types::Digest;

/// The number of manifests that are told each by itself.
const MOST_NOTES: usize = 5;

/// Takes the manifests without a tag that need one of the `missing` blobs out of a set, with everything that only they lead
/// to. Returns a note for each. A manifest that a tag leads to stays, and so does everything in a set without tags: somebody
/// asked for it.
pub(super) fn leave_out_incomplete(set: &mut ManifestSet, missing: &BTreeSet<Digest>) -> Vec<String> {
    if missing.is_empty() || set.tags.is_empty() {
        return Vec::new();
    }
    let graph = Graph { manifests: &set.manifests };
    let asked_for = graph.below(set.tags.values().copied());
    let listed: BTreeSet<Digest> = set.manifests.keys().flat_map(|digest| graph.children(digest)).collect();
    let mut lacking = BTreeMap::new();
    let mut whole = asked_for.clone();
    for digest in set.manifests.keys().filter(|digest| !listed.contains(*digest)) {
        match graph.lacks(digest, missing) {
            Some(blob) if !asked_for.contains(digest) => drop(lacking.insert(*digest, blob)),
            _ => whole.extend(graph.below([*digest])),
        }
    }
    // An attachment goes with its subject.
    loop {
        let orphan = whole.iter().find(|digest| {
            let subject = set.manifests[*digest].manifest.subject.as_ref().map(|subject| subject.digest);
            !asked_for.contains(*digest)
                && subject
                    .is_some_and(|subject| set.manifests.contains_key(&subject) && !whole.contains(&subject))
        });
        let Some(orphan) = orphan.copied() else { break };
        whole.remove(&orphan);
    }
    let needed: BTreeSet<Digest> = whole.iter().flat_map(|digest| graph.content(digest)).collect();
    set.manifests.retain(|digest, _| whole.contains(digest));
    set.blobs.retain(|digest, _| needed.contains(digest));
    notes(&lacking)
}

fn notes(lacking: &BTreeMap<Digest, Digest>) -> Vec<String> {
    let note = |(manifest, blob): (&Digest, &Digest)| {
        format!(
            "{manifest} has no tag and is not published: neither the source nor the bucket has its blob {blob}"
        )
    };
    let mut notes: Vec<String> = lacking.iter().take(MOST_NOTES).map(note).collect();
    let more = lacking.len().saturating_sub(MOST_NOTES);
    if more > 0 {
        notes.push(format!("{more} more manifests without a tag are not published for such faults"));
    }
    notes
}

/// The manifests of a set, and what they lead to.
struct Graph<'a> {
    manifests: &'a BTreeMap<Digest, ManifestItem>,
}

impl<'a> Graph<'a> {
    /// The manifests of the set that an index lists.
    fn children(&self, digest: &Digest) -> impl Iterator<Item = Digest> + use<'a> {
        let manifests = self.manifests;
        let children = manifests.get(digest).into_iter().flat_map(|item| item.manifest.children());
        children.map(|child| child.digest).filter(move |child| manifests.contains_key(child))
    }

    /// These manifests, and all that they list.
    fn below(&self, from: impl IntoIterator<Item = Digest>) -> BTreeSet<Digest> {
        let (mut found, mut left) = (BTreeSet::new(), from.into_iter().collect::<Vec<_>>());
        while let Some(digest) = left.pop() {
            if found.insert(digest) {
                left.extend(self.children(&digest));
            }
        }
        found
    }

    /// The blobs of a manifest: config and layers, and files that an index lists beside its manifests.
    fn content(&self, digest: &Digest) -> impl Iterator<Item = Digest> + use<'a> {
        let item = self.manifests.get(digest).into_iter();
        item.flat_map(|item| item.manifest.blobs().chain(item.manifest.children())).map(|blob| blob.digest)
    }

    /// One of these blobs that a manifest, or one that it lists, needs.
    fn lacks(&self, digest: &Digest, missing: &BTreeSet<Digest>) -> Option<Digest> {
        let below = self.below([*digest]);
        below.iter().flat_map(|digest| self.content(digest)).find(|blob| missing.contains(blob))
    }
}
