//! Publishing without new content: going back to an earlier publication, giving an image another tag, or removing an image
//! or a tag.

mod check;
mod deprecation;
mod documents;
mod removal;
mod retirement;
mod tagging;
mod target;

pub use deprecation::{Replacement, deprecate, undeprecate};
pub use retirement::{followers, is_attachment, retire};
pub use tagging::tag;

use std::collections::BTreeMap;

use raas_types::crane::{Content, Document, keep_unknown_keys, tree};
use raas_types::{Digest, RepositoryName, Tag, VendorName};

use crate::difference::{self, RepositoryChange};
use crate::history;
use crate::lease::Lease;
use crate::publication::{Current, Done, Publication};
use crate::record::{Message, Record};
use crate::registry::Registry;
use crate::storage::Storage;
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;
use target::ImageHistory;

/// What was published.
#[derive(Debug)]
pub struct Republished {
    /// A sentence that says what was done.
    pub what: String,
    /// The tags that the image has now.
    pub tags: BTreeMap<Tag, Digest>,
    /// What changes in the image.
    pub change: RepositoryChange,
    /// The publication.
    pub done: Done,
}

/// A repository's files: path to content, or to `None` for a file that is removed.
type Files = BTreeMap<String, Option<Vec<u8>>>;

/// The tags that a rollback takes away from the manifests that they have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TagChanges {
    /// The tags that get another manifest, with the one that they have until now.
    pub moved: BTreeMap<Tag, Digest>,
    /// The tags that go.
    pub removed: Vec<Tag>,
}

impl TagChanges {
    /// What becomes of the published tags if `then` is published.
    fn between(now: &Current, then: &Current) -> Self {
        let mut changes = Self::default();
        let new = then.v2.as_ref().map(|v2| &v2.tags);
        for (tag, digest) in now.v2.iter().flat_map(|v2| &v2.tags) {
            match new.and_then(|new| new.get(tag)) {
                Some(same) if same == digest => {}
                Some(_) => drop(changes.moved.insert(tag.clone(), *digest)),
                None => changes.removed.push(tag.clone()),
            }
        }
        changes
    }
}

/// Decides about the tags that a rollback changes. Returns what to add to the first line of the message.
pub type MayChange<'a> = dyn Fn(&TagChanges) -> Result<&'static str, Failure> + 'a;

/// Publishes an image as it was in the commit `to`, or without `to` as it was before the publication that is in effect.
///
/// If the rollback would leave the image protected, `may_protect` decides whether it may be protected.
///
/// # Errors
/// There is no such publication, the bucket does not have all of its content any more, or `may_protect` or `may_change`
/// refuses.
pub fn roll_back(
    registry: &Registry<'_>,
    name: &RepositoryName,
    to: Option<&str>,
    may_protect: &dyn Fn() -> Result<(), Failure>,
    may_change: &MayChange<'_>,
) -> Result<Republished, Failure> {
    let Registry { vendor, storage, .. } = *registry;
    let mut publication = Publication::begin(registry, name, Lease::Held)?;
    let record = &vendor.record();
    let head = publication.head.clone().ok_or_else(|| target::never(name))?;
    let image = ImageHistory::read(record, &head, name)?;
    let entry = match to {
        Some(text) => {
            let commit = history::find(record, &head, text)?;
            image.at(&commit)?.ok_or_else(|| not_published(vendor.name(), name, &commit))?
        }
        None => image.before()?,
    };
    let target = entry.commit.clone();
    let then = Current::read(record, &target, name)?;
    if then.is_empty() {
        return Err(not_published(vendor.name(), name, &target));
    }
    let now = publication.current()?;
    let addition = may_change(&TagChanges::between(&now, &then))?;
    check::content(storage, name, &then)?;

    let protected = if now.is_empty() { then.protected } else { now.protected };
    let mut rollback = Rollback { record, storage, head: &head, target: &target, name, protected };
    let mut files = rollback.files()?;
    let mut what =
        format!("Rolled {name} back to commit {} of {}: {}", target.short(), entry.time, entry.subject);
    // Protection is no part of the image, so a rollback of content keeps it. If only the protection differs, the
    // rollback is about the protection.
    if then.protected != protected && publication.changes(files.clone())?.is_empty() {
        rollback.protected = then.protected;
        files = rollback.files()?;
        what.push_str(if then.protected {
            "; it is protected again"
        } else {
            "; everybody may pull it again"
        });
    }
    if rollback.protected {
        may_protect()?;
    }
    let v2 = then.v2.unwrap_or_default();
    let mut manifests = record.files(&target, &tree::manifests(name))?;
    let paths: BTreeMap<String, Digest> =
        v2.manifests.keys().map(|digest| (tree::manifest(name, digest), *digest)).collect();
    manifests.retain(|file| paths.contains_key(&file.path));
    record.read_each(&manifests, |file, bytes| {
        let digest = &paths[&file.path];
        publication.put_manifest(digest, &v2.manifests[digest].media_type, &bytes, &mut |_, _, _| {})
    })?;
    let mut message = Message::roll_back(name, &target, &entry.time);
    message.subject.push_str(addition);
    message.tags = v2.tags.clone();
    finish(publication, files, &message, what, v2.tags)
}

fn not_published(vendor: &VendorName, name: &RepositoryName, commit: &CommitId) -> Failure {
    Failure::new(Kind::Usage, format!("commit {} does not publish {name}", commit.short()))
        .hint(format!("run `raas log {vendor} {name}` to see the publications of the image"))
}

/// Decides whether tags may be removed. Returns what to add to the first line of the message.
pub type MayRemove<'a> = dyn Fn(&[Tag]) -> Result<&'static str, Failure> + 'a;

/// Removes an image, or one tag of it, from the registry.
///
/// # Errors
/// The image or the tag is not published, or may not be removed.
pub fn unpublish(
    registry: &Registry<'_>,
    name: &RepositoryName,
    tag: Option<&Tag>,
    may_remove: &MayRemove<'_>,
) -> Result<Republished, Failure> {
    let publication = Publication::begin(registry, name, Lease::Held)?;
    let current = publication.current()?;
    let head = match &publication.head {
        Some(head) if !current.is_empty() => head.clone(),
        _ => return Err(unknown(name.to_string())),
    };
    let tags: Vec<Tag> = match tag {
        Some(tag) if !removal::has(&current, tag) => return Err(unknown(format!("{name}:{tag}"))),
        Some(tag) => vec![tag.clone()],
        None => current.v2.iter().flat_map(|v2| v2.tags.keys().cloned()).collect(),
    };
    let addition = may_remove(&tags)?;
    let (files, left) = match tag {
        Some(tag) => removal::tag(registry, &publication, &head, &current, tag)?,
        None => (removal::all(&publication.record, &head, name)?, BTreeMap::new()),
    };
    let mut message = Message::new("Unpublish", name, tags.iter());
    message.subject.push_str(addition);
    let what = match tag {
        Some(tag) => format!("Took {name}:{tag} out of the registry"),
        None => format!("Took {name} out of the registry"),
    };
    finish(publication, files, &message, what, left)
}

/// The error for an image or a tag that is not published.
fn unknown(what: String) -> Failure {
    Failure::new(Kind::Usage, format!("{what} is not published"))
        .hint("run `raas list ISV` to see what is published")
}

fn finish(
    publication: Publication<'_>,
    files: Files,
    message: &Message,
    what: String,
    tags: BTreeMap<Tag, Digest>,
) -> Result<Republished, Failure> {
    let name = publication.repository().clone();
    let record = Record::new(publication.record.git().folder().to_owned());
    let changes = publication.changes(files)?;
    let before = publication.head.clone();
    let done = publication.commit(&changes, message, &mut |_, _, _| {})?;
    let mut difference = difference::between(&record, before.as_ref(), &done.commit, Some(&name))?;
    let change = difference.repositories.remove(&name).unwrap_or_default();
    Ok(Republished { what, tags, change, done })
}

/// A repository on its way from its files in `head` to its files in `target`.
struct Rollback<'a> {
    record: &'a Record,
    storage: &'a dyn Storage,
    head: &'a CommitId,
    target: &'a CommitId,
    name: &'a RepositoryName,
    protected: bool,
}

impl Rollback<'_> {
    /// The files of `target`, and the removal of the files that only `head` has.
    fn files(&self) -> Result<Files, Failure> {
        let Self { record, storage, head, target, name, protected } = *self;
        let mut files = removal::all(record, head, name)?;
        let mut old = record.files(target, &tree::manifests(name))?;
        for path in [tree::document(name), tree::v1_document(name)] {
            old.extend(record.files(target, &path)?.into_iter().filter(|file| file.path == path));
        }
        record.read_each(&old, |file, bytes| {
            let bytes = if file.path.ends_with(".json") {
                with_current_settings(&bytes, storage, name, protected)
            } else {
                bytes
            };
            files.insert(file.path.clone(), Some(bytes));
            Ok(())
        })?;
        Ok(files)
    }
}

/// An earlier document with two settings of today: where the bucket is, and whether the repository is protected.
fn with_current_settings(
    bytes: &[u8],
    storage: &dyn Storage,
    name: &RepositoryName,
    protected: bool,
) -> Vec<u8> {
    let Ok(mut document) = Document::parse(bytes) else { return bytes.to_vec() };
    let below = match document.content {
        Content::V1(_) => "",
        Content::V2(_) => "_v2/",
    };
    document.url = format!("{}/{name}/{below}", storage.base_url());
    document.protected = protected;
    keep_unknown_keys(bytes, document.to_bytes())
}
