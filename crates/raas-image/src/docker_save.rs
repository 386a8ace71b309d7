//! docker save archives with a `manifest.json`: configs and layer tars.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::{Digest, Tag, null_as_default};
use serde::Deserialize;

use crate::config_facts::ConfigFacts;
use crate::platforms::check_platform;
use crate::select::{Catalogue, ListedImage, Role, Selection, Unnamed};
use crate::source_name::SourceName;
use crate::tree::Tree;
use crate::{Content, ImageError, Limits, Rule, SavedImage, SavedSet, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default, deserialize_with = "null_as_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    layers: Vec<String>,
}

/// The list of images in the archive.
pub(crate) const LIST: &str = "manifest.json";

/// A docker save archive whose `manifest.json` has been read.
pub(crate) struct Saved<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    images: Vec<Image>,
}

/// An entry of `manifest.json`, with its names parsed.
struct Image {
    /// The digest of the config.
    digest: Digest,
    entry: Entry,
    names: Vec<SourceName>,
}

impl<'a> Saved<'a> {
    pub(crate) fn open(tree: &'a Tree, limits: &'a Limits) -> Result<Self, ImageError> {
        let entries: Option<Vec<Entry>> =
            json::read(&tree.need(LIST, "a docker save archive has it", limits)?, limits)?;
        let mut configs = Configs { tree, limits, bytes: 0, known: BTreeMap::new() };
        let mut images = Vec::new();
        for entry in entries.unwrap_or_default() {
            let names = entry.repo_tags.iter().map(|name| SourceName::parse_reference(name)).collect();
            let digest = configs.digest(&entry.config)?;
            images.push(Image { digest, entry, names });
        }
        Ok(Self { tree, limits, images })
    }

    /// Whether the archive has an image, and every file of all of them.
    pub(crate) fn is_whole(&self) -> Result<bool, ImageError> {
        for image in &self.images {
            for name in std::iter::once(&image.entry.config).chain(&image.entry.layers) {
                if self.tree.file(name, self.limits)?.is_none() {
                    return Ok(false);
                }
            }
        }
        Ok(!self.images.is_empty())
    }

    /// The digests of the configs.
    pub(crate) fn configs(&self) -> BTreeSet<Digest> {
        self.images.iter().map(|image| image.digest).collect()
    }

    /// The tags of all images, each with its repository and its config.
    pub(crate) fn names(&self) -> impl Iterator<Item = (Option<&str>, &Tag, Digest)> {
        self.images.iter().flat_map(|image| {
            image
                .names
                .iter()
                .filter_map(|name| Some((name.repository.as_deref(), name.tag.as_ref()?, image.digest)))
        })
    }

    pub(crate) fn read(&self, selection: &Selection) -> Result<SavedSet, ImageError> {
        let mut set = SavedSet { notes: selection.notes.clone(), ..SavedSet::default() };
        let mut bytes = 0;
        let mut seen = BTreeSet::new();
        for image in &self.images {
            let Some(tags) = selection.tags_of(&image.digest).filter(|_| seen.insert(image.digest)) else {
                continue;
            };
            self.read_image(&image.entry, tags.to_vec(), &mut set)?;
            if let Some(SavedImage { config, platform, .. }) = set.images.last() {
                if let Some(platform) = platform {
                    check_platform(&image.entry.config, platform, &selection.platforms)?;
                }
                // All configs stay in memory.
                bytes += config.len() as u64;
            }
            if bytes > self.limits.manifests {
                let rule = Rule::TooLarge { size: bytes, limit: self.limits.manifests };
                return Err(ImageError::refused(&image.entry.config, rule));
            }
        }
        Ok(set)
    }

    fn read_image(&self, entry: &Entry, tags: Vec<Tag>, set: &mut SavedSet) -> Result<(), ImageError> {
        let need = |name: &str, role: &str| -> Result<Content, ImageError> {
            self.tree.need(name, &format!("{LIST} names it as a {role}"), self.limits)
        };
        let config = need(&entry.config, "config")?.read_all(self.limits.json)?;
        let facts: ConfigFacts = json::parse(&entry.config, &config)?;
        if let Some(expected) = named_digest(&entry.config) {
            let found = Digest::of(&config);
            if found != expected {
                return Err(ImageError::refused(&entry.config, Rule::Digest { expected, found }));
            }
        }
        let platform = facts.platform();
        let diff_ids = facts.rootfs.diff_ids;
        if diff_ids.len() != entry.layers.len() {
            let message =
                format!("it has {} diff ids and {LIST} names {} layers", diff_ids.len(), entry.layers.len());
            return Err(ImageError::content(&entry.config, message));
        }
        for (diff_id, name) in diff_ids.iter().zip(&entry.layers) {
            if !set.layers.contains_key(diff_id) {
                set.layers.insert(*diff_id, need(name, "layer")?);
            }
        }
        set.images.push(SavedImage { tags, config, diff_ids, platform });
        Ok(())
    }
}

/// Finds the digests of configs. docker names a config after its digest; the configs of other tools must be read.
struct Configs<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    bytes: u64,
    known: BTreeMap<String, Digest>,
}

impl Configs<'_> {
    fn digest(&mut self, config: &str) -> Result<Digest, ImageError> {
        if let Some(digest) = named_digest(config).or_else(|| self.known.get(config).copied()) {
            return Ok(digest);
        }
        let digest = match self.tree.file(config, self.limits)? {
            Some(content) => {
                self.bytes += content.size();
                if self.bytes > self.limits.configs {
                    let rule = Rule::TooLarge { size: self.bytes, limit: self.limits.configs };
                    return Err(ImageError::refused(config, rule));
                }
                Digest::of(&content.read_all(self.limits.json)?)
            }
            // An image without its config is still an image; it is an error if it is chosen.
            None => Digest::of(config.as_bytes()),
        };
        self.known.insert(config.to_owned(), digest);
        Ok(digest)
    }
}

/// The digest in the name of a config: `<hex>.json`, `blobs/sha256/<hex>`, `sha256:<hex>`.
fn named_digest(config: &str) -> Option<Digest> {
    let stem = config.rsplit('/').next().unwrap_or_default();
    let stem = stem.strip_suffix(".json").unwrap_or(stem);
    Digest::from_hex(stem.strip_prefix("sha256:").unwrap_or(stem)).ok()
}

impl Catalogue for Saved<'_> {
    fn repositories(&self) -> Result<Vec<Option<String>>, ImageError> {
        let mut repositories = BTreeSet::new();
        for image in &self.images {
            repositories.extend(image.names.iter().map(|name| name.repository.clone()));
            if image.names.is_empty() {
                repositories.insert(None);
            }
        }
        // An image with both a name and `<none>:<none>` is no image without a repository.
        if repositories.contains(&None) && self.images.iter().all(|image| !image.is_of(None)) {
            repositories.remove(&None);
        }
        Ok(repositories.into_iter().collect())
    }

    fn images(&self, repository: Option<&str>) -> Result<Vec<ListedImage>, ImageError> {
        let mut listed: BTreeMap<Digest, ListedImage> = BTreeMap::new();
        let mut order = Vec::new();
        for image in self.images.iter().filter(|image| image.is_of(repository)) {
            let entry = listed.entry(image.digest).or_insert_with(|| {
                order.push(image.digest);
                ListedImage {
                    digest: image.digest,
                    tags: Vec::new(),
                    unusable: Vec::new(),
                    platform: None,
                    role: Role::Image,
                }
            });
            for name in image.names.iter().filter(|name| name.repository.as_deref() == repository) {
                entry.tags.extend(name.tag.clone().filter(|tag| !entry.tags.contains(tag)));
                entry.unusable.extend(name.unusable.clone());
            }
        }
        Ok(order.iter().filter_map(|digest| listed.remove(digest)).collect())
    }

    fn unnamed(&self) -> Unnamed {
        Unnamed::Latest
    }

    fn has_manifests(&self) -> bool {
        false
    }
}

impl Image {
    fn is_of(&self, repository: Option<&str>) -> bool {
        match repository {
            Some(_) => self.names.iter().any(|name| name.repository.as_deref() == repository),
            None => self.names.iter().all(|name| name.repository.is_none()),
        }
    }
}
