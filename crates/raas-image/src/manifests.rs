//! From the manifests that a source names to everything that they lead to.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::{Descriptor, Digest, Manifest, ManifestBody, ManifestError, Platform, Tag, media_type};

use crate::config_facts::ConfigFacts;
use crate::{Blob, Content, ImageError, Limits, ManifestItem, ManifestSet, Rule, json};

/// Manifests and blobs by their digests: those of an archive, a registry or a bucket.
///
/// A store promises nothing about the bytes: [`ManifestSet`] holds manifests whose digests were compared, and
/// [`copy`](crate::copy) compares those of blobs.
pub trait Store {
    /// A manifest; `None` if the store does not have it.
    ///
    /// # Errors
    /// The store cannot be read.
    fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError>;

    /// A config, a layer or another file of an artifact; `None` if the store does not have it.
    ///
    /// # Errors
    /// The store cannot be read.
    fn blob(&self, digest: &Digest) -> Result<Option<Content>, ImageError>;

    /// What messages call the file of this digest, whether the store has it or not.
    fn name(&self, digest: &Digest) -> String;
}

/// A manifest as a [`Store`] has it.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// The bytes, whose digest nobody has compared yet.
    pub bytes: Vec<u8>,
    /// The media type that the store knows the manifest under, if it knows one.
    pub media_type: Option<String>,
}

/// A manifest that the source names at its top.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) digest: Digest,
    pub(crate) media_type: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) tag: Option<Tag>,
}

impl Root {
    pub(crate) fn of(descriptor: &Descriptor, tag: Option<Tag>) -> Self {
        Root {
            digest: descriptor.digest,
            media_type: Some(descriptor.media_type.clone()),
            size: Some(descriptor.size),
            tag,
        }
    }
}

/// Everything that the wanted roots lead to, and whatever of the other roots is attached to that.
///
/// With a `wanted` tag these are the tag's manifest and what is attached to it; without, all roots.
pub(crate) fn collect(
    store: &dyn Store,
    roots: &[Root],
    wanted: Option<&Tag>,
    limits: &Limits,
) -> Result<ManifestSet, ImageError> {
    let mut collector = Collector {
        store,
        limits,
        set: ManifestSet::default(),
        added: Vec::new(),
        heads: BTreeMap::new(),
        bytes: 0,
        config_bytes: 0,
    };
    let tagged: Vec<&Root> = roots.iter().filter(|root| root.tag.is_some()).collect();
    match wanted {
        None if tagged.is_empty() => collector.untagged(roots, "latest".parse().expect("a tag"))?,
        None => roots.iter().try_for_each(|root| collector.root(root))?,
        Some(tag) => match tagged.iter().find(|root| root.tag.as_ref() == Some(tag)) {
            Some(root) => {
                collector.root(root)?;
                collector.attached(roots)?;
            }
            None if tagged.is_empty() => collector.untagged(roots, tag.clone())?,
            None => {
                return Err(no_such_tag(tag, tagged.iter().filter_map(|root| root.tag.as_ref())));
            }
        },
    }
    Ok(collector.set)
}

/// The error for a tag that a source does not have.
pub(crate) fn no_such_tag<'a>(tag: &Tag, tags: impl Iterator<Item = &'a Tag>) -> ImageError {
    let has: Vec<&str> = tags.map(Tag::as_str).collect();
    ImageError::choice(format!(
        "the source has no tag `{tag}`; it has {} (tags are published under their own names)",
        has.join(", ")
    ))
}

struct Collector<'a> {
    store: &'a dyn Store,
    limits: &'a Limits,
    set: ManifestSet,
    /// The set's manifests in the order in which they came.
    added: Vec<Digest>,
    /// What roots are that were looked at, so that each is read once however often it is named.
    heads: BTreeMap<Digest, Head>,
    bytes: u64,
    config_bytes: u64,
}

/// What a root is to the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// It stands for itself.
    Free,
    /// It is attached to that manifest.
    Attached(Digest),
}

impl Collector<'_> {
    /// A source without tags: its one image gets the tag, and what is attached to the image comes along.
    fn untagged(&mut self, roots: &[Root], tag: Tag) -> Result<(), ImageError> {
        let mut images = Vec::new();
        let mut seen = BTreeSet::new();
        for root in roots {
            if self.head(root)? == Head::Free && seen.insert(root.digest) {
                images.push(root.clone());
            }
        }
        match images.as_slice() {
            [one] => {
                self.root(&Root { tag: Some(tag), ..one.clone() })?;
                self.attached(roots)
            }
            [] => Err(ImageError::choice("the source names no image")),
            several => {
                let digests: Vec<String> = several.iter().map(|root| root.digest.to_string()).collect();
                Err(ImageError::choice(format!(
                    "the source has {} images and tags none of them, so raas cannot tell which is `{tag}`: {}",
                    several.len(),
                    digests.join(", ")
                )))
            }
        }
    }

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

    /// Signatures, attestations and the like: roots whose subject is in the set already, and cosign's tags that
    /// name a digest of it. What is attached may have something attached itself.
    fn attached(&mut self, roots: &[Root]) -> Result<(), ImageError> {
        let mut waiting: BTreeMap<Digest, Vec<&Root>> = BTreeMap::new();
        let mut useless = BTreeSet::new();
        for root in roots {
            if useless.contains(&root.digest) {
                continue;
            }
            let by_subject = match self.head(root) {
                Ok(Head::Attached(subject)) => Some(subject),
                Ok(Head::Free) => None,
                // What else is wrong with the source is no reason not to publish the tag that is wanted: manifests
                // that an incremental export leaves out, and old ones that nobody could pull.
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

    fn head(&mut self, root: &Root) -> Result<Head, ImageError> {
        if let Some(head) = self.heads.get(&root.digest) {
            return Ok(*head);
        }
        let (_, manifest) =
            self.read(root.digest, root.media_type.as_deref(), root.size, "the source names it")?;
        let head = manifest.subject.map_or(Head::Free, |subject| Head::Attached(subject.digest));
        self.heads.insert(root.digest, head);
        Ok(head)
    }

    fn read(
        &self,
        digest: Digest,
        found_as: Option<&str>,
        size: Option<u64>,
        why: &str,
    ) -> Result<(Vec<u8>, Manifest), ImageError> {
        let name = self.store.name(&digest);
        let Some(StoredManifest { bytes, media_type: known_as }) = self.store.manifest(&digest)? else {
            return Err(ImageError::missing(name, format!("{why}, and it is not in the archive")));
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
            // Every descriptor of it has to be right, not only the one that it was read by.
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
        let (bytes, manifest) = self.read(digest, found_as, size, why)?;
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limits.manifests {
            return Err(ImageError::refused(
                name,
                Rule::TooLarge { size: self.bytes, limit: self.limits.manifests },
            ));
        }
        let why = format!("the index {digest} lists it");
        for child in manifest.children() {
            let platform = child.platform.as_ref();
            self.manifest(
                child.digest,
                Some(&child.media_type),
                Some(child.size),
                platform,
                &why,
                depth + 1,
            )?;
        }
        let mut platform = platform.cloned();
        if let ManifestBody::Image { config, layers } = &manifest.body
            && let Some(own) = self.blobs(&name, config, layers)?
        {
            platform = platform.or(Some(own));
        }
        self.set.manifests.insert(digest, ManifestItem { bytes, manifest, platform });
        self.added.push(digest);
        Ok(())
    }

    /// Takes up an image's config and layers; the platform that the config tells.
    fn blobs(
        &mut self,
        manifest: &str,
        config: &Descriptor,
        layers: &[Descriptor],
    ) -> Result<Option<Platform>, ImageError> {
        self.blob(manifest, config, None, false)?;
        let facts = self.config_facts(config)?;
        let diff_ids = facts.as_ref().map_or(&[][..], |facts| &facts.rootfs.diff_ids);
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
            // Only where every layer is a file system do diff ids and layers stand in pairs.
            let diff_id = if packed == layers.len() { diff_ids.get(n).copied() } else { None };
            self.blob(manifest, layer, diff_id, true)?;
        }
        Ok(facts.and_then(|facts| facts.platform()))
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
            // As a config it must be there; as a layer it could be masked.
            known.layer &= layer;
            return Ok(());
        }
        let content = self.store.blob(&descriptor.digest)?;
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

    /// What an image's config says of its layers; nothing for an artifact's.
    fn config_facts(&mut self, config: &Descriptor) -> Result<Option<ConfigFacts>, ImageError> {
        if !media_type::is_image_config(&config.media_type) {
            return Ok(None);
        }
        let Some(content) = self.store.blob(&config.digest)? else {
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
        Ok(Some(json::parse(content.name(), &bytes)?))
    }
}

/// The subject of a cosign tag, `sha256-<hex>.sig` and the like, and of the referrers fallback tag.
fn cosign_subject(tag: &Tag) -> Option<Digest> {
    let rest = tag.as_str().strip_prefix("sha256-")?;
    Digest::from_hex(rest.get(..64)?).ok()
}

/// Groups what a source names by repository, in order.
pub(crate) fn repository_names(names: impl Iterator<Item = Option<String>>) -> Vec<String> {
    names.flatten().collect::<BTreeSet<_>>().into_iter().collect()
}
