//! The masked layers, and the location of each.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use raas_types::crane::{Content, Document};
use raas_types::{Digest, ImageId, Location};

use super::base_images::BaseLayer;
use super::settings::{FederationSettings, MaskedWithoutLocation};
use super::sources::{OperatorDocument, Sources};

/// An entry of `mask_layers`: the 64 hex digits of an image id or a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaskedLayerName(ImageId);

impl FromStr for MaskedLayerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        hex.parse().map(Self).map_err(|_| {
            let shown: String = text.chars().take(80).collect();
            format!("`{shown}` is neither an image id nor a digest: expected 64 lower-case hex digits, for a digest with `sha256:` before them")
        })
    }
}

impl From<&ImageId> for MaskedLayerName {
    fn from(id: &ImageId) -> Self {
        Self(*id)
    }
}

impl From<&Digest> for MaskedLayerName {
    fn from(digest: &Digest) -> Self {
        Self(digest.hex().parse().expect("a digest has 64 hex digits"))
    }
}

/// The masked layers.
#[derive(Debug, Default)]
pub struct Masks {
    named: BTreeSet<MaskedLayerName>,
    base_url: Option<String>,
    without_location: MaskedWithoutLocation,
    /// The folder URL of each Docker v1 image of the operator's documents.
    images: BTreeMap<ImageId, String>,
    /// The blobs of the operator's documents and base images.
    blobs: BTreeMap<Digest, ServedBlob>,
    /// The packed blob of each layer whose plain tar has this digest.
    packed: BTreeMap<Digest, Digest>,
    /// Notes for people.
    notes: Vec<String>,
}

/// A masked blob, at its location.
#[derive(Debug, Clone)]
struct ServedBlob {
    url: String,
    size: u64,
}

/// A masked layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The URL of the blob, or the folder URL of the Docker v1 image. `None` if no source names it.
    pub location: Option<String>,
    /// The digest and size of the blob there, if a document or a base image says them.
    pub blob: Option<(Digest, u64)>,
}

impl Masks {
    /// The layers that the configuration names, and those of the operator's documents and base images.
    pub fn new(redhat: &FederationSettings, sources: &Sources) -> Self {
        let mut masks = Masks {
            named: redhat.mask_layers.iter().copied().collect(),
            base_url: redhat.layer_url.clone(),
            without_location: redhat.masked_without_location,
            ..Masks::default()
        };
        masks.notes.clone_from(&sources.notes);
        for OperatorDocument { document, .. } in &sources.documents {
            masks.add(document.clone());
        }
        for BaseLayer { digest, size, diff_id, location } in &sources.base_layers {
            masks.blobs.entry(*digest).or_insert_with(|| ServedBlob { url: location.clone(), size: *size });
            if let Some(diff_id) = diff_id {
                masks.packed.entry(*diff_id).or_insert(*digest);
            }
        }
        masks
    }

    /// What a push does with a masked layer without a location.
    pub fn when_without_location(&self) -> MaskedWithoutLocation {
        self.without_location
    }

    /// Notes for people about documents and base images.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The number of layers of `mask_layers` without a location. A push of an image with such a layer is rejected.
    pub fn without_location(&self) -> usize {
        let is_located = |MaskedLayerName(id): &MaskedLayerName| {
            let digest: Digest = format!("sha256:{id}").parse().expect("an id has the digits of a digest");
            self.images.contains_key(id)
                || self.blobs.contains_key(self.packed.get(&digest).unwrap_or(&digest))
        };
        if self.base_url.is_some() { 0 } else { self.named.iter().filter(|name| !is_located(name)).count() }
    }

    /// A sentence for people: how many layers are masked.
    pub fn summary(&self) -> String {
        format!(
            "{} layers are masked by name, {} Docker v1 images and {} blobs by the operator's documents and base images",
            self.named.len(),
            self.images.len(),
            self.blobs.len()
        )
    }

    /// The mask of a layer, by the digest of its bytes or of its plain tar. `None` if the layer is not masked.
    pub fn blob(&self, digest: &Digest) -> Option<Mask> {
        let packed = self.packed.get(digest).unwrap_or(digest);
        if let Some(served) = self.blobs.get(packed) {
            return Some(Mask { location: Some(served.url.clone()), blob: Some((*packed, served.size)) });
        }
        let named = self.named.contains(&digest.into());
        named.then(|| Mask {
            location: self.base_url.as_ref().map(|base| format!("{base}/blobs/{digest}")),
            blob: None,
        })
    }

    /// The mask of a Docker v1 image's layer. `None` if the layer is not masked.
    pub fn image(&self, id: &ImageId) -> Option<Mask> {
        if let Some(folder) = self.images.get(id) {
            return Some(Mask { location: Some(folder.clone()), blob: None });
        }
        let named = self.named.contains(&MaskedLayerName(*id));
        named
            .then(|| Mask { location: self.base_url.as_ref().map(|base| format!("{base}/{id}")), blob: None })
    }

    /// Masks the layers of a document.
    fn add(&mut self, document: Document) {
        let base = document.url.trim_end_matches('/');
        match document.content {
            Content::V1(v1) => {
                let entries = v1.raas.unwrap_or_default().images;
                for id in v1.images {
                    let location = entries.get(&id).and_then(|entry| entry.location.clone());
                    let folder = location.unwrap_or_else(|| format!("{base}/{id}"));
                    if is_public(&folder) {
                        self.images.entry(id).or_insert(folder);
                    } else {
                        self.named.insert(MaskedLayerName(id));
                    }
                }
            }
            Content::V2(v2) => {
                let Some(extension) = v2.raas else { return };
                for (digest, entry) in extension.blobs {
                    let url = entry.location.unwrap_or_else(|| format!("{base}/blobs/{digest}"));
                    if is_public(&url) {
                        self.blobs.entry(digest).or_insert(ServedBlob { url, size: entry.size });
                    } else {
                        self.named.insert((&digest).into());
                    }
                    if let Some(diff_id) = entry.diff_id {
                        self.packed.entry(diff_id).or_insert(digest);
                    }
                }
            }
        }
    }
}

/// Whether the server can redirect clients to this URL.
fn is_public(url: &str) -> bool {
    url.parse::<Location>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "e1f5733f050b2488a17b7630cb038bfbea8b7bdfa9bdfb99e63a33117e28d02f";

    fn named(mask: &str, url: Option<&str>) -> Masks {
        let redhat = FederationSettings {
            mask_layers: vec![mask.parse().unwrap()],
            layer_url: url.map(str::to_owned),
            ..FederationSettings::default()
        };
        Masks::new(&redhat, &Sources::default())
    }

    #[test]
    fn a_named_layer_is_masked_by_image_id_and_by_digest() {
        let masks = named(ID, Some("https://cdn/x"));
        let digest: Digest = format!("sha256:{ID}").parse().unwrap();
        let location = |mask: Option<Mask>| mask.unwrap().location.unwrap();
        assert_eq!(location(masks.image(&ID.parse().unwrap())), format!("https://cdn/x/{ID}"));
        assert_eq!(location(masks.blob(&digest)), format!("https://cdn/x/blobs/sha256:{ID}"));
        assert_eq!(masks.blob(&Digest::of(b"")), None);
        let unlocated = named(ID, None);
        assert_eq!(unlocated.image(&ID.parse().unwrap()), Some(Mask { location: None, blob: None }));
        assert_eq!((masks.without_location(), unlocated.without_location()), (0, 1));
    }

    #[test]
    fn a_document_masks_its_layers_and_locates_them() {
        let (packed, plain) = (Digest::of(b"packed"), Digest::of(b"plain"));
        let v1 = format!(
            r#"{{"type":"pulp-docker-redirect","version":1,"repository":"b","repo-registry-id":"rhel7",
               "url":"https://cdn/rhel7/","images":[{{"id":"{ID}"}}],"tags":{{}}}}"#
        );
        let v4 = format!(
            r#"{{"type":"pulp-docker-redirect","version":4,"repository":"c","repo-registry-id":"ubi9","url":"https://cdn/ubi9/",
               "raas":{{"tags":{{}},"manifests":{{}},"blobs":{{"{packed}":{{"size":7,"diff_id":"{plain}"}}}}}}}}"#
        );
        let mut sources = Sources::default();
        for text in [v1, v4] {
            let document = Document::parse(text.as_bytes()).unwrap();
            sources.documents.push(OperatorDocument::new("x", document));
        }
        // A layer of a document has a location, also if `mask_layers` names it.
        let named =
            [ID, &packed.hex(), &plain.hex(), &Digest::of(b"other").hex()].map(|hex| hex.parse().unwrap());
        let masks = Masks::new(
            &FederationSettings { mask_layers: named.into(), ..FederationSettings::default() },
            &sources,
        );
        assert_eq!(masks.without_location(), 1);
        let masks = Masks::new(&FederationSettings::default(), &sources);
        let image = masks.image(&ID.parse().unwrap()).unwrap();
        assert_eq!(image.location, Some(format!("https://cdn/rhel7/{ID}")));
        for digest in [packed, plain] {
            let mask = masks.blob(&digest).unwrap();
            assert_eq!(mask.location, Some(format!("https://cdn/ubi9/blobs/{packed}")));
            assert_eq!(mask.blob, Some((packed, 7)));
        }
    }
}
