//! Removing old tags of an image.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::{Digest, RepositoryName, Tag};

use super::{MayRemove, Republished, finish, removal, unknown};
use crate::lease::Lease;
use crate::publication::{Current, Publication};
use crate::published;
use crate::record::{Message, Record};
use crate::registry::Registry;
use raas_base::failure::Failure;

/// Whether a tag names an attachment by the digest of its subject, as cosign does. Such a tag goes with its subject.
pub fn is_attachment(tag: &Tag) -> bool {
    removal::subject_of(tag).is_some()
}

/// The tags that go along with these tags in the last publication: signatures and other attachments.
pub fn followers(
    record: &Record,
    name: &RepositoryName,
    tags: &BTreeMap<Tag, Digest>,
) -> Result<BTreeSet<Tag>, Failure> {
    let Some(head) = record.head()? else { return Ok(BTreeSet::new()) };
    let v2 = Current::read(record, &head, name)?.v2.unwrap_or_default();
    let manifests = published::manifests(&record.reader(&head)?, name, &v2)?;
    let named: BTreeSet<Tag> = tags.keys().cloned().collect();
    let gone = removal::Gone::with_attachments(&manifests, &v2, named.clone());
    Ok(gone.tags.difference(&named).cloned().collect())
}

/// Removes tags of an image, with what is attached to what they lead to. A tag that leads to another manifest by now stays.
///
/// # Errors
/// The image is not published, or a tag may not be removed.
pub fn retire(
    registry: &Registry<'_>,
    name: &RepositoryName,
    tags: &BTreeMap<Tag, Digest>,
    may_remove: &MayRemove<'_>,
) -> Result<Republished, Failure> {
    let publication = Publication::begin(registry, name, Lease::Held)?;
    let current = publication.current()?;
    let head = match &publication.head {
        Some(head) if !current.is_empty() => head.clone(),
        _ => return Err(unknown(name.to_string())),
    };
    let published = current.v2.iter().flat_map(|v2| &v2.tags);
    let still = published.filter(|(tag, digest)| tags.get(*tag) == Some(*digest));
    let gone: BTreeSet<Tag> = still.map(|(tag, _)| tag.clone()).collect();
    let addition = may_remove(&gone.iter().cloned().collect::<Vec<_>>())?;
    let (files, left) = removal::tags(registry, &publication, &head, &current, &gone)?;
    let mut message = Message::new("Retire", name, gone.iter());
    message.subject.push_str(addition);
    let what = format!("Retired {} of {name}", count(gone.len()));
    finish(publication, files, &message, what, left)
}

fn count(tags: usize) -> String {
    if tags == 1 { "1 tag".to_owned() } else { format!("{tags} tags") }
}
