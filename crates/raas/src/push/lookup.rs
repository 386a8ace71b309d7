//! What the vendor has published already, as far as this image can use it.

use std::collections::{BTreeMap, BTreeSet};

use raas_image::Image;
use raas_types::crane::{Content, Document, V1ImageEntry, tree};
use raas_types::{Digest, ImageId, RepositoryName};

use raas_base::failure::Failure;
use raas_publish::home::Vendor;

/// A stored blob: the repository that has it, its digest and its size.
#[derive(Debug, Clone)]
pub(super) struct StoredBlob {
    pub(super) repository: RepositoryName,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What of this image's layers is published, in any repository of the vendor.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Blobs by digest.
    pub(super) blobs: BTreeMap<Digest, StoredBlob>,
    /// Packed layers by the digest of their plain tar.
    pub(super) packed: BTreeMap<Digest, StoredBlob>,
    /// Docker v1 images.
    pub(super) images: BTreeMap<ImageId, (RepositoryName, V1ImageEntry)>,
}

impl Known {
    /// Reads all documents of the vendor and keeps what the image names.
    pub(super) fn read(vendor: &Vendor, image: &Image) -> Result<Self, Failure> {
        let mut known = Known::default();
        if !vendor.exists() {
            return Ok(known);
        }
        let record = vendor.record();
        let Some(head) = record.head()? else { return Ok(known) };
        let wanted = Wanted::of(image);
        let mut documents = record.files(&head, tree::DATA)?;
        documents.retain(|file| file.path.ends_with(".json"));
        record.read_each(&documents, |_, bytes| {
            // A document that does not parse is for `raas status` to report: nothing of it is reused.
            if let Ok(document) = Document::parse(&bytes) {
                known.take(document, &wanted);
            }
            Ok(())
        })?;
        Ok(known)
    }

    fn take(&mut self, document: Document, wanted: &Wanted) {
        let repository = document.name;
        match document.content {
            Content::V1(v1) => {
                for (id, entry) in v1.raas.unwrap_or_default().images {
                    if wanted.images.contains(&id) && entry.location.is_none() {
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
                    if let Some(diff_id) = entry.diff_id.filter(|id| wanted.diff_ids.contains(id)) {
                        self.packed.entry(diff_id).or_insert_with(|| stored.clone());
                    }
                    // A Docker v1 image finds its blob by the digest that its entry names.
                    if wanted.blobs.contains(&digest) || !wanted.images.is_empty() {
                        self.blobs.entry(digest).or_insert(stored);
                    }
                }
            }
        }
    }
}

/// What the image names.
#[derive(Default)]
struct Wanted {
    blobs: BTreeSet<Digest>,
    diff_ids: BTreeSet<Digest>,
    images: BTreeSet<ImageId>,
}

impl Wanted {
    fn of(image: &Image) -> Self {
        let mut wanted = Wanted::default();
        match image {
            Image::Manifests(set) => wanted.blobs.extend(set.blobs.keys()),
            Image::Saved(set) => wanted.diff_ids.extend(set.layers.keys()),
            Image::V1(set) => wanted.images.extend(set.images.keys()),
        }
        wanted
    }
}
