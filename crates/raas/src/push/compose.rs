//! Composes the documents of a repository from the published documents and the new content.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use raas_types::crane::{
    Content, Document, ManifestEntry, V1Content, V1Extension, V2Content, V2Extension, tree,
};
use raas_types::{AtomicSignature, Digest, Manifest, RepositoryName, Utc, VendorName};

use super::transfer::{Stored, StoredManifest, StoredV1};
use raas_base::failure::Failure;
use raas_publish::publication::Current;

/// Composes the documents of one repository.
pub(super) struct Composer<'a> {
    pub(super) vendor: &'a VendorName,
    pub(super) name: &'a RepositoryName,
    /// The base URL of the bucket, without a slash at the end.
    pub(super) base_url: &'a str,
    pub(super) prune: bool,
    /// The time of the publication.
    pub(super) now: Utc,
}

impl Composer<'_> {
    /// The files of the repository by path, with their bytes. `None` removes a file. The result has the published and
    /// the new content, or with `prune` only the new content. `manifest_paths` are the manifests in the record;
    /// `old_manifest` reads a manifest of the record.
    ///
    /// # Errors
    /// A manifest of the record cannot be read. It may be an index, whose tag would lose its image for amd64.
    pub(super) fn compose(
        &self,
        current: &Current,
        manifest_paths: &BTreeSet<String>,
        stored: &Stored,
        old_manifest: impl Fn(&Digest) -> Result<Option<Vec<u8>>, Failure>,
    ) -> Result<BTreeMap<String, Option<Vec<u8>>>, Failure> {
        let v2 = self.v2(current, stored);
        let failed = Cell::new(None);
        let amd64 = |digest: &Digest| {
            let bytes = match stored.manifests.get(digest) {
                Some(manifest) => manifest.bytes.clone(),
                None => old_manifest(digest).unwrap_or_else(|failure| {
                    failed.set(Some(failure));
                    None
                })?,
            };
            Manifest::parse(&bytes, None).ok()?.amd64_child()
        };
        let mut files = self.manifest_files(manifest_paths, stored, &v2);
        let content = Content::V2(V2Content::new(v2, amd64));
        if let Some(failure) = failed.take() {
            return Err(failure);
        }
        let document = self.document(current, format!("{}/{}/_v2/", self.base_url, self.name), content);
        files.insert(tree::document(self.name), Some(document.to_bytes()));
        let v1 = self.v1(current, stored).map(|v1| {
            self.document(current, format!("{}/{}/", self.base_url, self.name), Content::V1(v1)).to_bytes()
        });
        files.insert(tree::v1_document(self.name), v1);
        Ok(files)
    }

    fn document(&self, current: &Current, url: String, content: Content) -> Document {
        Document {
            repository: Document::repository_id(self.vendor, self.name),
            name: self.name.clone(),
            url,
            protected: current.protected,
            content,
        }
    }

    fn v2(&self, current: &Current, stored: &Stored) -> V2Extension {
        let mut v2 = if self.prune { None } else { current.v2.clone() }.unwrap_or_default();
        v2.tags.extend(stored.tags.iter().map(|(tag, digest)| (tag.clone(), *digest)));
        let mut room = v2.room_for_facts();
        for (digest, manifest) in &stored.manifests {
            let StoredManifest { bytes, media_type, platform, facts } = manifest;
            // A source without the manifest's config does not tell the platform. The published entry may.
            let known = v2.manifests.remove(digest);
            let (known, image) = known.map_or((None, None), |entry| (entry.platform, entry.image));
            let new = || {
                room = room.checked_sub(facts.as_ref()?.weight())?;
                facts.clone()
            };
            let entry = ManifestEntry {
                media_type: media_type.clone(),
                size: bytes.len() as u64,
                platform: platform.clone().or(known),
                image: image.or_else(new),
            };
            v2.manifests.insert(*digest, entry);
        }
        v2.blobs.extend(stored.blobs.iter().map(|(digest, entry)| (*digest, entry.clone())));
        for (digest, new) in &stored.signatures {
            // The published signatures keep their numbers.
            let all = v2.signatures.entry(*digest).or_default();
            for signature in new {
                if !all.iter().any(|known| known.is_same(signature)) && all.len() < AtomicSignature::MAX_COUNT
                {
                    all.push(signature.clone());
                }
            }
        }
        v2.note_times(current.v2.as_ref(), self.now);
        v2
    }

    /// The v1 content. It loses the tags that this push gives to v2 content: otherwise Docker v1 clients would get old
    /// content for the tag.
    fn v1(&self, current: &Current, stored: &Stored) -> Option<V1Content> {
        let mut v1 = if self.prune { None } else { current.v1.clone() }.unwrap_or_default();
        v1.tags.retain(|tag, _| !stored.tags.contains_key(tag));
        let mut entries = v1.raas.take().unwrap_or_default().images;
        if let Some(StoredV1 { tags, images }) = &stored.v1 {
            v1.tags.extend(tags.iter().map(|(tag, id)| (tag.clone(), *id)));
            v1.images.extend(images.keys());
            entries.extend(images.iter().map(|(id, entry)| (*id, entry.clone())));
        }
        v1.raas = Some(V1Extension { images: entries });
        (!v1.images.is_empty()).then_some(v1)
    }

    fn manifest_files(
        &self,
        manifest_paths: &BTreeSet<String>,
        stored: &Stored,
        v2: &V2Extension,
    ) -> BTreeMap<String, Option<Vec<u8>>> {
        let kept: BTreeSet<String> =
            v2.manifests.keys().map(|digest| tree::manifest(self.name, digest)).collect();
        let gone = manifest_paths.difference(&kept).map(|path| (path.clone(), None));
        let new = stored
            .manifests
            .iter()
            .map(|(digest, manifest)| (tree::manifest(self.name, digest), Some(manifest.bytes.clone())))
            .filter(|(path, _)| !manifest_paths.contains(path));
        gone.chain(new).collect()
    }
}
