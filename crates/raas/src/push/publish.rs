//! Making a publication of what is stored.

use std::collections::BTreeMap;

use raas_types::crane::{Content, Document, V2Content, tree};
use raas_types::{ObjectKey, RepositoryName, V1File};

use super::compose::Composer;
use super::protection;
use super::report::Report;
use super::transfer::Stored;
use super::transfer_v1;
use super::{Options, Progress};
use crate::catch_up::When;
use crate::config::Config;
use crate::failure::Failure;
use crate::federation::OperatorDocuments;
use crate::home::Vendor;
use crate::publication::{Current, Done, Message, Publication};
use crate::storage::Storage;

/// Publishes what is stored, and the operator's documents beside it; gives the commit that holds it, which is the
/// one before where nothing changed.
#[expect(clippy::too_many_arguments, reason = "they are what a publication is made of")]
pub(super) fn publish(
    vendor: &Vendor,
    config: &Config,
    storage: &dyn Storage,
    options: &Options,
    stored: &Stored,
    operator: &OperatorDocuments,
    report: &mut Report,
    progress: &Progress,
) -> Result<Done, Failure> {
    // Most pushes of what is there already change nothing, and need not wait for other homes.
    for when in [When::Now, When::InTurn] {
        let publication = Publication::begin(vendor, config, storage, &options.image.name, when)?;
        if let Some(done) =
            attempt(publication, vendor, storage, options, stored, operator, report, progress)?
        {
            return Ok(done);
        }
    }
    unreachable!("a publication in its turn waits for none")
}

/// Publishes; nothing if this has to be in the home's turn.
#[expect(clippy::too_many_arguments, reason = "they are what a publication is made of")]
fn attempt(
    mut publication: Publication<'_>,
    vendor: &Vendor,
    storage: &dyn Storage,
    options: &Options,
    stored: &Stored,
    operator: &OperatorDocuments,
    report: &mut Report,
    progress: &Progress,
) -> Result<Option<Done>, Failure> {
    let name = &options.image.name;
    let mut current = publication.current()?;
    let protected_before = match &publication.head {
        Some(head) if current.is_empty() => protection::before_removal(&publication.record, head, name)?,
        _ => None,
    };
    current.protected |= protected_before.is_some();
    let manifest_paths = match &publication.head {
        Some(head) => publication.record.files(head, &tree::manifests(name))?,
        None => Vec::new(),
    };
    let manifest_paths = manifest_paths.into_iter().map(|file| file.path).collect();
    check_same_images(name, &current, stored)?;
    let base_url = storage.base_url();
    let composer = Composer { vendor: vendor.name(), name, base_url: &base_url, prune: options.prune };
    let mut files = composer.compose(&current, &manifest_paths, stored, |digest| {
        let head = publication.head.as_ref()?;
        publication.record.read(head, &tree::manifest(name, digest)).ok().flatten()
    });
    let now = files.get(&tree::document(name)).and_then(|bytes| Document::parse(bytes.as_ref()?).ok());
    let now = match now.map(|document| document.content) {
        Some(Content::V2(V2Content { raas: Some(raas), .. })) => raas.tags,
        _ => BTreeMap::new(),
    };
    let removed_tags = current.tags().filter(|tag| !now.contains_key(*tag)).cloned().collect();
    files.extend(operator.changes(&publication)?);
    let changes = publication.changes(files)?;
    if publication.waits_for_turn(&changes)? {
        return Ok(None);
    }
    if !changes.is_empty() {
        publication.check_stored(&content(name, stored))?;
    }
    if let Some(before) = protected_before {
        progress.say(&format!(
            "Note: {name} was protected when it was last published, in commit {}, and is so again: users alone see it. Set \
             `protected` to false in its document of the record if everybody may",
            before.short()
        ));
    }

    let source = format!("Source: {} ({})", report.source.name, report.source.kind);
    let mut tell = |key: &ObjectKey, size: u64, written: bool| {
        if written {
            report.stored.add(size);
            progress.stored(key, size);
        } else {
            report.present.add(size);
        }
    };
    for (digest, manifest) in &stored.manifests {
        publication.put_manifest(digest, &manifest.media_type, &manifest.bytes, &mut tell)?;
    }
    let mut message = Message::new("Publish", name, stored.tags.keys());
    message.tags = stored.tags.clone();
    message.notes.push(source);
    if options.prune {
        message.notes.push("The repository was made equal to the source.".into());
    }
    let done = publication.commit(&changes, &message, &mut tell)?;
    report.changed = done.changed;
    report.tags = stored.tags.iter().map(|(tag, digest)| (tag.clone(), Some(*digest))).collect();
    report.removed_tags = removed_tags;
    report.commit = Some(done.commit.to_string());
    Ok(Some(done))
}

/// The objects that hold layers and configs, each with its length.
fn content(name: &RepositoryName, stored: &Stored) -> Vec<(ObjectKey, u64)> {
    let blobs = stored.blobs.iter().filter(|(_, entry)| entry.location.is_none());
    let blobs = blobs.map(|(digest, entry)| (ObjectKey::Blob(name.clone(), *digest), entry.size));
    let images = stored.v1.iter().flat_map(|v1| &v1.images).filter(|(_, entry)| entry.location.is_none());
    let images = images.map(|(id, entry)| (ObjectKey::V1(name.clone(), *id, V1File::Layer), entry.size));
    blobs.chain(images).collect()
}

/// Another push may have published an image of the same id while this one was storing it.
fn check_same_images(name: &RepositoryName, current: &Current, stored: &Stored) -> Result<(), Failure> {
    let published = current.v1.iter().filter_map(|v1| v1.raas.as_ref()).flat_map(|raas| &raas.images);
    for (id, old) in published {
        let new = stored.v1.as_ref().and_then(|v1| v1.images.get(id));
        if new.is_some_and(|new| new.layer != old.layer) {
            return Err(transfer_v1::another(id, name, "layer"));
        }
    }
    Ok(())
}
