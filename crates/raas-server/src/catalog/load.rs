//! Loads a document into a repository.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use raas_types::access::{AccessFileError, Customer, CustomerName};
use raas_types::crane::{
    Content, Document, DocumentError, ManifestEntry, V1Content, V2Content, V2Extension, tree,
};
use raas_types::{AtomicSignature, Digest, ImageId, RepositoryName, Tag, media_type};

use super::view::path_of;
use super::{
    Blob, Details, LegacyRepository, Manifest, ManifestPool, MemoryCharge, OverBudget, Repository,
    ServedCustomer, TagNotes, V1Image, V1Repository, V1Source,
};

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
    /// A customer, from a file beside the documents.
    Customer(Arc<LoadedCustomer>),
}

/// A customer, with the memory that it takes.
#[derive(Debug)]
pub(crate) struct LoadedCustomer {
    pub(crate) customer: Arc<ServedCustomer>,
    _charge: MemoryCharge,
}

impl LoadedDocument {
    /// The repository. None for a customer.
    pub(crate) fn name(&self) -> Option<&RepositoryName> {
        Some(match self {
            LoadedDocument::V1(repository) => &repository.name,
            LoadedDocument::V2(repository) => &repository.name,
            LoadedDocument::Legacy(repository) => &repository.name,
            LoadedDocument::Protected(name, _) => name,
            LoadedDocument::Customer(_) => return None,
        })
    }
}

/// Why a document is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("cannot read the document: {0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("the customer has no access: {0}")]
    Customer(#[from] AccessFileError),
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
    #[error("location `{0}` is not an http or https URL of at most 8192 visible ASCII characters")]
    Location(String),
    #[error("the document is longer than {} bytes", Document::MAX_SIZE)]
    TooLong,
    #[error("another document already publishes `{0}`")]
    Claimed(RepositoryName),
    #[error(transparent)]
    Memory(#[from] OverBudget),
}

impl Fault {
    /// The text for the log. It may quote a document, so it is cut.
    pub(crate) fn reason(&self) -> String {
        const MAX: usize = 400;
        self.to_string().chars().take(MAX).collect()
    }
}

/// The other files of a metadata tree.
pub(crate) trait MetadataFiles: Sync {
    /// The first `limit` bytes of a file. The path is relative to the root of the tree.
    fn read(&self, path: &str, limit: u64) -> io::Result<Cow<'_, [u8]>>;
}

/// What a document is loaded with.
pub(crate) struct Loader<'a> {
    /// Holds the manifests.
    pub(crate) files: &'a dyn MetadataFiles,
    /// The manifests that other documents of the site have, and the site's memory budget.
    pub(crate) pool: &'a ManifestPool,
}

/// Loads the file at a path of the metadata tree. `before` is what the file was loaded to before; unchanged manifests
/// are taken from it.
pub(crate) fn load(
    loader: &Loader<'_>,
    path: &str,
    bytes: &[u8],
    before: Option<&LoadedDocument>,
) -> Result<LoadedDocument, Fault> {
    if let Some(name) = tree::customer_of(path) {
        return load_customer(loader.pool, name, bytes);
    }
    let _parsing = charge_parsing(loader.pool, bytes)?;
    with_protection(Document::parse(bytes)?, before, |document, before| {
        load_content(loader, document, before)
    })
}

fn load_customer(pool: &ManifestPool, name: CustomerName, bytes: &[u8]) -> Result<LoadedDocument, Fault> {
    let _parsing = charge_parsing(pool, bytes)?;
    let customer = Arc::new(ServedCustomer::new(name, &Customer::parse(bytes)?));
    let charge = charge(pool, customer.memory())?;
    Ok(LoadedDocument::Customer(Arc::new(LoadedCustomer { customer, _charge: charge })))
}

/// Charges a document's memory while it is parsed.
fn charge_parsing(pool: &ManifestPool, bytes: &[u8]) -> Result<MemoryCharge, Fault> {
    /// The memory of a parsed document, as a multiple of the length of its text.
    const TIMES: u64 = 3;
    if bytes.len() as u64 > Document::MAX_SIZE {
        return Err(Fault::TooLong);
    }
    Ok(charge(pool, bytes.len() as u64 * TIMES)?)
}

/// Charges memory. Manifests that no document names any longer make room first.
fn charge(pool: &ManifestPool, bytes: u64) -> Result<MemoryCharge, OverBudget> {
    pool.budget.charge(bytes).or_else(|_| {
        pool.sweep_now();
        pool.budget.charge(bytes)
    })
}

/// Loads a document as a legacy Crane does: everything is at the document's `url`, even if raas wrote the document.
/// Only masked layers are at their own locations. Returns the repository, and why entries of the document are not
/// served.
pub(crate) fn load_as_crane(
    pool: &ManifestPool,
    bytes: &[u8],
) -> Result<(LoadedDocument, Vec<String>), Fault> {
    let _parsing = charge_parsing(pool, bytes)?;
    let (document, left_out) = Document::parse_as_crane(bytes)?;
    let loaded = with_protection(document, None, |document, _| {
        let url_path = protected_path(&document);
        let (name, id, url) = (document.name, document.repository, document.url);
        Ok(match document.content {
            Content::V1(v1) => {
                let mut repository = load_v1(pool, name, id, &url, v1, true)?;
                repository.url_path = url_path;
                LoadedDocument::V1(Arc::new(repository))
            }
            Content::V2(mut v2) => {
                let blobs = v2.raas.take().map_or(BTreeMap::new(), |extension| extension.blobs);
                let elsewhere =
                    blobs.into_iter().filter_map(|(digest, entry)| Some((digest, entry.location?)));
                let elsewhere = elsewhere.map(|(digest, url)| Ok((digest, location(&url)?)));
                let elsewhere = elsewhere.collect::<Result<_, Fault>>()?;
                load_legacy(pool, name, id, &url, v2, elsewhere)?
            }
        })
    })?;
    Ok((loaded, left_out))
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
        Err(fault) => {
            tracing::warn!(%name, reason = fault.reason(), "a protected repository is not served to its users");
            Ok(LoadedDocument::Protected(name, None))
        }
    }
}

fn load_content(
    loader: &Loader<'_>,
    document: Document,
    before: Option<&LoadedDocument>,
) -> Result<LoadedDocument, Fault> {
    let url_path = protected_path(&document);
    let Document { name, repository: id, url, content, .. } = document;
    match content {
        Content::V1(v1) => {
            let mut repository = load_v1(loader.pool, name, id, &url, v1, false)?;
            repository.url_path = url_path;
            Ok(LoadedDocument::V1(Arc::new(repository)))
        }
        Content::V2(mut v2) => {
            let Some(extension) = v2.raas.take() else {
                return load_legacy(loader.pool, name, id, &url, v2, BTreeMap::new());
            };
            let before = match before {
                Some(LoadedDocument::V2(repository)) => Some(repository.as_ref()),
                _ => None,
            };
            let mut repository = load_v2(loader, name, extension, before)?;
            if let (Some(path), Some(charge)) = (&url_path, &mut repository.charge) {
                charge.grow(path.len() as u64)?;
            }
            repository.url_path = url_path;
            Ok(LoadedDocument::V2(Arc::new(repository)))
        }
    }
}

fn load_legacy(
    pool: &ManifestPool,
    name: RepositoryName,
    id: String,
    url: &str,
    content: V2Content,
    elsewhere: BTreeMap<Digest, Box<str>>,
) -> Result<LoadedDocument, Fault> {
    /// Of a text in a map, beside its bytes.
    const TEXT: usize = 64;
    let text = |text: &String| text.len() + TEXT;
    let lists = content.schema2.iter().chain(&content.lists).map(text).sum::<usize>();
    let tags: usize = content.amd64_tags.iter().map(|(tag, (digest, _))| text(tag) + text(digest)).sum();
    let elsewhere_cost: usize = elsewhere.values().map(|url| url.len() + TEXT).sum();
    let cost = id.len() + url.len() + lists + tags + elsewhere_cost + size_of::<LegacyRepository>();
    let charge = charge(pool, cost as u64)?;
    let mut legacy = LegacyRepository::new(name, id, folder(url)?, content, elsewhere);
    legacy.charge = Some(charge);
    Ok(LoadedDocument::Legacy(Arc::new(legacy)))
}

fn load_v2(
    loader: &Loader<'_>,
    name: RepositoryName,
    extension: V2Extension,
    before: Option<&Repository>,
) -> Result<Repository, Fault> {
    let V2Extension { tags: listed, published, deprecated, manifests, blobs: entries, .. } = &extension;
    let locations: usize =
        entries.values().filter_map(|entry| entry.location.as_ref()).map(String::len).sum();
    let lists = extension.signatures.iter();
    let signatures: Vec<(Digest, Bytes)> = lists
        .map(|(digest, signatures)| (*digest, AtomicSignature::list(signatures, digest).into()))
        .collect();
    let of_signatures: usize =
        signatures.iter().map(|(_, list)| list.len() + size_of::<(Digest, Bytes)>()).sum();
    let cost = Repository::cost(listed.len(), manifests.len(), entries.len());
    let cost = cost + TagNotes::cost(published.len(), deprecated.len()) + (locations + of_signatures) as u64;
    let mut charge = charge(loader.pool, cost)?;
    let manifests = load_manifests(loader, &name, &extension, before, &mut charge)?;
    // `manifests` has the order of a map's keys, so it is sorted.
    let find = |digest: &Digest| manifests.binary_search_by_key(digest, |m: &Arc<Manifest>| m.digest).ok();
    let V2Extension { tags: listed, published, deprecated, blobs: entries, .. } = extension;
    let mut tags = Vec::with_capacity(listed.len());
    for (tag, digest) in listed {
        match find(&digest) {
            Some(at) => tags.push((tag, Arc::clone(&manifests[at]))),
            None => return Err(Fault::Tag(tag, digest)),
        }
    }
    let mut blobs = Vec::with_capacity(entries.len());
    for (digest, entry) in entries {
        let location = entry.location.map(|url| location(&url)).transpose()?;
        blobs.push(Blob { digest, size: entry.size, location });
    }
    let repository = Repository::new(name, tags, manifests, blobs, &published, &deprecated);
    let mut repository = repository.with_signatures(signatures);
    repository.charge = Some(charge);
    Ok(repository)
}

/// The largest allocation, in bytes, before the first manifest was read.
const MAX_PREALLOCATED: u64 = 256 * 1024;

/// A manifest of a document, before it is made.
enum Source {
    /// The same manifest is in memory.
    Known(Arc<Manifest>),
    /// Its bytes are in memory, for a document that names another media type or platform for them.
    Bytes(Bytes),
    /// Its bytes were read, up to this position in the new bytes.
    New(usize),
}

/// Loads the manifests, in the order of their digests. The bytes of all new manifests share one allocation: with a
/// hundred thousand allocations the overhead is considerable.
fn load_manifests(
    loader: &Loader<'_>,
    name: &RepositoryName,
    extension: &V2Extension,
    before: Option<&Repository>,
    repository: &mut MemoryCharge,
) -> Result<Vec<Arc<Manifest>>, Fault> {
    let known = |digest: &Digest, entry: &ManifestEntry| {
        let known = before.and_then(|before| before.manifest(digest));
        let is_same = |known: &&Arc<Manifest>| {
            known.media_type() == entry.media_type
                && known.len() as u64 == entry.size
                && known.has_details_of(entry)
        };
        known.filter(is_same)
    };
    let entries = &extension.manifests;
    let new = || entries.iter().filter(|(digest, entry)| known(digest, entry).is_none());
    // The exact size avoids reallocations. The sizes of a hostile document are not trusted beyond the limit.
    let total = new().fold(0, |sum: u64, (_, entry)| sum.saturating_add(entry.size)).min(MAX_PREALLOCATED);
    let mut read = NewBytes {
        bytes: Vec::with_capacity(usize::try_from(total).unwrap_or(0)),
        charge: loader.pool.budget.empty_charge(),
    };
    let mut sources = Vec::with_capacity(entries.len());
    for (digest, entry) in entries {
        sources.push(match known(digest, entry) {
            Some(known) => Source::Known(Arc::clone(known)),
            None => read_manifest(loader, name, digest, entry, &mut read, repository)?,
        });
    }
    let bytes = read.finish();
    let mut begin = 0;
    let mut made = Vec::with_capacity(entries.len());
    let mut manifests = Vec::with_capacity(entries.len());
    for ((digest, entry), source) in entries.iter().zip(sources) {
        let own = match source {
            Source::Known(known) => {
                manifests.push(known);
                continue;
            }
            Source::Bytes(own) => own,
            Source::New(end) => bytes.slice(std::mem::replace(&mut begin, end)..end),
        };
        let mut manifest = Manifest::new(*digest, &entry.media_type, entry.platform.as_ref(), own);
        if let Some(facts) = &entry.image
            && repository.grow_for_extra(Details::memory(facts) as u64)
        {
            manifest = manifest.with_details(facts);
        }
        let manifest = Arc::new(manifest);
        made.push(Arc::clone(&manifest));
        manifests.push(manifest);
    }
    loader.pool.extend(made.into_iter());
    Ok(manifests)
}

/// The bytes of the new manifests of a document, and their charge.
struct NewBytes {
    bytes: Vec<u8>,
    charge: MemoryCharge,
}

impl NewBytes {
    /// The bytes without spare room. The charge is given back with the last of them.
    fn finish(self) -> Bytes {
        struct Charged(Box<[u8]>, #[expect(dead_code, reason = "gives back the charge")] MemoryCharge);
        impl AsRef<[u8]> for Charged {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        if self.bytes.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(Charged(self.bytes.into(), self.charge))
    }
}

fn read_manifest(
    loader: &Loader<'_>,
    name: &RepositoryName,
    digest: &Digest,
    entry: &ManifestEntry,
    into: &mut NewBytes,
    repository: &mut MemoryCharge,
) -> Result<Source, Fault> {
    if !media_type::is_well_formed(&entry.media_type) {
        return Err(Fault::MediaType(*digest, entry.media_type.chars().take(200).collect()));
    }
    let path = tree::manifest(name, digest);
    // One byte more than expected, so that a longer file is noticed.
    let limit = entry.size.min(raas_types::Manifest::MAX_SIZE) + 1;
    let bytes = match loader.files.read(&path, limit) {
        Ok(bytes) => bytes,
        Err(error) => return Err(Fault::ManifestFile { path, error }),
    };
    let pooled = loader.pool.get(digest).filter(|pooled| *pooled.bytes() == *bytes);
    if bytes.len() as u64 != entry.size || (pooled.is_none() && Digest::of(&bytes) != *digest) {
        return Err(Fault::ManifestBytes(path));
    }
    match pooled {
        Some(pooled) if pooled.is_same(entry) => {
            return Ok(Source::Known(pooled));
        }
        _ => repository.grow(Manifest::cost(&entry.media_type, &bytes))?,
    }
    if let Some(pooled) = pooled {
        return Ok(Source::Bytes(pooled.bytes()));
    }
    into.charge.grow(bytes.len() as u64)?;
    into.bytes.extend_from_slice(&bytes);
    Ok(Source::New(into.bytes.len()))
}

/// Loads a version 1 document. `as_crane` is true if its images are served as a legacy Crane serves them: from the
/// document's `url` if a content folder does not have them.
fn load_v1(
    pool: &ManifestPool,
    name: RepositoryName,
    id: String,
    url: &str,
    v1: V1Content,
    as_crane: bool,
) -> Result<V1Repository, Fault> {
    if let Some((tag, id)) = v1.tags.iter().find(|(_, id)| !v1.images.contains(id)) {
        return Err(Fault::V1Tag(tag.clone(), *id));
    }
    let entries = v1.raas.map(|raas| raas.images);
    // Every image has this URL.
    let base: Result<Arc<str>, Fault> = folder(url).map(Arc::from);
    let base = || base.as_ref().map(Arc::clone).map_err(|_| Fault::Location(url.chars().take(300).collect()));
    /// An image in the repository, and in the index of all images of the site.
    const IMAGE: usize = size_of::<(ImageId, V1Image)>() + 2 * size_of::<ImageId>();
    const TAG: usize = size_of::<(Tag, ImageId)>() + 64;
    let locations = entries.iter().flat_map(BTreeMap::values).filter_map(|entry| entry.location.as_ref());
    let cost = id.len() + url.len() + v1.images.len() * IMAGE + v1.tags.len() * TAG;
    let cost = cost + locations.map(String::len).sum::<usize>() + size_of::<V1Repository>();
    let charge = charge(pool, cost as u64)?;
    let mut images = Vec::with_capacity(v1.images.len());
    for image_id in v1.images {
        let image = match (entries.as_ref(), entries.as_ref().and_then(|entries| entries.get(&image_id))) {
            (_, Some(entry)) => V1Image {
                source: match &entry.location {
                    Some(url) => V1Source::Elsewhere(folder(url)?),
                    None if as_crane => V1Source::BucketOr(base()?),
                    None => V1Source::Bucket,
                },
                size: Some(entry.size),
            },
            (Some(_), None) if !as_crane => V1Image { source: V1Source::Bucket, size: None },
            (_, None) => V1Image { source: V1Source::BucketOr(base()?), size: None },
        };
        images.push((image_id, image));
    }
    let mut repository = V1Repository::new(name, id, v1.tags.into_iter().collect(), images);
    repository.charge = Some(charge);
    Ok(repository)
}

/// The path of the `url` of a protected document: entitlement certificates are compared with it.
fn protected_path(document: &Document) -> Option<Box<str>> {
    document.protected.then(|| path_of(&document.url).into())
}

/// The URL of an image's folder. `/<file>` is appended to it.
fn folder(url: &str) -> Result<Box<str>, Fault> {
    location(url.trim_end_matches('/'))
}

/// A URL that may become a `Location` header.
fn location(url: &str) -> Result<Box<str>, Fault> {
    /// Clients do not follow longer ones.
    const MAX: usize = 8 * 1024;
    let web = url.starts_with("https://") || url.starts_with("http://");
    if web && url.len() <= MAX && url.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(url.into())
    } else {
        Err(Fault::Location(url.chars().take(300).collect()))
    }
}
