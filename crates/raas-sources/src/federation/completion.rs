//! Completes documents that Pulp wrote: their manifests are fetched, and every blob gets a location, so that a server can
//! answer from memory.

use std::collections::{BTreeMap, BTreeSet};

use raas_base::failure::{Failure, Kind};
use raas_base::parallel;
use raas_http::Agent;
use raas_types::crane::{BlobEntry, Content, ManifestEntry, V2Content, V2Extension};
use raas_types::{Digest, Manifest, ManifestBody, Reference, Tag, media_type};

use super::OperatorDocument;
use super::web;

/// Concurrent requests to the operator's server.
const CONCURRENT_REQUESTS: usize = 8;

/// Completes a document of version 2 to 4. A document of version 1 is complete.
///
/// `nearby` are manifests that lay beside the documents: they need not be fetched.
///
/// # Errors
/// A manifest cannot be fetched, or is not what the document says.
pub(super) fn complete(
    operator_document: &mut OperatorDocument,
    nearby: &BTreeMap<Digest, Vec<u8>>,
    agent: &Agent,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let OperatorDocument { origin, document, .. } = operator_document;
    let Content::V2(v2) = &document.content else { return Ok(()) };
    let base_url = document.url.trim_end_matches('/');
    let fetcher = Fetcher { base_url, nearby, agent };
    let (tags, manifests, blobs) = match &v2.raas {
        Some(known) => (known.tags.clone(), fetcher.known(known)?, known.blobs.clone()),
        None if v2.schema2.is_empty() && v2.lists.is_empty() => {
            notes.push(format!(
                "{origin} lists neither layers nor manifests: its requests are redirected, and it masks nothing"
            ));
            return Ok(());
        }
        None => {
            let (tags, manifests) = fetcher.referenced(&references(v2, origin)?)?;
            let blobs = blobs_of(&manifests);
            (tags, manifests, blobs)
        }
    };
    let extension = V2Extension {
        tags,
        manifests: entries(&manifests),
        blobs: located(blobs, base_url),
        ..V2Extension::default()
    };
    let amd64 = |digest: &Digest| manifests.get(digest)?.manifest.amd64_child();
    document.content = Content::V2(V2Content::new(extension, amd64));
    operator_document.manifests =
        manifests.into_iter().map(|(digest, fetched)| (digest, fetched.bytes)).collect();
    Ok(())
}

/// A manifest, and its exact bytes.
struct Fetched {
    bytes: Vec<u8>,
    manifest: Manifest,
}

type Manifests = BTreeMap<Digest, Fetched>;

/// A tag or digest that a document of Pulp lists.
struct ListedReference {
    reference: Reference,
    is_index: bool,
}

/// The tags and digests that a document lists: image manifests first, then indexes.
fn references(v2: &V2Content, origin: &str) -> Result<Vec<ListedReference>, Failure> {
    let images = v2.schema2.iter().map(|text| (text, false));
    let indexes = v2.lists.iter().map(|text| (text, true));
    let parse = |(text, is_index): (&String, bool)| {
        let reference = text.parse().map_err(|error| rejected(origin, &error))?;
        Ok(ListedReference { reference, is_index })
    };
    images.chain(indexes).map(parse).collect()
}

fn entries(manifests: &Manifests) -> BTreeMap<Digest, ManifestEntry> {
    let entry = |(digest, fetched): (&Digest, &Fetched)| {
        let media_type = fetched.manifest.media_type.clone();
        (*digest, ManifestEntry { media_type, size: fetched.bytes.len() as u64, platform: None })
    };
    manifests.iter().map(entry).collect()
}

/// The configs and layers of all images. A foreign layer is located where its descriptor says.
fn blobs_of(manifests: &Manifests) -> BTreeMap<Digest, BlobEntry> {
    let mut blobs = BTreeMap::new();
    for fetched in manifests.values() {
        if let ManifestBody::Image { config, layers } = &fetched.manifest.body {
            for blob in layers.iter().chain([config.as_ref()]) {
                let location = blob.urls.first().cloned();
                blobs.insert(blob.digest, BlobEntry { size: blob.size, diff_id: None, location });
            }
        }
    }
    blobs
}

/// The blobs, those without a location located below the document's URL.
fn located(blobs: BTreeMap<Digest, BlobEntry>, base_url: &str) -> BTreeMap<Digest, BlobEntry> {
    let locate = |(digest, entry): (Digest, BlobEntry)| {
        let location = entry.location.unwrap_or_else(|| format!("{base_url}/blobs/{digest}"));
        (digest, BlobEntry { location: Some(location), ..entry })
    };
    blobs.into_iter().map(locate).collect()
}

/// Fetches manifests from the operator's server, unless they are nearby.
struct Fetcher<'a> {
    base_url: &'a str,
    nearby: &'a BTreeMap<Digest, Vec<u8>>,
    agent: &'a Agent,
}

impl Fetcher<'_> {
    /// The manifests of a document that raas wrote: it names all of them.
    fn known(&self, known: &V2Extension) -> Result<Manifests, Failure> {
        let listed = known.manifests.iter().map(|(digest, entry)| ListedReference {
            reference: Reference::Digest(*digest),
            is_index: media_type::is_index(&entry.media_type),
        });
        Ok(self.fetch_all(&listed.collect::<Vec<_>>())?.into_iter().collect())
    }

    /// The manifests of a document that Pulp wrote, with all manifests that its indexes name, and the tags.
    fn referenced(&self, listed: &[ListedReference]) -> Result<(BTreeMap<Tag, Digest>, Manifests), Failure> {
        let fetched = self.fetch_all(listed)?;
        let mut tags = BTreeMap::new();
        for (ListedReference { reference, .. }, (digest, _)) in listed.iter().zip(&fetched) {
            if let Reference::Tag(tag) = reference {
                tags.insert(tag.clone(), *digest);
            }
        }
        let mut manifests: Manifests = fetched.into_iter().collect();
        loop {
            let missing = missing_children(&manifests);
            if missing.is_empty() {
                return Ok((tags, manifests));
            }
            manifests.extend(self.fetch_all(&missing)?);
        }
    }

    /// The manifests, in the order of the references.
    fn fetch_all(&self, listed: &[ListedReference]) -> Result<Vec<(Digest, Fetched)>, Failure> {
        parallel::each(CONCURRENT_REQUESTS, listed.iter().collect(), |listed| self.fetch(listed))
    }

    fn fetch(&self, listed: &ListedReference) -> Result<(Digest, Fetched), Failure> {
        let ListedReference { reference, is_index } = listed;
        let nearby = match reference {
            Reference::Digest(digest) => self.nearby.get(digest),
            Reference::Tag(_) => None,
        };
        let folder = if *is_index { "list" } else { "2" };
        let url = format!("{}/manifests/{folder}/{reference}", self.base_url);
        let bytes = match nearby {
            Some(bytes) => bytes.clone(),
            None => web::fetch(self.agent, &url, Manifest::MAX_SIZE)?,
        };
        let digest = Digest::of(&bytes);
        if matches!(reference, Reference::Digest(expected) if *expected != digest) {
            return Err(Failure::new(
                Kind::Refused,
                format!("the manifest at {url} has the digest {digest}"),
            ));
        }
        let manifest = Manifest::parse(&bytes, None).map_err(|error| rejected(&url, &error))?;
        Ok((digest, Fetched { bytes, manifest }))
    }
}

/// The manifests that indexes name and that are not fetched yet. Pulp keeps them as image manifests.
fn missing_children(manifests: &Manifests) -> Vec<ListedReference> {
    let children = manifests.values().flat_map(|fetched| fetched.manifest.children());
    let digests: BTreeSet<Digest> = children.map(|child| child.digest).collect();
    let missing = digests.into_iter().filter(|digest| !manifests.contains_key(digest));
    missing.map(|digest| ListedReference { reference: Reference::Digest(digest), is_index: false }).collect()
}

fn rejected(name: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Refused, format!("{name} cannot be published")).caused_by(error.to_string())
}
