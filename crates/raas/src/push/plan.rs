//! The plan of a push: an action for each layer, decided before anything is stored.

use std::fmt::Display;

use raas_image::{Blob, Content, Image, ManifestSet, PackedLayer, Packing, SavedSet, SourceKind, V1Set};
use raas_types::crane::V1ImageEntry;
use raas_types::{Digest, ImageId, Location, ObjectKey, RepositoryName, Tag};

use super::lookup::{PublishedContent, StoredBlob};
use super::report::{Masked, Report};
use raas_base::failure::{Failure, Kind};
use raas_publish::repository_listing::RepositoryListing;
use raas_sources::federation::{MaskedWithoutLocation, Masks};

/// The base URL of masked layers without a known location, if the configuration allows them. No client can resolve the
/// host, and its name says what is missing. Source: RFC 2606, section 2, for `.invalid`.
pub(super) const NO_LOCATION: &str = "https://layer-url-is-not-set.invalid";

/// What the push does with each layer of the image.
pub(super) struct Plan {
    pub(super) image: PlannedImage,
    pub(super) masked: Vec<Masked>,
}

/// An image with an action for each of its layers.
pub(super) enum PlannedImage {
    Manifests(ManifestSet, Vec<(Blob, BlobAction)>),
    Saved(SavedSet, Vec<(Digest, Content, SavedAction)>),
    V1(V1Set, Vec<(ImageId, V1Action)>),
}

/// The action for a blob whose digest is known before the transfer.
#[derive(Debug, Clone)]
pub(super) enum BlobAction {
    /// Nothing to do: the repository has the blob.
    Present,
    /// Copy the blob from another repository of the bucket.
    Copy(StoredBlob),
    /// Stream the blob from the source into the bucket.
    Store(Content),
    /// Nothing to store: servers send clients to this URL.
    Elsewhere(String),
}

/// The action for a layer of a docker save archive.
#[derive(Debug, Clone)]
pub(super) enum SavedAction {
    /// Use the packed layer of an earlier publication.
    Reuse(StoredBlob, BlobAction),
    /// Pack the layer and store it.
    Pack,
    /// Nothing to store: servers send clients to this URL.
    Elsewhere(PackedLayer, String),
}

/// The action for the layer of a Docker v1 image.
#[derive(Debug, Clone)]
pub(super) enum V1Action {
    /// Use the layer of an earlier publication, if its bytes are the same and the bucket has it as it was published.
    Reuse(PublishedImage),
    /// Store the layer as it is and, for today's clients, packed.
    Store,
    /// Nothing to store: servers send clients to this URL, which is a folder of the image's three files.
    Elsewhere(String),
}

/// A Docker v1 image as an earlier publication has it.
#[derive(Debug, Clone)]
pub(super) struct PublishedImage {
    /// The repository that has it.
    pub(super) repository: RepositoryName,
    pub(super) entry: V1ImageEntry,
    /// The length in bytes of its packed layer, as published.
    pub(super) blob_size: u64,
}

impl Plan {
    /// The tags that the plan publishes.
    pub(super) fn tags(&self) -> Vec<&Tag> {
        match &self.image {
            PlannedImage::Manifests(set, _) => set.tags.keys().collect(),
            PlannedImage::Saved(set, _) => set.images.iter().flat_map(|image| &image.tags).collect(),
            PlannedImage::V1(set, _) => set.tags.keys().collect(),
        }
    }

    /// Fills the report of a dry run with what this plan would store. The size of a packed layer is not known before
    /// packing, so the report counts the unpacked size.
    pub(super) fn foresee(&self, name: &RepositoryName, report: &mut Report) {
        let mut count = |present: bool, size| {
            if present { report.present.add(size) } else { report.stored.add(size) }
        };
        match &self.image {
            PlannedImage::Manifests(set, blobs) => {
                for (blob, action) in blobs {
                    if !matches!(action, BlobAction::Elsewhere(_)) {
                        count(matches!(action, BlobAction::Present), blob.size);
                    }
                }
                report.tags = set.tags.iter().map(|(tag, digest)| (tag.clone(), Some(*digest))).collect();
            }
            PlannedImage::Saved(set, layers) => {
                for (_, content, action) in layers {
                    match action {
                        SavedAction::Reuse(stored, how) => {
                            count(matches!(how, BlobAction::Present), stored.size);
                        }
                        SavedAction::Pack => count(false, content.size()),
                        SavedAction::Elsewhere(..) => {}
                    }
                }
                let tags = set.images.iter().flat_map(|image| &image.tags);
                report.tags = tags.map(|tag| (tag.clone(), None)).collect();
            }
            PlannedImage::V1(set, images) => {
                for (id, action) in images {
                    let size = set.images[id].layer.as_ref().map_or(0, Content::size);
                    match action {
                        V1Action::Reuse(published) => count(published.repository == *name, size),
                        V1Action::Store => count(false, size),
                        V1Action::Elsewhere(_) => {}
                    }
                }
                report.tags = set.tags.keys().map(|tag| (tag.clone(), None)).collect();
            }
        }
    }
}

/// The location of a Docker v1 image in the document of its source. `None` if it is no URL for clients.
fn own_location(set: &V1Set, id: &ImageId) -> Option<String> {
    let folder = format!("{}/{id}", set.url.as_deref()?.trim_end_matches('/'));
    folder.parse::<Location>().ok().map(String::from)
}

/// Checks the URL of a layer that the source does not have: servers send clients to it.
fn foreign(digest: &Digest, url: &str) -> Result<String, Failure> {
    url.parse::<Location>().map(String::from).map_err(|error| {
        let message =
            format!("layer {digest} is not in the source, and the URL in its manifest cannot be used");
        Failure::new(Kind::Refused, message)
            .caused_by(error)
            .hint("push a source that has the layer; nothing was stored")
    })
}

/// Decides the action for each layer.
pub(super) struct Planner<'a> {
    name: &'a RepositoryName,
    /// The format of the archive; `None` for a repository in a registry.
    kind: Option<SourceKind>,
    masks: &'a Masks,
    published: &'a PublishedContent,
    listing: &'a RepositoryListing<'a>,
    masked: Vec<Masked>,
    /// Masked layers without a location, for which the image is rejected.
    without_location: Vec<String>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        name: &'a RepositoryName,
        kind: Option<SourceKind>,
        masks: &'a Masks,
        published: &'a PublishedContent,
        listing: &'a RepositoryListing<'a>,
    ) -> Self {
        Self { name, kind, masks, published, listing, masked: Vec::new(), without_location: Vec::new() }
    }

    /// Plans the image. Rejects an image with a masked layer without a location, and an image with a layer that neither
    /// the source nor the bucket has.
    pub(super) fn plan(mut self, image: Image) -> Result<Plan, Failure> {
        let image = match image {
            Image::Manifests(set) => self.manifests(set)?,
            Image::Saved(set) => self.saved(set)?,
            Image::V1(set) => self.v1(set)?,
        };
        if !self.without_location.is_empty() {
            let message =
                format!("masked layers have no known location: {}", self.without_location.join(", "));
            return Err(Failure::new(Kind::Refused, message).hint(
                "set `layer_url` in [redhat] of raas.cfg, or `metadata` with a document that lists the layers under an \
                 http or https URL; nothing was stored",
            )
            .hint(
                "set `masked_without_location = warn` in [redhat] to publish the image nevertheless; clients cannot pull it \
                 then",
            ));
        }
        Ok(Plan { image, masked: self.masked })
    }

    fn blob_location(&mut self, known: Option<String>, digest: &Digest) -> Option<String> {
        self.location(known, digest, &format!("blobs/{digest}"))
    }

    /// The location of a masked layer. A layer without a known one rejects the image (`None`), or gets the path `below`
    /// under [`NO_LOCATION`].
    fn location(&mut self, known: Option<String>, layer: impl Display, below: &str) -> Option<String> {
        if known.is_none() && self.masks.when_without_location() == MaskedWithoutLocation::Refuse {
            self.without_location.push(layer.to_string());
            return None;
        }
        Some(known.unwrap_or_else(|| format!("{NO_LOCATION}/{below}")))
    }

    fn manifests(&mut self, set: ManifestSet) -> Result<PlannedImage, Failure> {
        let mut planned = Vec::new();
        for blob in set.blobs.values() {
            let mask = self.masks.blob(&blob.digest).filter(|_| blob.layer);
            let action = match (mask, blob.urls.first()) {
                (Some(mask), _) => {
                    let Some(location) = self.blob_location(mask.location, &blob.digest) else { continue };
                    self.masked.push(Masked::new(blob.digest, &location));
                    BlobAction::Elsewhere(location)
                }
                // A source leaves out a layer that it may not redistribute. Clients fetch it from the URL in the
                // manifest, unless the bucket has it.
                (None, Some(url)) if blob.content.is_none() => {
                    match self.in_bucket(&blob.digest, blob.size, self.published.blobs.get(&blob.digest))? {
                        Some(action) => action,
                        None => BlobAction::Elsewhere(foreign(&blob.digest, url)?),
                    }
                }
                (None, _) => self.blob(&blob.digest, blob.size, blob.content.as_ref())?,
            };
            planned.push((blob.clone(), action));
        }
        Ok(PlannedImage::Manifests(set, planned))
    }

    /// The action for a blob that belongs in the bucket.
    fn blob(&self, digest: &Digest, size: u64, content: Option<&Content>) -> Result<BlobAction, Failure> {
        if let Some(action) = self.in_bucket(digest, size, self.published.blobs.get(digest))? {
            return Ok(action);
        }
        match content {
            Some(content) => Ok(BlobAction::Store(content.clone())),
            None => Err(Failure::new(
                Kind::Refused,
                format!("a manifest names the blob {digest}, but neither the source nor the bucket has it"),
            )
            .hint(match self.kind {
                Some(SourceKind::Pulp3) => {
                    "push the earlier export first if this one is incremental, or export with full=true"
                }
                _ => "save or copy the image again: the source is incomplete; nothing was published",
            })),
        }
    }

    /// The action for a blob that the bucket has, in this repository or in the repository of `published`. `None` if the
    /// bucket does not have the blob.
    fn in_bucket(
        &self,
        digest: &Digest,
        size: u64,
        published: Option<&StoredBlob>,
    ) -> Result<Option<BlobAction>, Failure> {
        if self.listing.has(&ObjectKey::Blob(self.name.clone(), *digest), size)? {
            return Ok(Some(BlobAction::Present));
        }
        match published {
            Some(blob) => {
                let key = ObjectKey::Blob(blob.repository.clone(), *digest);
                let can_copy = self.listing.has_to_copy(&key, size, digest)?;
                Ok(can_copy.then(|| BlobAction::Copy(blob.clone())))
            }
            None => Ok(None),
        }
    }

    fn saved(&mut self, set: SavedSet) -> Result<PlannedImage, Failure> {
        let mut planned = Vec::new();
        for (diff_id, content) in &set.layers {
            let action = match self.masks.blob(diff_id) {
                Some(mask) => {
                    let Some(location) = self.blob_location(mask.location, diff_id) else { continue };
                    self.masked.push(Masked::new(*diff_id, &location));
                    // A document may name the packed form of this layer. Without one, the location serves the layer
                    // unpacked.
                    let (digest, size) = mask.blob.unwrap_or((*diff_id, content.size()));
                    let packing = if digest == *diff_id { Packing::Plain } else { Packing::Gzip };
                    SavedAction::Elsewhere(PackedLayer { digest, size, diff_id: *diff_id, packing }, location)
                }
                None => match self.published.packed.get(diff_id) {
                    Some(stored) => match self.in_bucket(&stored.digest, stored.size, Some(stored))? {
                        Some(action) => SavedAction::Reuse(stored.clone(), action),
                        None => SavedAction::Pack,
                    },
                    None => SavedAction::Pack,
                },
            };
            planned.push((*diff_id, content.clone(), action));
        }
        Ok(PlannedImage::Saved(set, planned))
    }

    fn v1(&mut self, set: V1Set) -> Result<PlannedImage, Failure> {
        let mut planned = Vec::new();
        for (id, image) in &set.images {
            let action = match self.masks.image(id) {
                Some(mask) => {
                    let location = mask.location.or_else(|| own_location(&set, id));
                    let Some(location) = self.location(location, id, &id.to_string()) else { continue };
                    self.masked.push(Masked::new(*id, &format!("{location}/layer")));
                    V1Action::Elsewhere(location)
                }
                None if image.layer.is_none() || image.json.is_none() => {
                    let message = format!(
                        "image {id} is incomplete in the source: it has no layer or no json, and is not masked"
                    );
                    return Err(Failure::new(Kind::Refused, message).hint(
                        "add the image to `mask_layers` in raas.cfg if the operator serves it; nothing was stored",
                    ));
                }
                None => match self.published.images.get(id) {
                    // Without the published size, the push cannot check whether the bucket still has the blob.
                    Some((repository, entry)) => match self.published.blobs.get(&entry.blob) {
                        Some(blob) => V1Action::Reuse(PublishedImage {
                            repository: repository.clone(),
                            entry: entry.clone(),
                            blob_size: blob.size,
                        }),
                        None => V1Action::Store,
                    },
                    None => V1Action::Store,
                },
            };
            planned.push((*id, action));
        }
        Ok(PlannedImage::V1(set, planned))
    }
}
