//! The manifests at the top of a source, and what they are to each other.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::{Descriptor, Digest, Manifest, Platform, Tag, media_type};

use crate::select::{ListedImage, Role};
use crate::{ImageError, Limits, Rule, Store, StoredManifest};

/// A manifest that the source lists at its top, under one of its names.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) digest: Digest,
    pub(crate) media_type: Option<String>,
    /// The length in bytes; `None` if nothing says it.
    pub(crate) size: Option<u64>,
    pub(crate) platform: Option<Platform>,
    pub(crate) tag: Option<Tag>,
    /// A name that holds no valid tag.
    pub(crate) unusable: Option<String>,
}

impl Root {
    /// A root without a descriptor.
    pub(crate) fn by_digest(digest: Digest) -> Self {
        Root { digest, media_type: None, size: None, platform: None, tag: None, unusable: None }
    }

    pub(crate) fn of(descriptor: &Descriptor, tag: Option<Tag>) -> Self {
        Root {
            digest: descriptor.digest,
            media_type: Some(descriptor.media_type.clone()).filter(|media_type| !media_type.is_empty()),
            size: known_size(descriptor),
            platform: descriptor.platform.clone(),
            tag,
            unusable: None,
        }
    }
}

/// The size of a manifest in its descriptor. Old lists have none, and no manifest is empty.
pub(crate) fn known_size(descriptor: &Descriptor) -> Option<u64> {
    Some(descriptor.size).filter(|size| *size > 0)
}

/// Whether the media type is that of a file that is no manifest.
pub(crate) fn is_other_file(media_type: &str) -> bool {
    !media_type.is_empty()
        && !media_type::is_index(media_type)
        && !media_type::is_image_manifest(media_type)
        && !media_type::is_schema1(media_type)
}

/// The roots as images, each once with all of its names. `all` are the roots that may list others.
pub(crate) fn list(
    store: &dyn Store,
    roots: &[Root],
    all: &[Root],
    limits: &Limits,
) -> Result<Vec<ListedImage>, ImageError> {
    let mut reader = Reader::new(store, limits);
    let mut listed: Vec<ListedImage> = Vec::new();
    let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
    for root in roots {
        let place = *places.entry(root.digest).or_insert_with(|| {
            let media_type = root.media_type.as_deref().unwrap_or_default();
            let role = match is_other_file(media_type) {
                true => Role::NotManifest(media_type.to_owned()),
                false => Role::Image,
            };
            let (digest, platform) = (root.digest, root.platform.clone());
            listed.push(ListedImage { digest, tags: Vec::new(), unusable: Vec::new(), platform, role });
            listed.len() - 1
        });
        let image = &mut listed[place];
        image
            .tags
            .extend(root.tag.iter().filter(|tag| !image.tags.contains(tag)).cloned().collect::<Vec<_>>());
        image.unusable.extend(root.unusable.clone());
    }
    let is_nameless =
        |image: &ListedImage| image.role == Role::Image && image.tags.is_empty() && image.unusable.is_empty();
    // Only a nameless root can be a child of another root, and only the bytes of the other roots tell whether it is.
    let distinct = all.iter().map(|root| root.digest).collect::<BTreeSet<_>>().len();
    let children = match distinct > 1 && listed.iter().any(is_nameless) {
        true => children(&mut reader, all)?,
        false => BTreeSet::new(),
    };
    for image in &mut listed {
        let attached = if is_nameless(image) {
            children.contains(&image.digest)
                || reader.peek(&image.digest, None)?.is_some_and(|manifest| manifest.subject.is_some())
        } else {
            image.role == Role::Image
                && !image.tags.is_empty()
                && image.tags.iter().all(|tag| cosign_subject(tag).is_some())
        };
        if attached {
            image.role = Role::Attachment;
        }
    }
    Ok(listed)
}

/// The manifests that the indexes among the roots list.
fn children(reader: &mut Reader<'_>, roots: &[Root]) -> Result<BTreeSet<Digest>, ImageError> {
    /// 32 MiB of digests.
    const MOST: usize = 1 << 20;
    let mut children = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for root in roots.iter().filter(|root| root.media_type.as_deref().is_none_or(media_type::is_index)) {
        if !seen.insert(root.digest) {
            continue;
        }
        if let Some(index) = reader.peek(&root.digest, root.media_type.as_deref())? {
            children.extend(index.children().iter().map(|child| child.digest));
        }
        if children.len() > MOST {
            let message = format!("it and others list more than {MOST} manifests");
            return Err(ImageError::content(reader.store.name(&root.digest), message));
        }
    }
    Ok(children)
}

/// Reads manifests to learn what they are, without comparing their digests. The number of bytes is bounded, because a
/// hostile archive may have one long file under many names.
pub(crate) struct Reader<'a> {
    store: &'a dyn Store,
    bytes: u64,
    limit: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(store: &'a dyn Store, limits: &Limits) -> Self {
        Self { store, bytes: 0, limit: limits.listed }
    }

    pub(crate) fn read(&mut self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError> {
        let found = self.store.manifest(digest)?;
        self.bytes += found.as_ref().map_or(0, |found| found.bytes.len() as u64);
        if self.bytes > self.limit {
            let rule = Rule::TooLarge { size: self.bytes, limit: self.limit };
            return Err(ImageError::refused(self.store.name(digest), rule));
        }
        Ok(found)
    }

    /// A manifest, parsed; `None` if it is missing or no manifest.
    fn peek(&mut self, digest: &Digest, media_type: Option<&str>) -> Result<Option<Manifest>, ImageError> {
        let Some(StoredManifest { bytes, media_type: known_as }) = self.read(digest)? else {
            return Ok(None);
        };
        Ok(Manifest::parse(&bytes, media_type.or(known_as.as_deref())).ok())
    }
}

/// The subject of a cosign tag, `sha256-<hex>.sig` and the like, and of the referrers fallback tag.
pub fn cosign_subject(tag: &Tag) -> Option<Digest> {
    let rest = tag.as_str().strip_prefix("sha256-")?;
    Digest::from_hex(rest.get(..64)?).ok()
}
