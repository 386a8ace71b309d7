//! Making a publication of what is stored: the manifests' own objects, one commit, and what follows from it.
//!
//! The commit is the publication. A run that is killed before it has published nothing; one that is killed after
//! it leaves the objects named by tag and the checkout behind, which any later push of the image, and any server
//! that starts, brings up to date.

use std::collections::BTreeSet;

use raas_types::crane::{Content, Document, Severity, lint, tree};
use raas_types::{ObjectKey, Reference, RepositoryName, Tag, media_type};
use serde::Serialize;

use super::compose::{Composed, Composer, Current};
use super::held::Held;
use super::report::Report;
use super::transfer::Stored;
use super::{Options, Progress};
use crate::config::VendorSettings;
use crate::failure::{Failure, Kind};
use crate::home::Vendor;
use crate::record::{Change, CommitId, Record};
use crate::snapshot;
use crate::storage::Storage;

/// Publishes what is stored; gives the commit that holds it, which is the one before where nothing changed.
pub(super) fn publish(
    vendor: &Vendor,
    settings: &VendorSettings,
    storage: &dyn Storage,
    options: &Options,
    stored: &Stored,
    report: &mut Report,
    progress: &Progress,
) -> Result<CommitId, Failure> {
    let name = &options.image.name;
    let record = vendor.record();
    let _lock = vendor.lock()?;
    let head = record.head()?;
    let current = read_current(&record, head.as_ref(), name)?;
    let base_url = storage.base_url();
    // Under the lock: what other pushes have stored under tags until now is seen.
    let held = Held::read(storage, name, false)?;
    let composer = Composer { vendor: vendor.name(), name, base_url: &base_url, prune: options.prune };
    let composed = composer.compose(&current, stored, |digest| {
        let head = head.as_ref()?;
        record.read(head, &tree::manifest(name, digest)).ok().flatten()
    });

    for (digest, manifest) in &stored.manifests {
        let key = ObjectKey::manifest(name, Reference::Digest(*digest), &manifest.media_type);
        store(&held, &key, &manifest.bytes, report, progress)?;
    }
    let changes = changes(&record, head.as_ref(), &composed)?;
    check_documents(&changes)?;
    let commit = match head {
        Some(head) if changes.is_empty() => head,
        head => {
            report.changed = true;
            record.commit(head.as_ref(), &changes, &message(options, stored, report))?
        }
    };
    store_tags(storage, &held, name, &composed, stored, &record, &commit, report, progress)?;
    if settings.s3_bucket.is_some() {
        snapshot::publish(&record, storage, vendor.folder())?;
    }
    vendor.checkout().update(&record, &commit)?;
    record.tidy()?;
    report.tags = stored.tags.iter().map(|(tag, digest)| (tag.clone(), Some(*digest))).collect();
    report.removed_tags = current.tags().filter(|tag| !composed.tags.contains_key(*tag)).cloned().collect();
    report.commit = Some(commit.to_string());
    Ok(commit)
}

fn store(
    held: &Held,
    key: &ObjectKey,
    content: &[u8],
    report: &mut Report,
    progress: &Progress,
) -> Result<(), Failure> {
    let size = content.len() as u64;
    if held.put(key, content)? {
        report.stored.add(size);
        progress.stored(key, size);
    } else {
        report.present.add(size);
    }
    Ok(())
}

/// What the repository has published so far.
pub(super) fn read_current(
    record: &Record,
    head: Option<&CommitId>,
    name: &RepositoryName,
) -> Result<Current, Failure> {
    let mut current = Current::default();
    let Some(head) = head else { return Ok(current) };
    let read = |path: String| -> Result<Option<Document>, Failure> {
        let Some(bytes) = record.read(head, &path)? else { return Ok(None) };
        let document = Document::parse(&bytes).map_err(|error| {
            Failure::new(Kind::Environment, format!("{path} of commit {head} cannot be read"))
                .caused_by(error)
                .hint("correct it in the record with git, or publish the image under another name")
        })?;
        Ok(Some(document))
    };
    if let Some(document) = read(tree::document(name))? {
        current.protected = document.protected;
        if let Content::V2(v2) = document.content {
            current.v2 = v2.raas;
        }
    }
    if let Some(document) = read(tree::v1_document(name))?
        && let Content::V1(v1) = document.content
    {
        current.protected |= document.protected;
        current.v1 = Some(v1);
    }
    let manifests = record.files(head, &tree::manifests(name))?;
    current.manifest_paths = manifests.into_iter().map(|file| file.path).collect();
    Ok(current)
}

/// The files that differ from what is published.
fn changes(record: &Record, head: Option<&CommitId>, composed: &Composed) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    for (path, content) in &composed.files {
        let old = match head {
            Some(head) => record.read(head, path)?,
            None => None,
        };
        if old != *content {
            changes.push((path.clone(), content.clone()));
        }
    }
    Ok(changes)
}

/// A document that servers would not load must never be published: its repository would vanish.
fn check_documents(changes: &[Change]) -> Result<(), Failure> {
    for (path, content) in changes {
        let Some(content) = content.as_ref().filter(|_| path.ends_with(".json")) else { continue };
        let refused = |reason: String| {
            Err(Failure::new(Kind::Refused, format!("{path} would not be served"))
                .caused_by(reason)
                .hint("nothing was published"))
        };
        if content.len() as u64 > Document::MAX_SIZE {
            return refused(format!("it has {} bytes, more than {}", content.len(), Document::MAX_SIZE));
        }
        if let Some(finding) = lint(content).into_iter().find(|finding| finding.severity == Severity::Error) {
            return refused(finding.to_string());
        }
    }
    Ok(())
}

fn message(options: &Options, stored: &Stored, report: &Report) -> String {
    let name = &options.image.name;
    let mut tags: Vec<&str> = stored.tags.keys().map(Tag::as_str).collect();
    let more = tags.len().saturating_sub(5);
    tags.truncate(5);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let mut text = format!("Publish {name}: {}{more}\n\n", tags.join(", "));
    for (tag, digest) in &stored.tags {
        text.push_str(&format!("{name}:{tag} {digest}\n"));
    }
    text.push_str(&format!("\nSource: {} ({})\n", report.source.name, report.source.kind));
    if options.prune {
        text.push_str("The repository was made equal to the source.\n");
    }
    text
}

/// `tags/list` as a registry answers it.
#[derive(Serialize)]
struct TagsList<'a> {
    name: &'a RepositoryName,
    tags: Vec<&'a Tag>,
}

/// Stores each tag's manifest under the tag, for a legacy Crane and whoever reads the bucket by itself, and removes
/// those of tags that are gone.
#[expect(clippy::too_many_arguments, reason = "they are what a publication is made of")]
fn store_tags(
    storage: &dyn Storage,
    held: &Held,
    name: &RepositoryName,
    composed: &Composed,
    stored: &Stored,
    record: &Record,
    commit: &CommitId,
    report: &mut Report,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut expected = BTreeSet::new();
    for (tag, (digest, media_type)) in &composed.tags {
        let key = ObjectKey::manifest(name, Reference::Tag(tag.clone()), media_type);
        let bytes = match stored.manifests.get(digest) {
            Some(manifest) => Some(manifest.bytes.clone()),
            None => record.read(commit, &tree::manifest(name, digest))?,
        };
        if let Some(bytes) = bytes {
            store(held, &key, &bytes, report, progress)?;
        }
        expected.insert(key.to_string());
    }
    let list = TagsList { name, tags: composed.tags.keys().collect() };
    let list = serde_json::to_vec(&list).expect("names are text");
    store(held, &ObjectKey::TagsList(name.clone()), &list, report, progress)?;
    for media_type in [media_type::OCI_MANIFEST, media_type::OCI_INDEX] {
        let of = |reference| ObjectKey::manifest(name, reference, media_type);
        let sample = of(Reference::Tag("x".parse().expect("a tag"))).to_string();
        let folder = sample.strip_suffix('x').unwrap_or(&sample);
        for key in held.keys(folder).iter().filter(|key| !expected.contains(*key)) {
            if let Some(Ok(tag)) = key.strip_prefix(folder).map(str::parse::<Tag>) {
                storage.delete(&of(Reference::Tag(tag)))?;
            }
        }
    }
    Ok(())
}
