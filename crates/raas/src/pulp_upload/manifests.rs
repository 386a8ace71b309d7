//! An image with its layers, configs and manifests, stored in a registry. What a manifest names is stored before the
//! manifest.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_image::{
    Content, Image, ImageError, Limits, ManifestSet, Packed, PackedLayer, Rule, SavedSet, V1Set,
    build_from_v1, build_manifest, pack,
};
use raas_sources::registry::Remote;
use raas_types::{Digest, ImageId, Reference, Tag, media_type};

use crate::progress::Progress;
use crate::push::OrFail as _;

/// Stores images in a registry.
pub(super) struct Uploader<'a> {
    pub(super) remote: &'a Remote,
    /// The folder for temporary files.
    pub(super) spool: &'a Path,
    pub(super) limits: &'a Limits,
    pub(super) progress: &'a Progress,
}

/// The stored tags, and the number of bytes sent.
pub(super) type Uploaded = (BTreeMap<Tag, Digest>, u64);

impl Uploader<'_> {
    pub(super) fn upload(&self, image: Image) -> Result<Uploaded, Failure> {
        let sent = Cell::new(0);
        let tags = match image {
            Image::Manifests(set) => self.manifests(set, &sent),
            Image::Saved(set) => self.saved(&set, &sent),
            Image::V1(set) => self.v1(&set, &sent),
        }?;
        Ok((tags, sent.get()))
    }

    fn manifests(&self, set: ManifestSet, sent: &Cell<u64>) -> Result<BTreeMap<Tag, Digest>, Failure> {
        for blob in set.blobs.values() {
            match &blob.content {
                Some(content) => self.blob(content, &blob.digest, sent)?,
                // A layer that must not be redistributed is at its own URL.
                None if !blob.urls.is_empty() => {}
                None => {
                    let message = format!("the archive lacks the blob {}", blob.digest);
                    return Err(Failure::new(Kind::Refused, message).hint("give a whole archive"));
                }
            }
        }
        let mut left: BTreeMap<Digest, _> = set.manifests.into_iter().collect();
        while !left.is_empty() {
            // A manifest follows those that it lists.
            let waits = |item: &raas_image::ManifestItem| {
                item.manifest.children().iter().any(|child| left.contains_key(&child.digest))
            };
            let ready: Vec<Digest> =
                left.iter().filter(|(_, item)| !waits(item)).map(|(digest, _)| *digest).collect();
            if ready.is_empty() {
                return Err(Failure::new(Kind::Refused, "the manifests of the archive list each other"));
            }
            for digest in ready {
                let Some(item) = left.remove(&digest) else { continue };
                let media_type = &item.manifest.media_type;
                self.remote.put_manifest(&Reference::Digest(digest), media_type, &item.bytes)?;
                for (tag, _) in set.tags.iter().filter(|(_, of)| **of == digest) {
                    self.remote.put_manifest(&Reference::Tag(tag.clone()), media_type, &item.bytes)?;
                    self.progress.say(&format!("Uploaded {tag} ({digest})"));
                }
            }
        }
        Ok(set.tags)
    }

    fn saved(&self, set: &SavedSet, sent: &Cell<u64>) -> Result<BTreeMap<Tag, Digest>, Failure> {
        let mut layers = BTreeMap::new();
        for (diff_id, content) in &set.layers {
            let packed = self.packed(content, sent)?;
            if packed.diff_id != *diff_id {
                let rule = Rule::DiffId { expected: *diff_id, found: packed.diff_id };
                return Err(ImageError::Refused { member: content.name().to_owned(), rule }).or_fail();
            }
            layers.insert(*diff_id, PackedLayer::stored(&packed));
        }
        let mut tags = BTreeMap::new();
        for image in &set.images {
            let chain: Vec<PackedLayer> = image.diff_ids.iter().map(|id| layers[id].clone()).collect();
            let manifest = build_manifest(&image.config, &chain);
            tags.extend(self.built(&image.tags, &image.config, &manifest, sent)?);
        }
        Ok(tags)
    }

    fn v1(&self, set: &V1Set, sent: &Cell<u64>) -> Result<BTreeMap<Tag, Digest>, Failure> {
        let wanted: BTreeSet<ImageId> = set.tags.values().flat_map(|top| set.chain(top)).collect();
        let mut layers = BTreeMap::new();
        for id in wanted {
            let content = set.images[&id].layer.as_ref().ok_or_else(|| {
                Failure::new(Kind::Refused, format!("the archive lacks the layer of the image {id}"))
                    .hint("give a whole archive: Pulp's registry takes no image without all its layers")
            })?;
            layers.insert(id, PackedLayer::stored(&self.packed(content, sent)?));
        }
        let mut tags = BTreeMap::new();
        for (tag, top) in &set.tags {
            let json_of = |id: &ImageId| {
                let json = set.images[id].json.as_ref();
                let missing = || ImageError::Refused {
                    member: format!("image {id}"),
                    rule: Rule::Missing("the archive lacks its json".into()),
                };
                json.ok_or_else(missing)?.read_all(self.limits.json)
            };
            let built = build_from_v1(set, top, json_of, |id| layers[id].clone(), self.limits).or_fail()?;
            tags.extend(self.built(std::slice::from_ref(tag), &built.config, &built.manifest, sent)?);
        }
        Ok(tags)
    }

    /// Packs a layer into a temporary file, since the registry wants the digest first, and stores it.
    fn packed(&self, content: &Content, sent: &Cell<u64>) -> Result<Packed, Failure> {
        let unwritable = || format!("cannot write a temporary file in {}", self.spool.display());
        let mut file = tempfile::tempfile_in(self.spool).context(unwritable)?;
        let workers = thread::available_parallelism().map_or(1, usize::from).min(8);
        let packed = pack(content, None, &mut file, workers, self.limits, &|_| {}).or_fail()?;
        let content = Content::file(content.name(), file).context(unwritable)?;
        self.blob(&content, &packed.blob, sent)?;
        Ok(packed)
    }

    fn blob(&self, content: &Content, digest: &Digest, sent: &Cell<u64>) -> Result<(), Failure> {
        let bar = self.progress.layer(&digest.short(), content.size());
        if self.remote.put_blob(content, digest, &|bytes| bar.advance(bytes))? {
            sent.set(sent.get() + content.size());
        }
        bar.done();
        Ok(())
    }

    /// Stores a config and a manifest that raas made, under these tags.
    fn built(
        &self,
        tags: &[Tag],
        config: &[u8],
        manifest: &[u8],
        sent: &Cell<u64>,
    ) -> Result<Vec<(Tag, Digest)>, Failure> {
        self.blob(&Content::memory("config", config), &Digest::of(config), sent)?;
        let digest = Digest::of(manifest);
        let mut stored = Vec::new();
        for tag in tags {
            let reference = Reference::Tag(tag.clone());
            self.remote.put_manifest(&reference, media_type::DOCKER_MANIFEST, manifest)?;
            self.progress.say(&format!("Uploaded {tag} ({digest})"));
            stored.push((tag.clone(), digest));
        }
        Ok(stored)
    }
}
