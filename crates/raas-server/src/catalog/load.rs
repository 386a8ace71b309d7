//! Loads a document into a repository.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use raas_types::crane::{Content, Document, DocumentError, ManifestEntry, V1Content, V2Extension, tree};
use raas_types::{Digest, ImageId, RepositoryName, Tag, media_type};

use super::{Blob, LegacyRepository, Manifest, Repository, V1Image, V1Repository, V1Source};

/// The repository of a document.
#[derive(Debug, Clone)]
pub(crate) enum LoadedDocument {
    /// A repository of Docker v1 images.
    V1(Arc<V1Repository>),
    /// A repository whose manifests and blobs are known.
    V2(Arc<Repository>),
    /// A repository of which only the URLs are known.
    Legacy(Arc<LegacyRepository>),
    /// A repository that only users see. Its content is None if the document does not load.
    Protected(RepositoryName, Option<Box<LoadedDocument>>),
}

impl LoadedDocument {
    pub(crate) fn name(&self) -> &RepositoryName {
        match self {
            LoadedDocument::V1(repository) => &repository.name,
            LoadedDocument::V2(repository) => &repository.name,
            LoadedDocument::Legacy(repository) => &repository.name,
            LoadedDocument::Protected(name, _) => name,
        }
    }
}

/// Why a document is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("cannot read the document: {0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("tag `{0}` names manifest {1}, which the document does not list")]
    Tag(Tag, Digest),
    #[error("tag `{0}` names image {1}, which the document does not list")]
    V1Tag(Tag, ImageId),
    #[error("manifest {0} has the invalid media type `{1}`")]
    MediaType(Digest, String),
    #[error("cannot read manifest file {path}: {error}")]
    ManifestFile {
        path: String,
        #[source]
        error: io::Error,
    },
    #[error("manifest file {0} does not have the digest and the length that the document names")]
    ManifestBytes(String),
    #[error("location `{0}` is not an http or https URL")]
    Location(String),
    #[error("the document is longer than {} bytes", Document::MAX_SIZE)]
    TooLong,
    #[error("another document already publishes `{0}`")]
    Claimed(RepositoryName),
}

/// The other files of a metadata tree.
pub(crate) trait MetadataFiles: Sync {
    /// The first `limit` bytes of a file. The path is relative to the root of the tree.
    fn read(&self, path: &str, limit: u64) -> io::Result<Cow<'_, [u8]>>;
}

/// Loads a document. `files` holds its manifests. `before` is the repository that the document had before; unchanged
/// manifests are taken from it.
pub(crate) fn load(
    files: &dyn MetadataFiles,
    bytes: &[u8],
    before: Option<&LoadedDocument>,
) -> Result<LoadedDocument, Fault> {
    with_protection(Document::parse(bytes)?, before, |document, before| load_content(files, document, before))
}

/// Loads a document as a legacy Crane does: everything is at the document's `url`, even if raas wrote the document.
/// Only masked layers are at their own locations.
pub(crate) fn load_as_crane(bytes: &[u8]) -> Result<LoadedDocument, Fault> {
    with_protection(Document::parse(bytes)?, None, |document, _| {
        let (name, id, url) = (document.name, document.repository, document.url);
        Ok(match document.content {
            Content::V1(v1) => LoadedDocument::V1(Arc::new(load_v1(name, id, &url, v1, true)?)),
            Content::V2(mut v2) => {
                let blobs = v2.raas.take().map_or(BTreeMap::new(), |extension| extension.blobs);
                let elsewhere =
                    blobs.into_iter().filter_map(|(digest, entry)| Some((digest, entry.location?)));
                let elsewhere = elsewhere.map(|(digest, url)| Ok((digest, location(&url)?)));
                let elsewhere = elsewhere.collect::<Result<_, Fault>>()?;
                LoadedDocument::Legacy(Arc::new(LegacyRepository::new(
                    name,
                    id,
                    folder(&url)?,
                    v2,
                    elsewhere,
                )))
            }
        })
    })
}

/// Applies the protection of a document, whether its content loads or not.
fn with_protection(
    document: Document,
    before: Option<&LoadedDocument>,
    load_content: impl FnOnce(Document, Option<&LoadedDocument>) -> Result<LoadedDocument, Fault>,
) -> Result<LoadedDocument, Fault> {
    if !document.protected {
        return load_content(document, before);
    }
    // A repository that becomes protected must not be served to everybody any longer, even if its document does not
    // load.
    let name = document.name.clone();
    let before = match before {
        Some(LoadedDocument::Protected(_, Some(loaded))) => Some(loaded.as_ref()),
        before => before,
    };
    match load_content(document, before) {
        Ok(loaded) => Ok(LoadedDocument::Protected(name, Some(Box::new(loaded)))),
        Err(reason) => {
            tracing::warn!(%name, %reason, "a protected repository is not served to its users");
            Ok(LoadedDocument::Protected(name, None))
        }
    }
}

fn load_content(
    files: &dyn MetadataFiles,
    document: Document,
    before: Option<&LoadedDocument>,
) -> Result<LoadedDocument, Fault> {
    match document.content {
        Content::V1(v1) => load_v1(document.name, document.repository, &document.url, v1, false)
            .map(|r| LoadedDocument::V1(Arc::new(r))),
        Content::V2(mut v2) => {
            let Some(extension) = v2.raas.take() else {
                let (name, url) = (document.name, folder(&document.url)?);
                let legacy = LegacyRepository::new(name, document.repository, url, v2, BTreeMap::new());
                return Ok(LoadedDocument::Legacy(Arc::new(legacy)));
            };
            let before = match before {
                Some(LoadedDocument::V2(repository)) => Some(repository.as_ref()),
                _ => None,
            };
            load_v2(files, document.name, extension, before).map(|r| LoadedDocument::V2(Arc::new(r)))
        }
    }
}

fn load_v2(
    files: &dyn MetadataFiles,
    name: RepositoryName,
    extension: V2Extension,
    before: Option<&Repository>,
) -> Result<Repository, Fault> {
    let manifests = load_manifests(files, &name, &extension, before)?;
    // `manifests` has the order of a map's keys, so it is sorted.
    let find = |digest: &Digest| manifests.binary_search_by_key(digest, |m: &Arc<Manifest>| m.digest).ok();
    let mut tags = Vec::with_capacity(extension.tags.len());
    for (tag, digest) in extension.tags {
        match find(&digest) {
            Some(at) => tags.push((tag, Arc::clone(&manifests[at]))),
            None => return Err(Fault::Tag(tag, digest)),
        }
    }
    let mut blobs = Vec::with_capacity(extension.blobs.len());
    for (digest, entry) in extension.blobs {
        let location = entry.location.map(|url| location(&url)).transpose()?;
        blobs.push(Blob { digest, size: entry.size, location });
    }
    Ok(Repository::new(name, tags, manifests, blobs))
}

/// The largest allocation, in bytes, before the first manifest was read.
const MAX_PREALLOCATED: u64 = 256 * 1024;

/// Loads the manifests, in the order of their digests. The bytes of all new manifests share one allocation: with a
/// hundred thousand allocations the overhead is considerable.
fn load_manifests(
    files: &dyn MetadataFiles,
    name: &RepositoryName,
    extension: &V2Extension,
    before: Option<&Repository>,
) -> Result<Vec<Arc<Manifest>>, Fault> {
    let known = |(digest, entry): (&Digest, &ManifestEntry)| {
        let known = before.and_then(|before| before.manifest(digest));
        known.filter(|known| known.media_type() == entry.media_type && known.len() as u64 == entry.size)
    };
    let known: Vec<Option<&Arc<Manifest>>> = extension.manifests.iter().map(known).collect();
    let all = || extension.manifests.iter().zip(&known);
    let new = || all().filter(|(_, known)| known.is_none()).map(|(entry, _)| entry);
    // The exact size avoids reallocations. The sizes of a hostile document are not trusted beyond the limit.
    let total = new().fold(0, |sum: u64, (_, entry)| sum.saturating_add(entry.size)).min(MAX_PREALLOCATED);
    let mut bytes = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    let mut ends = Vec::new();
    for (digest, entry) in new() {
        read_manifest(files, name, digest, entry, &mut bytes)?;
        ends.push(bytes.len());
    }
    let bytes = Bytes::from(bytes.into_boxed_slice());
    let (mut begin, mut ends) = (0, ends.into_iter());
    let manifest =
        |((digest, entry), known): ((&Digest, &ManifestEntry), &Option<&Arc<Manifest>>)| match known {
            Some(known) => Arc::clone(known),
            None => {
                let end = ends.next().expect("every new manifest was read");
                let own = bytes.slice(begin..end);
                begin = end;
                Arc::new(Manifest::new(*digest, &entry.media_type, entry.platform.as_ref(), own))
            }
        };
    Ok(all().map(manifest).collect())
}

fn read_manifest(
    files: &dyn MetadataFiles,
    name: &RepositoryName,
    digest: &Digest,
    entry: &ManifestEntry,
    into: &mut Vec<u8>,
) -> Result<(), Fault> {
    if !media_type::is_well_formed(&entry.media_type) {
        return Err(Fault::MediaType(*digest, entry.media_type.clone()));
    }
    let path = tree::manifest(name, digest);
    // One byte more than expected, so that a longer file is noticed.
    let limit = entry.size.min(raas_types::Manifest::MAX_SIZE) + 1;
    let bytes = match files.read(&path, limit) {
        Ok(bytes) => bytes,
        Err(error) => return Err(Fault::ManifestFile { path, error }),
    };
    if bytes.len() as u64 != entry.size || Digest::of(&bytes) != *digest {
        return Err(Fault::ManifestBytes(path));
    }
    into.extend_from_slice(&bytes);
    Ok(())
}

fn load_v1(
    name: RepositoryName,
    id: String,
    url: &str,
    v1: V1Content,
    elsewhere: bool,
) -> Result<V1Repository, Fault> {
    if let Some((tag, id)) = v1.tags.iter().find(|(_, id)| !v1.images.contains(id)) {
        return Err(Fault::V1Tag(tag.clone(), *id));
    }
    let entries = v1.raas.map(|raas| raas.images);
    let mut images = Vec::with_capacity(v1.images.len());
    for image_id in v1.images {
        let image = match (entries.as_ref(), entries.as_ref().and_then(|entries| entries.get(&image_id))) {
            (_, Some(entry)) => V1Image {
                source: match &entry.location {
                    Some(url) => V1Source::Elsewhere(folder(url)?),
                    None if elsewhere => V1Source::BucketOr(folder(url)?),
                    None => V1Source::Bucket,
                },
                size: Some(entry.size),
            },
            (Some(_), None) if !elsewhere => V1Image { source: V1Source::Bucket, size: None },
            (_, None) => V1Image { source: V1Source::BucketOr(folder(url)?), size: None },
        };
        images.push((image_id, image));
    }
    Ok(V1Repository::new(name, id, v1.tags.into_iter().collect(), images))
}

/// The URL of an image's folder. `/<file>` is appended to it.
fn folder(url: &str) -> Result<Box<str>, Fault> {
    location(url.trim_end_matches('/'))
}

/// A URL that may become a `Location` header.
fn location(url: &str) -> Result<Box<str>, Fault> {
    let web = url.starts_with("https://") || url.starts_with("http://");
    if web && url.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(url.into())
    } else {
        Err(Fault::Location(url.chars().take(300).collect()))
    }
}
