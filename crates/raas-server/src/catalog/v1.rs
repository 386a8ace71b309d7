//! A repository of Docker's v1 API.

use std::sync::Arc;

use raas_types::{ImageId, RepositoryName, Tag};

use super::MemoryCharge;

/// A repository of Docker v1 images.
#[derive(Debug)]
pub(crate) struct V1Repository {
    pub(crate) name: RepositoryName,
    /// Pulp's id of the repository.
    pub(crate) id: Box<str>,
    /// Sorted by name.
    pub(crate) tags: Box<[(Tag, ImageId)]>,
    /// Sorted by id.
    images: Box<[(ImageId, V1Image)]>,
    /// The path of the document's `url`, if the repository is protected.
    pub(super) url_path: Option<Box<str>>,
    /// The memory that this takes.
    pub(super) charge: Option<MemoryCharge>,
}

/// A Docker v1 image.
#[derive(Debug)]
pub(crate) struct V1Image {
    pub(crate) source: V1Source,
    /// The length of its `layer` file in bytes, if the document names it.
    pub(crate) size: Option<u64>,
}

/// Where the files of an image are. The URLs have no slash at the end and were checked to be visible ASCII.
#[derive(Debug)]
pub(crate) enum V1Source {
    /// In the site's bucket.
    Bucket,
    /// In the bucket if it has them, else below this URL. A document that raas did not write does not say more. All
    /// images of a document share the URL.
    BucketOr(Arc<str>),
    /// In the folder with this URL: a masked image.
    Elsewhere(Box<str>),
}

impl V1Source {
    /// The repository with the lowest rank serves an image that several repositories have.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            V1Source::Bucket => 0,
            V1Source::BucketOr(_) => 1,
            V1Source::Elsewhere(_) => 2,
        }
    }
}

impl V1Repository {
    pub(crate) fn new(
        name: RepositoryName,
        id: String,
        mut tags: Vec<(Tag, ImageId)>,
        mut images: Vec<(ImageId, V1Image)>,
    ) -> Self {
        tags.sort_unstable();
        images.sort_unstable_by_key(|(id, _)| *id);
        Self { name, id: id.into(), tags: tags.into(), images: images.into(), url_path: None, charge: None }
    }

    pub(crate) fn tag(&self, tag: &str) -> Option<ImageId> {
        let at = self.tags.binary_search_by(|(other, _)| other.as_str().cmp(tag)).ok()?;
        Some(self.tags[at].1)
    }

    pub(crate) fn images(&self) -> impl ExactSizeIterator<Item = (&ImageId, &V1Image)> {
        self.images.iter().map(|(id, image)| (id, image))
    }

    pub(crate) fn image(&self, id: &ImageId) -> Option<&V1Image> {
        let at = self.images.binary_search_by_key(id, |(other, _)| *other).ok()?;
        Some(&self.images[at].1)
    }
}
