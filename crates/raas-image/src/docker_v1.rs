//! The oldest docker save format: Docker v1 images, and `repositories` with their names.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::ImageId;

use crate::select::{Catalogue, ListedImage, Selection, Unnamed};
use crate::source_name::familiar;
use crate::tree::Tree;
use crate::v1::{Files, Known, Tags, collect, list};
use crate::{ImageError, Limits, V1Set, json};

/// `repositories`: name to tag to image.
type Repositories = BTreeMap<String, Option<BTreeMap<String, ImageId>>>;

/// An archive of the oldest docker save format.
pub(crate) struct Saved<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    repositories: BTreeMap<Option<String>, Tags>,
}

/// Whether the archive has Docker v1 images in folders of their own.
pub(crate) fn has_images(tree: &Tree) -> bool {
    image_ids(tree).next().is_some()
}

/// The Docker v1 images of an archive, each with its parent.
pub(crate) fn parents(
    tree: &Tree,
    limits: &Limits,
) -> Result<BTreeMap<ImageId, Option<ImageId>>, ImageError> {
    let mut found = BTreeMap::new();
    let mut known = Known::default();
    for id in image_ids(tree) {
        if let Some((parent, _)) = known.read(&id, &files(tree, &id, limits)?, limits)? {
            found.insert(id, parent);
        }
    }
    Ok(found)
}

fn files(tree: &Tree, id: &ImageId, limits: &Limits) -> Result<Files, ImageError> {
    Ok(Files {
        json: tree.file(&format!("{id}/json"), limits)?,
        layer: tree.file(&format!("{id}/layer.tar"), limits)?,
        ancestry: None,
    })
}

fn image_ids(tree: &Tree) -> impl Iterator<Item = ImageId> {
    tree.names("").filter_map(|name| name.strip_suffix("/json")?.parse().ok())
}

impl<'a> Saved<'a> {
    pub(crate) fn open(tree: &'a Tree, limits: &'a Limits) -> Result<Self, ImageError> {
        let mut saved = Self { tree, limits, repositories: BTreeMap::new() };
        if let Some(content) = tree.file("repositories", limits)? {
            let named: Option<Repositories> = json::read(&content, limits)?;
            for (name, tags) in named.unwrap_or_default() {
                let tags = tags.unwrap_or_default().into_iter();
                let tags: Tags =
                    tags.map(|(tag, id)| (tag.parse().map_err(|_| format!("{name}:{tag}")), id)).collect();
                if !tags.is_empty() {
                    saved.repositories.insert(Some(familiar(&name).to_owned()), tags);
                }
            }
        }
        if saved.repositories.is_empty() {
            // docker save of an image by its id names nothing: the images are those that no other is built on.
            let tops = saved.tops()?;
            if !tops.is_empty() {
                saved
                    .repositories
                    .insert(None, tops.into_iter().map(|id| (Err(String::new()), id)).collect());
            }
        }
        Ok(saved)
    }

    fn tops(&self) -> Result<Vec<ImageId>, ImageError> {
        let images = parents(self.tree, self.limits)?;
        let inner: BTreeSet<ImageId> = images.values().copied().flatten().collect();
        Ok(images.into_keys().filter(|id| !inner.contains(id)).collect())
    }

    fn files(&self, id: &ImageId) -> Result<Files, ImageError> {
        files(self.tree, id, self.limits)
    }

    fn tags(&self, repository: Option<&str>) -> Result<&Tags, ImageError> {
        let tags = self.repositories.iter().find(|(name, _)| name.as_deref() == repository);
        tags.map(|(_, tags)| tags).ok_or_else(|| ImageError::choice("`repositories` names no image"))
    }

    pub(crate) fn read(&self, selection: &Selection) -> Result<V1Set, ImageError> {
        collect(self.tags(selection.repository())?, selection, |id| self.files(id), self.limits)
    }
}

impl Catalogue for Saved<'_> {
    fn repositories(&self) -> Result<Vec<Option<String>>, ImageError> {
        Ok(self.repositories.keys().cloned().collect())
    }

    fn images(&self, repository: Option<&str>) -> Result<Vec<ListedImage>, ImageError> {
        Ok(list(self.tags(repository)?))
    }

    fn unnamed(&self) -> Unnamed {
        Unnamed::Latest
    }

    fn has_manifests(&self) -> bool {
        false
    }
}
