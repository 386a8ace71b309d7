//! The signatures that a repository publishes beside its images: cosign's, those in referrers, and atomic signatures.

use std::collections::{BTreeMap, BTreeSet};

use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;
use raas_publish::home::Vendor;
use raas_publish::publication::Current;
use raas_publish::record::Record;
use raas_signatures::signature_manifest::{self, MAX_SIGNATURES};
use raas_types::crane::{BlobEntry, tree};
use raas_types::{
    AtomicSignature, Descriptor, Digest, Manifest, ManifestBody, ObjectKey, RepositoryName, media_type,
};

use super::source::Signatures;
use super::transfer::{Stored, StoredManifest};

/// Stores a small object.
pub(super) type Put<'a> = &'a dyn Fn(&ObjectKey, &[u8]) -> Result<(), Failure>;

/// What a repository publishes so far of the images of a push: which of them, and their signatures.
#[derive(Debug, Default)]
pub(super) struct PublishedSignatures {
    /// The published manifests of the repository.
    manifests: BTreeSet<Digest>,
    /// Those that are no images by what is published of them, so each may refer to an image. With their media types.
    attachments: BTreeMap<Digest, String>,
    /// The published blobs of the repository.
    blobs: BTreeMap<Digest, BlobEntry>,
    /// Where the manifests are, with their folder. `None` if nothing is published.
    record: Option<(Record, CommitId, RepositoryName)>,
    /// The signatures under cosign's tags by their image.
    signatures: BTreeMap<Digest, Published>,
    /// The atomic signatures by their image.
    atomic: Signatures,
    /// Whether they stay published if the source has none.
    stay: bool,
}

/// The published manifest with the signatures of one image.
#[derive(Debug)]
struct Published {
    digest: Digest,
    bytes: Vec<u8>,
    media_type: String,
    layers: Vec<Descriptor>,
    /// Its config and its layers.
    blobs: BTreeMap<Digest, BlobEntry>,
}

/// A published manifest that refers to an image.
#[derive(Debug)]
pub(super) struct PublishedReferrer {
    digest: Digest,
    /// The image.
    pub(super) subject: Digest,
    pub(super) manifest: Manifest,
    bytes: Vec<u8>,
    media_type: String,
}

impl PublishedSignatures {
    /// Reads the manifests of the signatures of these images. With `prune`, only the push's own content stays.
    pub(super) fn read<'i>(
        vendor: &Vendor,
        name: &RepositoryName,
        images: impl Iterator<Item = &'i Digest>,
        prune: bool,
    ) -> Result<Self, Failure> {
        let mut published = Self { stay: !prune, ..Self::default() };
        if !vendor.exists()? {
            return Ok(published);
        }
        let record = vendor.record();
        let Some(head) = record.head()? else { return Ok(published) };
        let Some(v2) = Current::read(&record, &head, name)?.v2 else { return Ok(published) };
        for image in images {
            if let Some(atomic) = v2.signatures.get(image) {
                published.atomic.insert(*image, atomic.clone());
            }
            let Some(digest) = v2.tags.get(&signature_manifest::tag(image)) else { continue };
            let Some(entry) = v2.manifests.get(digest) else { continue };
            if let Some(bytes) = record.read(&head, &tree::manifest(name, digest))? {
                let (config, layers) = parts_of(&bytes).unzip();
                let layers = layers.unwrap_or_default();
                let mut blobs = BTreeMap::new();
                for blob in config.iter().chain(&layers) {
                    blobs.extend(v2.blobs.get(&blob.digest).map(|entry| (blob.digest, entry.clone())));
                }
                let (digest, media_type) = (*digest, entry.media_type.clone());
                published.signatures.insert(*image, Published { digest, bytes, media_type, layers, blobs });
            }
        }
        for (digest, entry) in v2.manifests {
            published.manifests.insert(digest);
            if entry.platform.is_none() && entry.image.is_none() {
                published.attachments.insert(digest, entry.media_type);
            }
        }
        published.blobs = v2.blobs;
        published.record = Some((record, head, name.clone()));
        Ok(published)
    }

    /// The published manifests that refer to these images.
    ///
    /// # Errors
    /// The record cannot be read.
    pub(super) fn referrers(&self, images: &BTreeSet<Digest>) -> Result<Vec<PublishedReferrer>, Failure> {
        let Some((record, head, name)) = self.record.as_ref().filter(|_| !images.is_empty()) else {
            return Ok(Vec::new());
        };
        let reader = record.reader(head)?;
        let mut referrers = Vec::new();
        for (digest, media_type) in &self.attachments {
            let Some(bytes) = reader.read(&tree::manifest(name, digest))? else { continue };
            let Ok(manifest) = Manifest::parse(&bytes, Some(media_type)) else { continue };
            if let Some(subject) = manifest.subject.as_ref().map(|subject| subject.digest)
                && images.contains(&subject)
            {
                let (digest, media_type) = (*digest, media_type.clone());
                referrers.push(PublishedReferrer { digest, subject, manifest, bytes, media_type });
            }
        }
        Ok(referrers)
    }

    /// Whether the repository publishes this manifest already.
    pub(super) fn has(&self, manifest: &Digest) -> bool {
        self.manifests.contains(manifest)
    }

    /// The layers of the image's signatures.
    pub(super) fn layers(&self, image: &Digest) -> &[Descriptor] {
        self.signatures.get(image).map_or(&[], |published| published.layers.as_slice())
    }

    /// The atomic signatures of the image.
    pub(super) fn atomic(&self, image: &Digest) -> &[AtomicSignature] {
        self.atomic.get(image).map_or(&[], Vec::as_slice)
    }

    /// Whether they stay published if the source has none.
    pub(super) fn stay(&self) -> bool {
        self.stay
    }

    /// Keeps the signatures of these images, and these referrers, published beside those of the source.
    ///
    /// # Errors
    /// The storage fails, or an image has too many signatures.
    pub(super) fn keep(
        &self,
        images: &BTreeSet<Digest>,
        referrers: &[PublishedReferrer],
        name: &RepositoryName,
        stored: &mut Stored,
        put: Put<'_>,
    ) -> Result<(), Failure> {
        if !self.stay {
            referrers.iter().for_each(|referrer| self.keep_referrer(referrer, stored));
        }
        for image in images {
            for signature in self.atomic(image) {
                add_atomic(stored, image, signature);
            }
            let Some(published) = self.signatures.get(image) else { continue };
            let tag = signature_manifest::tag(image);
            let of_source = stored.tags.get(&tag).copied();
            if of_source == Some(published.digest) || (of_source.is_none() && self.stay) {
                continue;
            }
            let blobs = published.blobs.iter().map(|(digest, entry)| (*digest, entry.clone()));
            stored.blobs.extend(blobs);
            match of_source.and_then(|digest| stored.manifests.get(&digest)) {
                Some(manifest) => {
                    let mut layers = layers_of(&manifest.bytes);
                    let missing = published.layers.iter().filter(|layer| !layers.contains(layer));
                    let missing: Vec<Descriptor> = missing.cloned().collect();
                    layers.extend(missing);
                    publish_signatures(name, image, &layers, stored, put)?;
                }
                None => {
                    let Published { digest, bytes, media_type, .. } = published;
                    let (bytes, media_type) = (bytes.clone(), media_type.clone());
                    stored.tags.insert(tag, *digest);
                    let manifest = StoredManifest { bytes, media_type, platform: None, facts: None };
                    stored.manifests.insert(*digest, manifest);
                }
            }
        }
        Ok(())
    }

    fn keep_referrer(&self, referrer: &PublishedReferrer, stored: &mut Stored) {
        let PublishedReferrer { digest, manifest, bytes, media_type, .. } = referrer;
        for blob in manifest.blobs() {
            stored.blobs.extend(self.blobs.get(&blob.digest).map(|entry| (blob.digest, entry.clone())));
        }
        let (bytes, media_type) = (bytes.clone(), media_type.clone());
        let kept = StoredManifest { bytes, media_type, platform: None, facts: None };
        stored.manifests.entry(*digest).or_insert(kept);
    }
}

/// Adds an atomic signature to those of the push, unless it is among them.
pub(super) fn add_atomic(stored: &mut Stored, image: &Digest, signature: &AtomicSignature) {
    let all = stored.signatures.entry(*image).or_default();
    if !all.iter().any(|known| known.is_same(signature)) {
        all.push(signature.clone());
    }
}

/// Makes the manifest of an image's signatures, and puts it in the place of the source's manifest of signatures.
///
/// # Errors
/// The storage fails, or there are too many signatures.
pub(super) fn publish_signatures(
    name: &RepositoryName,
    image: &Digest,
    layers: &[Descriptor],
    stored: &mut Stored,
    put: Put<'_>,
) -> Result<(), Failure> {
    let tag = signature_manifest::tag(image);
    if layers.len() > MAX_SIGNATURES {
        let message = format!(
            "{tag} would have {} signatures, but podman reads at most {MAX_SIGNATURES}",
            layers.len()
        );
        return Err(Failure::new(Kind::Refused, message)
            .hint("remove signatures of old keys with `raas unpublish ISV IMAGE:TAG` of that tag"));
    }
    let made = signature_manifest::make(layers);
    put(&ObjectKey::Blob(name.clone(), Digest::of(&made.config)), &made.config)?;
    stored.blobs.insert(Digest::of(&made.config), blob_entry(made.config.len()));
    let digest = Digest::of(&made.manifest);
    let of_source = stored.tags.insert(tag, digest);
    let media_type = media_type::OCI_MANIFEST.to_owned();
    let manifest = StoredManifest { bytes: made.manifest, media_type, platform: None, facts: None };
    stored.manifests.insert(digest, manifest);
    if let Some(old) = of_source.filter(|old| *old != digest && !stored.tags.values().any(|kept| kept == old))
    {
        // The new manifest has all signatures of the source's manifest.
        stored.manifests.remove(&old);
    }
    Ok(())
}

/// The entry of a small blob in the bucket.
pub(super) fn blob_entry(size: usize) -> BlobEntry {
    BlobEntry { size: size as u64, diff_id: None, location: None }
}

/// The layers of a manifest of signatures.
pub(super) fn layers_of(manifest: &[u8]) -> Vec<Descriptor> {
    parts_of(manifest).map(|(_, layers)| layers).unwrap_or_default()
}

/// The config and the layers of a manifest of signatures.
fn parts_of(manifest: &[u8]) -> Option<(Descriptor, Vec<Descriptor>)> {
    match Manifest::parse(manifest, None).map(|manifest| manifest.body) {
        Ok(ManifestBody::Image { config, layers, .. }) => Some((*config, layers)),
        _ => None,
    }
}
