//! From the manifests at the top of a source to everything that they list.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use raas_types::crane::ImageFacts;
use raas_types::{Descriptor, Digest, Manifest, ManifestBody, ManifestError, Platform, media_type};

use crate::config_facts::ConfigFacts;
use crate::entries;
use crate::error::legible;
use crate::roots::{Root, cosign_subject, is_other_file, known_size};
use crate::{Blob, Content, ImageError, Limits, ManifestItem, ManifestSet, Rule, Store, StoredManifest};

/// Everything that the chosen roots lead to, and the other roots that are attached to any of it.
pub(crate) fn collect(
    store: &dyn Store,
    chosen: &[Root],
    others: &[Root],
    limits: &Limits,
) -> Result<ManifestSet, ImageError> {
    let mut collector = Collector {
        store,
        limits,
        set: ManifestSet::default(),
        added: Vec::new(),
        subjects: BTreeMap::new(),
        bytes: 0,
        config_bytes: 0,
    };
    chosen.iter().try_for_each(|root| collector.root(root))?;
    collector.attached(others)?;
    Ok(collector.set)
}

/// A manifest with the right digest and size, and its bytes. `why` says who names it.
pub(crate) fn read(
    store: &dyn Store,
    digest: Digest,
    found_as: Option<&str>,
    size: Option<u64>,
    why: &str,
) -> Result<(Vec<u8>, Manifest), ImageError> {
    let name = store.name(&digest);
    let Some(StoredManifest { bytes, media_type: known_as }) = store.manifest(&digest)? else {
        return Err(ImageError::missing(name, format!("{why}, and it is not in the source")));
    };
    let found = Digest::of(&bytes);
    if found != digest {
        return Err(ImageError::refused(name, Rule::Digest { expected: digest, found }));
    }
    if let Some(expected) = size.filter(|size| *size != bytes.len() as u64) {
        return Err(ImageError::refused(name, Rule::Size { expected, found: bytes.len() as u64 }));
    }
    let manifest = Manifest::parse(&bytes, found_as.or(known_as.as_deref()));
    let manifest = manifest.map_err(|error| ImageError::refused(&name, Rule::manifest(error)))?;
    Ok((bytes, manifest))
}

/// An image's config: what is checked, and what pages show.
struct ReadConfig {
    config: ConfigFacts,
    image: Option<ImageFacts>,
}

struct Collector<'a> {
    store: &'a dyn Store,
    limits: &'a Limits,
    set: ManifestSet,
    /// The manifests of the set, in the order in which they were added.
    added: Vec<Digest>,
    /// What the roots that were read are attached to, so that each root is read once however often it is listed.
    subjects: BTreeMap<Digest, Subject>,
    bytes: u64,
    config_bytes: u64,
}

/// What a root is attached to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// The root has no subject.
    Free,
    /// The root has this subject.
    Attached(Digest),
}

impl Collector<'_> {
    fn root(&mut self, root: &Root) -> Result<(), ImageError> {
        self.manifest(root.digest, root.media_type.as_deref(), root.size, None, "the source names it", 0)?;
        if let Some(tag) = &root.tag {
            match self.set.tags.insert(tag.clone(), root.digest) {
                Some(other) if other != root.digest => {
                    return Err(ImageError::content(
                        format!("tag {tag}"),
                        format!("the source gives it to two manifests, {other} and {}", root.digest),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds signatures, attestations and other attachments: roots with a subject in the set, and cosign's tags that
    /// name a digest of the set. An attachment may have attachments of its own.
    fn attached(&mut self, roots: &[Root]) -> Result<(), ImageError> {
        let mut waiting: BTreeMap<Digest, Vec<&Root>> = BTreeMap::new();
        let mut useless = BTreeSet::new();
        for root in roots {
            if useless.contains(&root.digest) {
                continue;
            }
            let by_subject = match self.subject(root) {
                Ok(Subject::Attached(subject)) => Some(subject),
                Ok(Subject::Free) => None,
                // A fault of a manifest that nobody asked for does not stop the push: an incremental export omits
                // manifests, and old repositories have manifests that no client pulls.
                Err(ImageError::Refused { rule: Rule::Missing(_) | Rule::Manifest(_), .. }) => {
                    useless.insert(root.digest);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let by_tag = root.tag.as_ref().and_then(cosign_subject);
            for subject in [by_subject, by_tag].into_iter().flatten() {
                waiting.entry(subject).or_default().push(root);
            }
        }
        let mut next = 0;
        while let Some(digest) = self.added.get(next) {
            for root in waiting.remove(digest).unwrap_or_default() {
                self.root(root)?;
            }
            next += 1;
        }
        Ok(())
    }

    fn subject(&mut self, root: &Root) -> Result<Subject, ImageError> {
        if let Some(subject) = self.subjects.get(&root.digest) {
            return Ok(*subject);
        }
        let (_, manifest) =
            read(self.store, root.digest, root.media_type.as_deref(), root.size, "the source names it")?;
        let subject = manifest.subject.map_or(Subject::Free, |subject| Subject::Attached(subject.digest));
        self.subjects.insert(root.digest, subject);
        Ok(subject)
    }

    fn manifest(
        &mut self,
        digest: Digest,
        found_as: Option<&str>,
        size: Option<u64>,
        platform: Option<&Platform>,
        why: &str,
        depth: usize,
    ) -> Result<(), ImageError> {
        let name = self.store.name(&digest);
        if let Some(known) = self.set.manifests.get(&digest) {
            // Every descriptor of the manifest must be right, not only the first.
            let (length, own) = (known.bytes.len() as u64, known.manifest.media_type.as_str());
            if let Some(expected) = size.filter(|size| *size != length) {
                return Err(ImageError::refused(name, Rule::Size { expected, found: length }));
            }
            if let Some(found_as) = found_as.filter(|found_as| !found_as.is_empty() && *found_as != own) {
                let why = format!("it is referred to as `{own}` and as `{found_as}`");
                return Err(ImageError::refused(name, Rule::manifest(ManifestError::Ambiguous(why))));
            }
            return Ok(());
        }
        if depth > self.limits.nesting {
            let message = format!("it is an index within more than {} others", self.limits.nesting);
            return Err(ImageError::content(name, message));
        }
        let (bytes, manifest) = read(self.store, digest, found_as, size, why)?;
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limits.manifests {
            return Err(ImageError::refused(
                name,
                Rule::TooLarge { size: self.bytes, limit: self.limits.manifests },
            ));
        }
        self.set.notes.extend(entries::check(&name, &manifest, self.limits)?);
        let why = format!("the index {digest} lists it");
        for child in manifest.children() {
            if is_other_file(&child.media_type) {
                self.other_file(&name, child)?;
                continue;
            }
            let platform = child.platform.as_ref();
            self.manifest(
                child.digest,
                Some(&child.media_type),
                known_size(child),
                platform,
                &why,
                depth + 1,
            )?;
        }
        let (mut platform, mut facts) = (platform.cloned(), None);
        if let ManifestBody::Image { config, layers } = &manifest.body
            && let Some(own) = self.blobs(&name, config, layers)?
        {
            platform = platform.or(own.config.platform());
            facts = own.image.map(Box::new);
        }
        self.set.manifests.insert(digest, ManifestItem { bytes, manifest, platform, facts });
        self.added.push(digest);
        Ok(())
    }

    /// Adds a file that an index lists among its manifests, as BuildKit's caches do.
    fn other_file(&mut self, index: &str, child: &Descriptor) -> Result<(), ImageError> {
        let media_type = legible(&child.media_type, 100);
        let there = self.content(child)?.is_some();
        if there {
            self.blob(index, child, None, false)?;
        }
        let outcome = if there { "it is published as a blob" } else { "the source does not have it" };
        let digest = child.digest;
        self.set
            .notes
            .push(format!("{index} lists {digest} of type `{media_type}`, which is no manifest: {outcome}"));
        Ok(())
    }

    /// The content of a descriptor: the source's, or the one that the descriptor holds itself.
    fn content(&self, descriptor: &Descriptor) -> Result<Option<Content>, ImageError> {
        if let Some(content) = self.store.blob(&descriptor.digest)? {
            return Ok(Some(content));
        }
        let inline = descriptor.data.as_ref().and_then(|data| BASE64.decode(data).ok());
        let inline = inline.filter(|bytes| Digest::of(bytes) == descriptor.digest);
        Ok(inline.map(|bytes| Content::memory(&self.store.name(&descriptor.digest), &bytes)))
    }

    /// Adds an image's config and layers, and returns what the config says.
    fn blobs(
        &mut self,
        manifest: &str,
        config: &Descriptor,
        layers: &[Descriptor],
    ) -> Result<Option<ReadConfig>, ImageError> {
        self.blob(manifest, config, None, false)?;
        let read = self.config(config)?;
        let diff_ids = read.as_ref().map_or(&[][..], |read| &read.config.rootfs.diff_ids);
        let packed = layers.iter().filter(|l| media_type::layer_packing(&l.media_type).is_some()).count();
        if !diff_ids.is_empty() && packed == layers.len() && diff_ids.len() != packed {
            let message = format!(
                "it has {packed} layers and its config {} has {} diff ids",
                config.digest,
                diff_ids.len()
            );
            return Err(ImageError::content(manifest, message));
        }
        for (n, layer) in layers.iter().enumerate() {
            // Diff ids and layers are pairs only if every layer is a file system.
            let diff_id = if packed == layers.len() { diff_ids.get(n).copied() } else { None };
            self.blob(manifest, layer, diff_id, true)?;
        }
        Ok(read)
    }

    fn blob(
        &mut self,
        manifest: &str,
        descriptor: &Descriptor,
        diff_id: Option<Digest>,
        layer: bool,
    ) -> Result<(), ImageError> {
        if let Some(known) = self.set.blobs.get_mut(&descriptor.digest) {
            if known.size != descriptor.size {
                let message = format!(
                    "it says that {} is {} bytes long, another manifest says {}",
                    descriptor.digest, descriptor.size, known.size
                );
                return Err(ImageError::content(manifest, message));
            }
            if let (Some(one), Some(other)) = (known.diff_id, diff_id)
                && one != other
            {
                let expected = one;
                let name = self.store.name(&descriptor.digest);
                return Err(ImageError::refused(name, Rule::DiffId { expected, found: other }));
            }
            known.diff_id = known.diff_id.or(diff_id);
            // A layer may be masked, a config may not.
            known.layer &= layer;
            return Ok(());
        }
        let content = self.content(descriptor)?;
        self.set.blobs.insert(
            descriptor.digest,
            Blob {
                digest: descriptor.digest,
                size: descriptor.size,
                media_type: descriptor.media_type.clone(),
                diff_id,
                layer,
                urls: descriptor.urls.clone(),
                content,
            },
        );
        Ok(())
    }

    /// An image's config; `None` for the config of an artifact.
    fn config(&mut self, config: &Descriptor) -> Result<Option<ReadConfig>, ImageError> {
        if !media_type::is_image_config(&config.media_type) {
            return Ok(None);
        }
        let Some(content) = self.content(config)? else {
            return Ok(None);
        };
        self.config_bytes = self.config_bytes.saturating_add(content.size());
        if self.config_bytes > self.limits.configs {
            let rule = Rule::TooLarge { size: self.config_bytes, limit: self.limits.configs };
            return Err(ImageError::refused(content.name(), rule));
        }
        let bytes = content.read_all(self.limits.json)?;
        let found = Digest::of(&bytes);
        if found != config.digest {
            return Err(ImageError::refused(content.name(), Rule::Digest { expected: config.digest, found }));
        }
        // Artifacts borrow the media type of an image's config for files that are none, and clients pull them all the
        // same.
        let facts = serde_json::from_slice::<Option<ConfigFacts>>(&bytes).map(Option::unwrap_or_default);
        if facts.is_err() {
            self.set.notes.push(format!(
                "{} is no image config: nothing tells the platform of its image",
                content.name()
            ));
        }
        Ok(facts.ok().map(|config| ReadConfig { config, image: ImageFacts::of_config(&bytes) }))
    }
}
