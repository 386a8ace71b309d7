//! From a document as Pulp writes it to one that a server can answer from: its manifests at hand, and for each blob
//! where it is.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::{BlobEntry, Content, ManifestEntry, V2Content, V2Extension};
use raas_types::{Digest, Manifest, ManifestBody, Reference, media_type};

use super::OperatorDocument;
use super::web;
use raas_base::failure::{Failure, Kind};
use raas_base::parallel;

/// Requests at once to the operator's server.
const IN_FLIGHT: usize = 8;

/// Completes a document of version 2 to 4; one of version 1 says all that there is. `beside` are manifests that lay
/// near the documents, by digest: they need not be fetched.
pub(super) fn document(
    found: &mut OperatorDocument,
    beside: &BTreeMap<Digest, Vec<u8>>,
    agent: &ureq::Agent,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let Content::V2(v2) = &found.document.content else { return Ok(()) };
    let reader = Reader { base: found.document.url.trim_end_matches('/'), beside, agent };
    let known = v2.raas.clone();
    let mut manifests: BTreeMap<Digest, (Vec<u8>, Manifest)> = BTreeMap::new();
    let mut tags = BTreeMap::new();
    let mut wanted: BTreeSet<Digest> = BTreeSet::new();
    match &known {
        Some(known) => {
            tags.clone_from(&known.tags);
            wanted.extend(known.manifests.keys());
        }
        None if v2.schema2.is_empty() && v2.lists.is_empty() => {
            notes.push(format!(
                "{} lists neither layers nor manifests: its requests are redirected, and it masks nothing",
                found.origin
            ));
            return Ok(());
        }
        None => {
            let references: Vec<(String, bool)> = v2
                .schema2
                .iter()
                .map(|text| (text.clone(), false))
                .chain(v2.lists.iter().map(|text| (text.clone(), true)))
                .collect();
            let read = parallel::each(IN_FLIGHT, references, |(text, list)| {
                let reference: Reference = text.parse().map_err(|error| refused(&found.origin, &error))?;
                Ok((reference.clone(), reader.manifest(&reference, Some(list))?))
            })?;
            for (reference, (digest, bytes, manifest)) in read {
                if let Reference::Tag(tag) = reference {
                    tags.insert(tag, digest);
                }
                manifests.insert(digest, (bytes, manifest));
            }
        }
    }
    // What lists lead to need not be listed itself.
    loop {
        let children =
            manifests.values().flat_map(|(_, manifest)| manifest.children().iter().map(|c| c.digest));
        wanted.extend(children.filter(|_| known.is_none()));
        let missing: Vec<Digest> =
            wanted.iter().filter(|digest| !manifests.contains_key(digest)).copied().collect();
        if missing.is_empty() {
            break;
        }
        let list = |digest: &Digest| {
            let entry = known.as_ref()?.manifests.get(digest)?;
            Some(media_type::is_index(&entry.media_type))
        };
        let read = parallel::each(IN_FLIGHT, missing, |digest| {
            reader.manifest(&Reference::Digest(digest), list(&digest))
        })?;
        manifests.extend(read.into_iter().map(|(digest, bytes, manifest)| (digest, (bytes, manifest))));
    }
    let blobs = match known {
        Some(known) => located(known.blobs, reader.base),
        None => located(blobs_of(&manifests), reader.base),
    };
    let entry = |(digest, (bytes, manifest)): (&Digest, &(Vec<u8>, Manifest))| {
        let media_type = manifest.media_type.clone();
        (*digest, ManifestEntry { media_type, size: bytes.len() as u64, platform: None })
    };
    let extension = V2Extension { tags, manifests: manifests.iter().map(entry).collect(), blobs };
    let amd64 = |digest: &Digest| manifests.get(digest)?.1.amd64_child();
    found.document.content = Content::V2(V2Content::new(extension, amd64));
    found.manifests = manifests.into_iter().map(|(digest, (bytes, _))| (digest, bytes)).collect();
    Ok(())
}

fn blobs_of(manifests: &BTreeMap<Digest, (Vec<u8>, Manifest)>) -> BTreeMap<Digest, BlobEntry> {
    let entry = |size, location| BlobEntry { size, diff_id: None, location };
    let mut blobs = BTreeMap::new();
    for (_, manifest) in manifests.values() {
        if let ManifestBody::Image { config, layers } = &manifest.body {
            for blob in layers.iter().chain([config.as_ref()]) {
                // A layer that must not be redistributed is where its descriptor says.
                blobs.insert(blob.digest, entry(blob.size, blob.urls.first().cloned()));
            }
        }
    }
    blobs
}

fn located(blobs: BTreeMap<Digest, BlobEntry>, base: &str) -> BTreeMap<Digest, BlobEntry> {
    let place = |(digest, entry): (Digest, BlobEntry)| {
        let location = entry.location.unwrap_or_else(|| format!("{base}/blobs/{digest}"));
        (digest, BlobEntry { location: Some(location), ..entry })
    };
    blobs.into_iter().map(place).collect()
}

/// Where manifests come from.
struct Reader<'a> {
    base: &'a str,
    beside: &'a BTreeMap<Digest, Vec<u8>>,
    agent: &'a ureq::Agent,
}

impl Reader<'_> {
    /// A manifest, from beside or from the operator's server; `list` says whether it is an index, where that is known.
    fn manifest(
        &self,
        reference: &Reference,
        list: Option<bool>,
    ) -> Result<(Digest, Vec<u8>, Manifest), Failure> {
        let beside = match reference {
            Reference::Digest(digest) => self.beside.get(digest),
            Reference::Tag(_) => None,
        };
        let folder = if list.unwrap_or(false) { "list" } else { "2" };
        let url = format!("{}/manifests/{folder}/{reference}", self.base);
        let bytes = match beside {
            Some(bytes) => bytes.clone(),
            None => web::fetch(self.agent, &url, Manifest::MAX_SIZE)?,
        };
        let digest = Digest::of(&bytes);
        if matches!(reference, Reference::Digest(expected) if *expected != digest) {
            return Err(Failure::new(Kind::Refused, format!("what {url} answers has the digest {digest}")));
        }
        let manifest = Manifest::parse(&bytes, None).map_err(|error| refused(&url, &error))?;
        Ok((digest, bytes, manifest))
    }
}

fn refused(what: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Refused, format!("{what} cannot be published")).caused_by(error.to_string())
}
