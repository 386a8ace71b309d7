//! The plan of a push: an action for each layer, decided before anything is stored.

use std::collections::BTreeSet;
use std::fmt::Display;

use raas_image::{Blob, Content, Image, ManifestSet, PackedLayer, Packing, SavedSet, SourceKind, V1Set};
use raas_types::crane::V1ImageEntry;
use raas_types::{Digest, ImageId, Location, RepositoryName, Tag};

use super::earlier::{EarlierBlob, EarlierBlobs};
use super::image_failure::incomplete_hint;
use super::incomplete::leave_out_incomplete;
use super::lookup::{PublishedContent, StoredBlob};
use super::report::{Masked, Report};
use super::untagged::untagged;
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
    /// What the user should know.
    pub(super) notes: Vec<String>,
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
                let manifests: Vec<_> =
                    set.manifests.iter().map(|(digest, item)| (*digest, &item.manifest)).collect();
                report.untagged = untagged(&manifests, set.tags.values());
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
    /// The format of the archive; `None` for a repository in a registry.
    kind: Option<SourceKind>,
    masks: &'a Masks,
    published: &'a PublishedContent,
    earlier: EarlierBlobs<'a>,
    masked: Vec<Masked>,
    /// Masked layers without a location, for which the image is rejected.
    without_location: Vec<String>,
    notes: Vec<String>,
    /// Blobs that neither the source nor the bucket has, for which the image is rejected.
    missing: Vec<Digest>,
}

/// The most missing blobs that the error names. It only counts the others.
const MOST_MISSING: usize = 10;

impl<'a> Planner<'a> {
    pub(super) fn new(
        name: &'a RepositoryName,
        kind: Option<SourceKind>,
        masks: &'a Masks,
        published: &'a PublishedContent,
        listing: &'a RepositoryListing<'a>,
    ) -> Self {
        let earlier = EarlierBlobs { name, listing };
        let (masked, without_location, missing, notes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { kind, masks, published, earlier, masked, without_location, missing, notes }
    }

    /// Plans the image. Rejects an image with a masked layer without a location, and an image with a layer that neither
    /// the source nor the bucket has.
    pub(super) fn plan(mut self, image: Image) -> Result<Plan, Failure> {
        let since = match &image {
            Image::Manifests(set) => set.since.clone(),
            Image::Saved(_) | Image::V1(_) => None,
        };
        let image = match image {
            Image::Manifests(set) => self.manifests(set)?,
            Image::Saved(set) => self.saved(set)?,
            Image::V1(set) => self.v1(set)?,
        };
        if !self.missing.is_empty() {
            return Err(self.failure_of_missing(since.as_deref()));
        }
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
        Ok(Plan { image, masked: self.masked, notes: self.notes })
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

    fn manifests(&mut self, mut set: ManifestSet) -> Result<PlannedImage, Failure> {
        let absent = self.absent(&set)?;
        self.notes.extend(leave_out_incomplete(&mut set, &absent));
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
                (None, _) => match self.blob(&blob.digest, blob.size, blob.content.as_ref())? {
                    Some(action) => action,
                    None => {
                        self.missing.push(blob.digest);
                        continue;
                    }
                },
            };
            planned.push((blob.clone(), action));
        }
        Ok(PlannedImage::Manifests(set, planned))
    }

    /// The blobs of a set that are nowhere: neither in the source, nor in the bucket, nor at a location.
    fn absent(&self, set: &ManifestSet) -> Result<BTreeSet<Digest>, Failure> {
        let mut missing = BTreeSet::new();
        for blob in set.blobs.values().filter(|blob| blob.content.is_none() && blob.urls.is_empty()) {
            let is_masked = blob.layer && self.masks.blob(&blob.digest).is_some();
            let published = self.published.blobs.get(&blob.digest);
            if !is_masked && self.in_bucket(&blob.digest, blob.size, published)?.is_none() {
                missing.insert(blob.digest);
            }
        }
        Ok(missing)
    }

    /// The action for a blob that belongs in the bucket. `None` if neither the bucket nor the source has it.
    fn blob(
        &self,
        digest: &Digest,
        size: u64,
        content: Option<&Content>,
    ) -> Result<Option<BlobAction>, Failure> {
        if let Some(action) = self.in_bucket(digest, size, self.published.blobs.get(digest))? {
            return Ok(Some(action));
        }
        Ok(content.map(|content| BlobAction::Store(content.clone())))
    }

    /// The failure for blobs that nobody has. `since` is the publication that an incremental bundle
    /// builds upon.
    fn failure_of_missing(&self, since: Option<&str>) -> Failure {
        let named: Vec<String> =
            self.missing.iter().take(MOST_MISSING).map(|digest| format!("the blob {digest}")).collect();
        let more = self.missing.len().saturating_sub(MOST_MISSING);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let it = if self.missing.len() == 1 { "it" } else { "them" };
        let message = format!(
            "a manifest names {}{more}, but neither the source nor the bucket has {it}",
            named.join(", ")
        );
        let hint = match since {
            Some(since) => format!(
                "push a bundle of publication {since} first, or export again without --since: this source leaves out what \
                 that publication had"
            ),
            None => incomplete_hint(self.kind).to_owned(),
        };
        Failure::new(Kind::Refused, message).hint(hint).hint("nothing was published")
    }

    /// The action for a blob that the bucket has. `None` if it does not have the blob.
    fn in_bucket(
        &self,
        digest: &Digest,
        size: u64,
        published: Option<&StoredBlob>,
    ) -> Result<Option<BlobAction>, Failure> {
        let found = self.earlier.find(digest, size, published)?;
        Ok(found.map(|found| match found {
            EarlierBlob::Here => BlobAction::Present,
            EarlierBlob::In(blob) => BlobAction::Copy(blob),
        }))
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
