//! Publishes the stored content with one commit.

use std::collections::BTreeMap;
use std::time::SystemTime;

use raas_types::crane::{Content, Document, V2Content, tree};
use raas_types::{Digest, ObjectKey, RepositoryName, Tag, Utc, V1File};

use super::Options;
use super::compose::Composer;
use super::moved::{self, MovedTags};
use super::operator_documents::OperatorDocuments;
use super::protection::{self, ProtectionRules, Reason};
use super::report::Report;
use super::transfer::Stored;
use super::transfer_v1;
use crate::exposure::OpenAccess;
use crate::immutable::ImmutableTags;
use crate::progress::Progress;
use raas_base::failure::Failure;
use raas_git::{Change, CommitId};
use raas_publish::lease::Lease;
use raas_publish::publication::{Current, Done, Publication};
use raas_publish::record::Message;
use raas_publish::registry::Registry;

/// Publishes what a push has stored.
pub(super) struct Publisher<'a> {
    pub(super) registry: Registry<'a>,
    pub(super) options: &'a Options,
    pub(super) stored: &'a Stored,
    /// Whether the source says that only users may see the repository. A source cannot make a repository public.
    pub(super) protected: bool,
    /// The tags that must not move.
    pub(super) immutable: &'a ImmutableTags,
    pub(super) operator: &'a OperatorDocuments,
    pub(super) protection: ProtectionRules<'a>,
    pub(super) progress: &'a Progress,
    /// Set if everybody may read the vendor's objects.
    pub(super) open_access: Option<OpenAccess>,
    /// Further lines of the publication's message.
    pub(super) notes: Vec<String>,
}

/// The changes of a publication.
struct Changes {
    files: Vec<Change>,
    /// Tags that the publication moves to another manifest.
    moved_tags: MovedTags,
    /// Tags that the publication removes.
    removed_tags: Vec<Tag>,
    /// Whether only users may see the repository.
    protected: bool,
    /// Tags of this push that are deprecated.
    deprecated_tags: Vec<Tag>,
    /// The last publication of a repository that is unpublished now, if the repository was protected in it. This
    /// publication protects it again.
    protected_before: Option<CommitId>,
    /// Why the publication protects a repository that was not protected.
    newly_protected: Option<Reason>,
}

impl Publisher<'_> {
    /// Publishes the stored content and the operator's documents. Returns the commit that holds them; if nothing
    /// changes, that is the last commit.
    pub(super) fn publish(&self, report: &mut Report) -> Result<Done, Failure> {
        // A push that changes nothing needs no publish lease, so the first attempt does not take it.
        for lease in [Lease::NotHeld, Lease::Held] {
            let publication = Publication::begin(&self.registry, &self.options.image.name, lease)?;
            let changes = self.changes(&publication)?;
            if !publication.needs_lease(&changes.files)? {
                return self.commit(publication, changes, report);
            }
        }
        unreachable!("a publication with the lease needs no other")
    }

    /// The changes of the record for this publication.
    fn changes(&self, publication: &Publication<'_>) -> Result<Changes, Failure> {
        let Self { registry, options, stored, .. } = *self;
        let name = &options.image.name;
        let mut current = publication.current()?;
        let head = publication.head.as_ref();
        let protected_before = match head {
            Some(head) if current.is_empty() => protection::before_removal(&publication.record, head, name)?,
            _ => None,
        };
        current.protected |= protected_before.is_some() || self.protected;
        let newly_protected = match current.protected {
            true => None,
            false => self.protection.reason(&publication.record, head, current.is_empty())?,
        };
        current.protected |= newly_protected.is_some();
        // The checks before the transfer did not know this: another home may have protected the image since, or the
        // image is protected again after `raas unpublish`.
        if let (Some(open), true) = (self.open_access, current.protected) {
            return Err(open.failure(registry.vendor, &[name.to_string()]));
        }
        let manifests = match head {
            Some(head) => publication.record.files(head, &tree::manifests(name))?,
            None => Vec::new(),
        };
        let manifests = manifests.into_iter().map(|file| file.path).collect();
        check_same_images(name, &current, stored)?;
        let base_url = registry.storage.base_url();
        let composer = Composer {
            vendor: registry.vendor.name(),
            name,
            base_url: &base_url,
            prune: options.prune,
            now: Utc::of(SystemTime::now()),
        };
        let mut files = composer.compose(&current, &manifests, stored, |digest| match head {
            Some(head) => publication.record.read(head, &tree::manifest(name, digest)),
            None => Ok(None),
        })?;
        let tags = files.get(&tree::document(name)).map(tags_of).unwrap_or_default();
        let removed_tags = current.tags().filter(|tag| !tags.contains_key(*tag)).cloned().collect();
        files.extend(self.operator.changes(publication)?);
        let protected = current.protected;
        let moved_tags = moved::between(&current, &stored.tags);
        let deprecated = current.v2.iter().flat_map(|v2| v2.deprecated.keys());
        let deprecated_tags = deprecated.filter(|tag| stored.tags.contains_key(*tag)).cloned().collect();
        Ok(Changes {
            files: publication.changes(files)?,
            moved_tags,
            deprecated_tags,
            removed_tags,
            protected,
            protected_before,
            newly_protected,
        })
    }

    fn commit(
        &self,
        mut publication: Publication<'_>,
        changes: Changes,
        report: &mut Report,
    ) -> Result<Done, Failure> {
        let Self { options, stored, progress, .. } = *self;
        let name = &options.image.name;
        if !changes.files.is_empty() {
            publication.check_stored(&content(name, stored))?;
        }
        if let Some(before) = changes.protected_before {
            progress.say(&format!(
                "Note: {name} is protected again, as in its last publication, commit {}. Run `raas unprotect {} {name}` if \
                 everybody may pull it",
                before.short(),
                options.vendor,
            ));
        }
        if let Some(reason) = changes.newly_protected {
            progress.say(&format!(
                "Note: {name} is protected from now on: {reason}. Nobody can pull it without a login: `raas access add {} \
                 CUSTOMER --repositories {name}` makes one",
                options.vendor,
            ));
        }
        for tag in &changes.deprecated_tags {
            progress.say(&format!(
                "Note: {name}:{tag} is deprecated, and clients are still warned of it. Run `raas undeprecate {} \
                 {name}:{tag}` to end that",
                options.vendor,
            ));
        }
        let source = format!("Source: {} ({})", report.source.name, report.source.kind);
        let mut count = |key: &ObjectKey, size: u64, written: bool| {
            if written {
                report.stored.add(size);
                progress.stored(key, size);
            } else {
                report.present.add(size);
            }
        };
        for (digest, manifest) in &stored.manifests {
            publication.put_manifest(digest, &manifest.media_type, &manifest.bytes, &mut count)?;
        }
        let mut message = Message::new("Publish", name, stored.tags.keys());
        message.tags = stored.tags.clone();
        // Another push may have published a tag since the plan.
        let moved = changes.moved_tags.iter().map(|(tag, moved)| (tag, &moved.from));
        message.subject.push_str(self.immutable.check_changes(moved, &changes.removed_tags)?);
        message.notes.push(source);
        message.notes.extend(self.notes.iter().cloned());
        if options.prune {
            message.notes.push("The repository was made equal to the source.".into());
        }
        let done = publication.commit(&changes.files, &message, &mut count)?;
        report.changed = done.changed;
        report.tags = stored.tags.iter().map(|(tag, digest)| (tag.clone(), Some(*digest))).collect();
        report.untagged = stored.untagged();
        report.moved_tags = changes.moved_tags;
        report.removed_tags = changes.removed_tags;
        report.protected = changes.protected;
        report.commit = Some(done.commit.to_string());
        Ok(done)
    }
}

/// The tags in a document of v2 content. A removed document has none.
fn tags_of(document: &Option<Vec<u8>>) -> BTreeMap<Tag, Digest> {
    let document = document.as_ref().and_then(|bytes| Document::parse(bytes).ok());
    match document.map(|document| document.content) {
        Some(Content::V2(V2Content { raas: Some(raas), .. })) => raas.tags,
        _ => BTreeMap::new(),
    }
}

/// The objects of layers and configs, with their sizes in bytes.
fn content(name: &RepositoryName, stored: &Stored) -> Vec<(ObjectKey, u64)> {
    let blobs = stored.blobs.iter().filter(|(_, entry)| entry.location.is_none());
    let blobs = blobs.map(|(digest, entry)| (ObjectKey::Blob(name.clone(), *digest), entry.size));
    let images = stored.v1.iter().flat_map(|v1| &v1.images).filter(|(_, entry)| entry.location.is_none());
    let images = images.map(|(id, entry)| (ObjectKey::V1(name.clone(), *id, V1File::Layer), entry.size));
    blobs.chain(images).collect()
}

/// Rejects the publication if another push has published a different image with the same id during the transfer.
fn check_same_images(name: &RepositoryName, current: &Current, stored: &Stored) -> Result<(), Failure> {
    let published = current.v1.iter().filter_map(|v1| v1.raas.as_ref()).flat_map(|raas| &raas.images);
    for (id, old) in published {
        let new = stored.v1.as_ref().and_then(|v1| v1.images.get(id));
        if new.is_some_and(|new| new.layer != old.layer) {
            return Err(transfer_v1::id_conflict(id, name, "layer"));
        }
    }
    Ok(())
}
