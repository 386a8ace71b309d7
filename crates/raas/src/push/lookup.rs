//! Published content of the vendor that the pushed image can use again.

use std::collections::{BTreeMap, BTreeSet};

use raas_image::Image;
use raas_types::crane::{Content, Document, V1ImageEntry, tree};
use raas_types::{Digest, ImageId, RepositoryName};

use raas_base::failure::Failure;
use raas_publish::home::Vendor;

/// A blob in the bucket, with the repository that has it. `size` is in bytes.
#[derive(Debug, Clone)]
pub(super) struct StoredBlob {
    pub(super) repository: RepositoryName,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// Layers of the image that are published already, in any repository of the vendor.
#[derive(Debug, Default)]
pub(super) struct PublishedContent {
    /// Blobs by digest.
    pub(super) blobs: BTreeMap<Digest, StoredBlob>,
    /// Packed layers by the digest of the unpacked tar.
    pub(super) packed: BTreeMap<Digest, StoredBlob>,
    /// Docker v1 images, each with the repository that has it.
    pub(super) images: BTreeMap<ImageId, (RepositoryName, V1ImageEntry)>,
}

impl PublishedContent {
    /// Reads all documents of the vendor and keeps the entries of the image.
    pub(super) fn read(vendor: &Vendor, image: &Image) -> Result<Self, Failure> {
        let mut published = PublishedContent::default();
        if !vendor.exists()? {
            return Ok(published);
        }
        let record = vendor.record();
        let Some(head) = record.head()? else { return Ok(published) };
        let parts = ImageParts::of(image);
        let mut documents = record.files(&head, tree::DATA)?;
        documents.retain(|file| file.path.ends_with(".json"));
        record.read_each(&documents, |_, bytes| {
            // Nothing of a document that does not parse is used again. `raas status` reports the document.
            if let Ok(document) = Document::parse(&bytes) {
                published.take(document, &parts);
            }
            Ok(())
        })?;
        Ok(published)
    }

    fn take(&mut self, document: Document, parts: &ImageParts) {
        let repository = document.name;
        match document.content {
            Content::V1(v1) => {
                for (id, entry) in v1.raas.unwrap_or_default().images {
                    if parts.images.contains(&id) && entry.location.is_none() {
                        self.images.entry(id).or_insert((repository.clone(), entry));
                    }
                }
            }
            Content::V2(v2) => {
                for (digest, entry) in v2.raas.unwrap_or_default().blobs {
                    if entry.location.is_some() {
                        continue;
                    }
                    let stored = StoredBlob { repository: repository.clone(), digest, size: entry.size };
                    if let Some(diff_id) = entry.diff_id.filter(|id| parts.diff_ids.contains(id)) {
                        self.packed.entry(diff_id).or_insert_with(|| stored.clone());
                    }
                    // A Docker v1 image does not tell the digest of its blob, only its published entry does. So all
                    // blobs are kept for it.
                    if parts.blobs.contains(&digest) || !parts.images.is_empty() {
                        self.blobs.entry(digest).or_insert(stored);
                    }
                }
            }
        }
    }
}

/// The digests and ids in the image.
#[derive(Default)]
struct ImageParts {
    blobs: BTreeSet<Digest>,
    diff_ids: BTreeSet<Digest>,
    images: BTreeSet<ImageId>,
}

impl ImageParts {
    fn of(image: &Image) -> Self {
        let mut parts = ImageParts::default();
        match image {
            Image::Manifests(set) => parts.blobs.extend(set.blobs.keys()),
            Image::Saved(set) => parts.diff_ids.extend(set.layers.keys()),
            Image::V1(set) => parts.images.extend(set.images.keys()),
        }
        parts
    }
}
