//! A repository as Docker v1 clients pull it.

use raas_types::{ImageId, RepositoryName, Tag};

/// A repository of Docker v1 images.
#[derive(Debug)]
pub(crate) struct V1Repository {
    pub(crate) name: RepositoryName,
    /// Pulp's id of it.
    pub(crate) id: Box<str>,
    /// By name.
    pub(crate) tags: Box<[(Tag, ImageId)]>,
    /// By id.
    images: Box<[(ImageId, V1Image)]>,
}

/// A Docker v1 image.
#[derive(Debug)]
pub(crate) struct V1Image {
    pub(crate) source: V1Source,
    /// Length of its `layer` file, where the document says.
    pub(crate) size: Option<u64>,
}

/// Where the files of an image are. URLs are without a slash at the end and may stand in a header.
#[derive(Debug)]
pub(crate) enum V1Source {
    /// In the site's bucket.
    Bucket,
    /// In the bucket if it has them, else below this URL: a document that raas did not write says no more.
    BucketOr(Box<str>),
    /// In the folder with this URL: a masked image.
    Elsewhere(Box<str>),
}

impl V1Source {
    /// The lower, the sooner it is taken where several repositories have the image.
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
        Self { name, id: id.into(), tags: tags.into(), images: images.into() }
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
