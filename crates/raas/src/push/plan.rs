//! What is to be done with each layer, decided before anything is stored.

use raas_image::{Blob, Content, Image, ManifestSet, PackedLayer, Packing, SavedSet, V1Set};
use raas_types::crane::V1ImageEntry;
use raas_types::{Digest, ImageId, Location, ObjectKey, RepositoryName};

use super::lookup::{Known, StoredBlob};
use super::report::{Masked, Report};
use raas_base::failure::{Failure, Kind};
use raas_publish::repository_listing::RepositoryListing;
use raas_sources::federation::Masks;

/// What is to be done, and the image that it is done for.
pub(super) struct Plan {
    pub(super) image: PlannedImage,
    pub(super) masked: Vec<Masked>,
}

/// An image with a decision beside each of its layers.
pub(super) enum PlannedImage {
    Manifests(ManifestSet, Vec<(Blob, BlobAction)>),
    Saved(SavedSet, Vec<(Digest, Content, SavedAction)>),
    V1(V1Set, Vec<(ImageId, V1Action)>),
}

/// What is done with a blob whose digest is known.
#[derive(Debug, Clone)]
pub(super) enum BlobAction {
    /// It is in the bucket.
    Present,
    /// Another repository of the bucket has it.
    Copy(StoredBlob),
    /// It is streamed from the source.
    Store(Content),
    /// It stays where it is served from.
    Elsewhere(String),
}

/// What is done with a layer of a docker save archive.
#[derive(Debug, Clone)]
pub(super) enum SavedAction {
    /// It was packed and published before.
    Reuse(StoredBlob, BlobAction),
    /// It is packed.
    Pack,
    /// It stays where it is served from.
    Elsewhere(PackedLayer, String),
}

/// What is done with a Docker v1 image's layer.
#[derive(Debug, Clone)]
pub(super) enum V1Action {
    /// It was published before, as this: its bytes are compared with that.
    Reuse(RepositoryName, V1ImageEntry),
    /// It is stored as it is, and packed.
    Store,
    /// Its three files stay in this folder URL.
    Elsewhere(String),
}

impl Plan {
    /// Decides; refuses a masked layer that nobody says the place of, and a layer that is nowhere.
    pub(super) fn new(
        name: &RepositoryName,
        image: Image,
        masks: &Masks,
        known: &Known,
        held: &RepositoryListing,
    ) -> Result<Self, Failure> {
        let mut planner = Planner { name, masks, known, held, masked: Vec::new(), homeless: Vec::new() };
        let image = match image {
            Image::Manifests(set) => planner.manifests(set)?,
            Image::Saved(set) => planner.saved(set)?,
            Image::V1(set) => planner.v1(set)?,
        };
        if !planner.homeless.is_empty() {
            let message =
                format!("nobody says where masked layers are served from: {}", planner.homeless.join(", "));
            return Err(Failure::new(Kind::Refused, message).hint(
                "name the place in raas.cfg, section [redhat]: `layer_url`, or `metadata` with a document that lists \
                 them under an http or https URL; nothing was stored",
            ));
        }
        Ok(Plan { image, masked: planner.masked })
    }

    /// Fills a report with what this plan would store, for `--dry-run`. Packed sizes are not known before packing:
    /// the plain ones are counted.
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
                        V1Action::Reuse(repository, _) => count(repository == name, size),
                        V1Action::Store => count(false, size),
                        V1Action::Elsewhere(_) => {}
                    }
                }
                report.tags = set.tags.keys().map(|tag| (tag.clone(), None)).collect();
            }
        }
    }
}

/// The URL of a layer that the source does not have, if clients can be sent there.
fn foreign(digest: &Digest, url: &str) -> Result<String, Failure> {
    url.parse::<Location>().map(String::from).map_err(|error| {
        let message =
            format!("layer {digest} is not in the source, and the URL that its manifest names is of no use");
        Failure::new(Kind::Refused, message).caused_by(error).hint("nothing was stored")
    })
}

struct Planner<'a> {
    name: &'a RepositoryName,
    masks: &'a Masks,
    known: &'a Known,
    held: &'a RepositoryListing<'a>,
    masked: Vec<Masked>,
    /// Masked layers without a location.
    homeless: Vec<String>,
}

impl Planner<'_> {
    fn manifests(&mut self, set: ManifestSet) -> Result<PlannedImage, Failure> {
        let mut planned = Vec::new();
        for blob in set.blobs.values() {
            let mask = self.masks.blob(&blob.digest).filter(|_| blob.layer);
            let action = match (mask, blob.urls.first()) {
                (Some(mask), _) => {
                    let Some(location) = mask.location else {
                        self.homeless.push(blob.digest.to_string());
                        continue;
                    };
                    self.masked.push(Masked::new(blob.digest, &location));
                    BlobAction::Elsewhere(location)
                }
                // A layer that must not be redistributed: clients fetch it from the URL in the manifest, unless the
                // bucket has it.
                (None, Some(url)) if blob.content.is_none() => {
                    match self.in_bucket(&blob.digest, blob.size, self.known.blobs.get(&blob.digest))? {
                        Some(there) => there,
                        None => BlobAction::Elsewhere(foreign(&blob.digest, url)?),
                    }
                }
                (None, _) => self.blob(&blob.digest, blob.size, blob.content.as_ref())?,
            };
            planned.push((blob.clone(), action));
        }
        Ok(PlannedImage::Manifests(set, planned))
    }

    /// Where a blob that belongs in the bucket comes from.
    fn blob(&self, digest: &Digest, size: u64, content: Option<&Content>) -> Result<BlobAction, Failure> {
        if let Some(there) = self.in_bucket(digest, size, self.known.blobs.get(digest))? {
            return Ok(there);
        }
        match content {
            Some(content) => Ok(BlobAction::Store(content.clone())),
            None => Err(Failure::new(
                Kind::Refused,
                format!("blob {digest} is named by a manifest, and neither the source nor the bucket has it"),
            )
            .hint("an incremental export lacks what an earlier one had: push that one first, or export with full=true")),
        }
    }

    /// What is to be done with a blob that the bucket has: in this repository, or in the one where it is known.
    fn in_bucket(
        &self,
        digest: &Digest,
        size: u64,
        known: Option<&StoredBlob>,
    ) -> Result<Option<BlobAction>, Failure> {
        if self.held.has(&ObjectKey::Blob(self.name.clone(), *digest), size)? {
            return Ok(Some(BlobAction::Present));
        }
        match known {
            Some(known) if self.held.has(&ObjectKey::Blob(known.repository.clone(), *digest), size)? => {
                Ok(Some(BlobAction::Copy(known.clone())))
            }
            _ => Ok(None),
        }
    }

    fn saved(&mut self, set: SavedSet) -> Result<PlannedImage, Failure> {
        let mut planned = Vec::new();
        for (diff_id, content) in &set.layers {
            let action = match self.masks.blob(diff_id) {
                Some(mask) => {
                    let Some(location) = mask.location else {
                        self.homeless.push(diff_id.to_string());
                        continue;
                    };
                    self.masked.push(Masked::new(*diff_id, &location));
                    // A document may know the packed layer that this plain one is served as; otherwise it is served
                    // as it is.
                    let (digest, size) = mask.blob.unwrap_or((*diff_id, content.size()));
                    let packing = if digest == *diff_id { Packing::Plain } else { Packing::Gzip };
                    SavedAction::Elsewhere(PackedLayer { digest, size, diff_id: *diff_id, packing }, location)
                }
                None => match self.known.packed.get(diff_id) {
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
                    let Some(location) = mask.location else {
                        self.homeless.push(id.to_string());
                        continue;
                    };
                    self.masked.push(Masked::new(*id, &format!("{location}/layer")));
                    V1Action::Elsewhere(location)
                }
                None if image.layer.is_none() || image.json.is_none() => {
                    let message = format!(
                        "image {id} is not whole in the source: it has no layer or no json, and is not masked"
                    );
                    return Err(Failure::new(Kind::Refused, message).hint(
                        "if the operator serves it, name it in `mask_layers` of raas.cfg; nothing was stored",
                    ));
                }
                None => match self.known.images.get(id) {
                    Some((repository, entry)) => V1Action::Reuse(repository.clone(), entry.clone()),
                    None => V1Action::Store,
                },
            };
            planned.push((*id, action));
        }
        Ok(PlannedImage::V1(set, planned))
    }
}
