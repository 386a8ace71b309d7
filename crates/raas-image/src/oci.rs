//! OCI image layouts, as folder or tar. Source: OCI image-spec 1.1, image-layout.md.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::{Descriptor, Digest, Manifest, ManifestBody, Tag, media_type};
use serde::Deserialize;

use crate::manifests::{Root, Store, StoredManifest, collect, repository_names};
use crate::select::Wanted;
use crate::source_name::SourceName;
use crate::tree::Tree;
use crate::{Content, ImageError, Limits, ManifestSet, Rule, json};

/// The name that the image-spec gives a manifest in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole reference, as containerd and docker add it.
const IMAGE_NAME: &str = "io.containerd.image.name";

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutMark {
    image_layout_version: String,
}

struct Layout<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
}

impl Store for Layout<'_> {
    fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError> {
        let Some(content) = self.blob(digest)? else {
            return Ok(None);
        };
        Ok(Some(StoredManifest { bytes: content.read_all(Manifest::MAX_SIZE)?, media_type: None }))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Content>, ImageError> {
        self.tree.file(&self.name(digest), self.limits)
    }

    fn name(&self, digest: &Digest) -> String {
        format!("blobs/sha256/{}", digest.hex())
    }
}

fn index(tree: &Tree, limits: &Limits) -> Result<Vec<Descriptor>, ImageError> {
    let mark = tree.need("oci-layout", "an OCI image layout has it", limits)?;
    let LayoutMark { image_layout_version } = json::read(&mark, limits)?;
    if !image_layout_version.starts_with("1.") {
        let message = format!("its imageLayoutVersion is `{image_layout_version}`; raas reads version 1");
        return Err(ImageError::content("oci-layout", message));
    }
    let index: Index = json::read(&tree.need("index.json", "an OCI image layout has it", limits)?, limits)?;
    Ok(index.manifests)
}

/// The names that containerd noted for the images of the layout.
pub(crate) fn repositories(tree: &Tree, limits: &Limits) -> Result<Vec<String>, ImageError> {
    let names = index(tree, limits)?;
    let names = names.iter().map(name_of).collect::<Result<Vec<_>, _>>()?;
    Ok(repository_names(names.into_iter().map(|name| name.repository)))
}

/// The image, or all images, of the layout.
pub(crate) fn image(tree: &Tree, wanted: &Wanted, limits: &Limits) -> Result<ManifestSet, ImageError> {
    let layout = Layout { tree, limits };
    let saved_by_docker = tree.file("manifest.json", limits)?.is_some();
    let mut notes = Vec::new();
    let mut roots = Vec::new();
    let mut platforms: BTreeMap<Digest, Option<Descriptor>> = BTreeMap::new();
    for descriptor in index(tree, limits)? {
        let name = name_of(&descriptor)?;
        let elsewhere =
            matches!((&name.repository, &wanted.repository), (Some(has), Some(wants)) if has != wants);
        if elsewhere {
            continue;
        }
        let mut root = Root::of(&descriptor, name.tag);
        let mut only = None;
        if saved_by_docker && media_type::is_index(&descriptor.media_type) {
            only = match platforms.get(&descriptor.digest) {
                Some(known) => known.clone(),
                None => {
                    let found = only_platform(&layout, &descriptor)?;
                    platforms.entry(descriptor.digest).or_insert(found).clone()
                }
            };
        }
        if let Some(only) = only {
            notes.push(format!(
                "the archive holds one platform of the index {} ({}); that image is published, not the index",
                descriptor.digest,
                only.platform.as_ref().map_or_else(|| "unnamed".into(), ToString::to_string),
            ));
            root = Root::of(&only, root.tag);
        }
        roots.push(root);
    }
    let mut set = collect(&layout, &roots, wanted.tag.as_ref(), limits)?;
    set.notes.extend(notes);
    Ok(set)
}

/// docker saves a many-platform image with the platforms that it has pulled, and the whole index beside them. Where
/// that is one platform, this is its manifest; `None` where all are there. (The daemon pushes by the same rule.)
fn only_platform(layout: &Layout<'_>, index: &Descriptor) -> Result<Option<Descriptor>, ImageError> {
    let Some(StoredManifest { bytes, .. }) = layout.manifest(&index.digest)? else {
        return Ok(None);
    };
    let name = layout.name(&index.digest);
    let parsed = Manifest::parse(&bytes, Some(&index.media_type))
        .map_err(|e| ImageError::refused(name, Rule::manifest(e)))?;
    let mut there = Vec::new();
    let mut missing = 0;
    for child in parsed.children() {
        match layout.blob(&child.digest)? {
            // An attestation is no platform.
            Some(_) if child.annotation("vnd.docker.reference.type").is_none() => there.push(child.clone()),
            Some(_) => {}
            None => missing += 1,
        }
    }
    Ok(if missing > 0 && there.len() == 1 { there.pop() } else { None })
}

/// Whether an image of the layout has layers that are not packed.
pub(crate) fn has_plain_layers(tree: &Tree, limits: &Limits) -> Result<bool, ImageError> {
    let layout = Layout { tree, limits };
    let mut queue = index(tree, limits)?;
    let mut seen = BTreeSet::new();
    let mut read = 0;
    while let Some(descriptor) = queue.pop() {
        // However often and however deep it is listed.
        if !seen.insert(descriptor.digest) {
            continue;
        }
        let Some(StoredManifest { bytes, .. }) = layout.manifest(&descriptor.digest)? else {
            continue;
        };
        read += bytes.len() as u64;
        if read > limits.manifests {
            let rule = Rule::TooLarge { size: read, limit: limits.manifests };
            return Err(ImageError::refused(layout.name(&descriptor.digest), rule));
        }
        let Ok(manifest) = Manifest::parse(&bytes, Some(&descriptor.media_type)) else {
            continue;
        };
        match manifest.body {
            ManifestBody::Index { manifests } => queue.extend(manifests),
            ManifestBody::Image { layers, .. } => {
                let plain = Some(media_type::LayerPacking::Plain);
                if layers.iter().any(|layer| media_type::layer_packing(&layer.media_type) == plain) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// What a descriptor of `index.json` is called: builders write a tag, a whole reference, or nothing.
fn name_of(descriptor: &Descriptor) -> Result<SourceName, ImageError> {
    let from_containerd = descriptor.annotation(IMAGE_NAME).map(SourceName::parse_reference);
    let ref_name = descriptor.annotation(REF_NAME);
    let repository = from_containerd.as_ref().and_then(|name| name.repository.clone());
    match ref_name {
        Some(text) => match text.parse::<Tag>() {
            Ok(tag) => Ok(SourceName { repository, tag: Some(tag) }),
            Err(error) => {
                let name = SourceName::parse_reference(text);
                if name.tag.is_none() {
                    return Err(ImageError::content(format!("index.json, {REF_NAME}"), error.to_string()));
                }
                Ok(SourceName { repository: repository.or(name.repository), tag: name.tag })
            }
        },
        None => Ok(from_containerd.unwrap_or_default()),
    }
}
