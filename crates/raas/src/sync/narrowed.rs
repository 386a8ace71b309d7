//! The note of a home about images of some platforms: which digest each tag had at the source when it was published. The
//! published manifest is narrowed to the platforms, so its digest tells nothing about the source.
//!
//! A note that is lost costs a run that publishes the same again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use raas_base::failure::{Context as _, Failure};
use raas_base::files;
use raas_publish::home::Vendor;
use raas_types::{Digest, Platform, RepositoryName, Tag};
use serde::{Deserialize, Serialize};

use crate::config::SyncRule;

/// The longest note that is read.
const MAX_NOTE: u64 = 64 * 1024 * 1024;

type NarrowedImages = BTreeMap<RepositoryName, Image>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Image {
    platforms: Vec<Platform>,
    tags: BTreeMap<Tag, Narrowed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Narrowed {
    source: Digest,
    published: Digest,
}

/// The digests that the published tags had at the source. A tag without one is published anew.
///
/// # Errors
/// The note cannot be read.
pub(crate) fn at_source(
    vendor: &Vendor,
    rule: &SyncRule,
    published: &BTreeMap<Tag, Digest>,
) -> Result<BTreeMap<Tag, Digest>, Failure> {
    let mut note = read(vendor)?;
    let image =
        note.remove(&rule.image).filter(|image| image.platforms == rule.platforms).unwrap_or_default();
    let known = published.iter().filter_map(|(tag, digest)| {
        let narrowed = image.tags.get(tag)?;
        (narrowed.published == *digest).then(|| (tag.clone(), narrowed.source))
    });
    Ok(known.collect())
}

/// Notes the digests of published tags at the source.
///
/// # Errors
/// The note cannot be written.
pub(super) fn remember(
    vendor: &Vendor,
    rule: &SyncRule,
    heads: &BTreeMap<Tag, Digest>,
    published: &BTreeMap<Tag, Option<Digest>>,
) -> Result<(), Failure> {
    let mut note = read(vendor)?;
    let image = note.entry(rule.image.clone()).or_default();
    if image.platforms != rule.platforms {
        *image = Image { platforms: rule.platforms.clone(), tags: BTreeMap::new() };
    }
    let new = published.iter().filter_map(|(tag, digest)| {
        Some((tag.clone(), Narrowed { source: *heads.get(tag)?, published: (*digest)? }))
    });
    image.tags.extend(new);
    image.tags.retain(|tag, _| heads.contains_key(tag));
    let path = path(vendor);
    let bytes = serde_json::to_vec(&note).expect("a note has text keys only");
    files::replace(&path, &bytes).context(|| format!("cannot write {}", path.display()))
}

fn path(vendor: &Vendor) -> PathBuf {
    vendor.folder().join("sync.json")
}

fn read(vendor: &Vendor) -> Result<NarrowedImages, Failure> {
    let path = path(vendor);
    let bytes = match fs::metadata(&path).and_then(|found| match found.len() <= MAX_NOTE {
        true => fs::read(&path),
        false => Ok(Vec::new()),
    }) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(NarrowedImages::new()),
        Err(error) => return Err(error).context(|| format!("cannot read {}", path.display())),
    };
    // A damaged note is a lost one.
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}
