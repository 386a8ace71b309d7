//! Compares what servers serve with what the record knows, before anything is removed.
//!
//! The record decides what is garbage. To a record that has lost publications, objects that servers still need would be
//! garbage. So the content of the served commits is always kept, and nothing is removed if the record lacks such a
//! commit.

use std::collections::BTreeSet;
use std::fs;

use raas_types::crane::{Document, tree};
use raas_types::{ObjectKey, Pointer};

use crate::inventory;
use crate::reading::Reading;
use crate::record::Record;
use crate::registry::Registry;
use crate::storage::ListedObject;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;
use raas_git::CommitId;

/// The commits that servers serve: the checkout's on this machine, and the pointer's elsewhere.
///
/// # Errors
/// The record does not have a served commit, or no commit at all although there is content, or a bucket with metadata has
/// no pointer that can be read.
pub(super) fn commits(
    registry: &Registry<'_>,
    record: &Record,
    pointer: Option<&Pointer>,
    listing: &[ListedObject],
) -> Result<Vec<CommitId>, Failure> {
    let head = record.head()?;
    let mut served = Vec::new();
    if registry.shared {
        let has_metadata = listing
            .iter()
            .any(|listed| ObjectKey::is_snapshot(&listed.key) || ObjectKey::is_history(&listed.key));
        match pointer {
            Some(pointer) => served.push(CommitId::parse(&pointer.revision)?),
            None if has_metadata || head.is_some() => {
                let what = format!("{} has no pointer that can be read", registry.storage.display_name());
                return Err(refused(registry, what));
            }
            None => {}
        }
    }
    if head.is_none()
        && let Some(content) = listing.iter().find(|listed| ObjectKey::is_content(&listed.key))
    {
        let what = format!(
            "the record has no publication, and {} has {}",
            registry.storage.display_name(),
            content.key
        );
        return Err(refused(registry, what)
            .hint("push an image first, if nothing was ever published here: what failed pushes have left goes afterwards"));
    }
    match registry.vendor.checkout().revision() {
        Reading::Absent => {}
        Reading::There(commit) => served.push(commit),
        Reading::Unreadable(failure) => return Err(refused(registry, failure.message().to_owned())),
    }
    for commit in &served {
        let known = match &head {
            Some(head) => head == commit || record.covers(head, commit)?,
            None => false,
        };
        if !known {
            return Err(refused(
                registry,
                format!("servers are given commit {commit}, which the record does not know"),
            ));
        }
    }
    Ok(served)
}

/// Checks that the record names every object that the documents of the checkout name.
///
/// # Errors
/// It does not, or a document cannot be read.
pub(super) fn check_documents(registry: &Registry<'_>, named: &BTreeSet<String>) -> Result<(), Failure> {
    let root = registry.vendor.checkout().folder().to_owned();
    let cannot = || format!("cannot read {}", root.display());
    let mut paths = Vec::new();
    files::walk(&root, tree::DATA, &mut |path, _| {
        if path.ends_with(".json") {
            paths.push(path.to_owned());
        }
    })
    .context(cannot)?;
    for path in paths {
        let bytes = fs::read(root.join(&path)).context(cannot)?;
        let document = Document::parse(&bytes)
            .map_err(|error| refused(registry, format!("{path} of the checkout cannot be read: {error}")))?;
        let mut unknown = None;
        inventory::objects(&document, &mut |key, _| {
            let key = key.to_string();
            if unknown.is_none() && !named.contains(&key) {
                unknown = Some(key);
            }
        });
        if let Some(key) = unknown {
            return Err(refused(
                registry,
                format!("servers are given {key}, which no publication of the record names"),
            ));
        }
    }
    Ok(())
}

fn refused(registry: &Registry<'_>, why: String) -> Failure {
    let vendor = registry.vendor.name();
    Failure::new(Kind::Environment, format!("cannot know what is garbage for {vendor}"))
        .caused_by(why)
        .hint(format!("run `raas setup {vendor} --repair` and try again; nothing was removed"))
}
