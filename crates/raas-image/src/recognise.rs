//! Recognising the format of a source by the files that only this format has.

use std::collections::BTreeSet;

use raas_types::{Digest, Manifest, ManifestBody, media_type};

use crate::config_facts::ConfigFacts;
use crate::docker_save::{LIST, Saved};
use crate::error::legible;
use crate::kind::SourceKind;
use crate::oci::Layout;
use crate::tree::Tree;
use crate::{ImageError, Limits, Rule, Store, StoredManifest, dir, docker_v1, pulp2};

/// The format, and what the user should know about the decision.
pub(crate) fn recognise(
    tree: &Tree,
    what: &str,
    limits: &Limits,
) -> Result<(SourceKind, Option<String>), ImageError> {
    let has = |name: &str| tree.file(name, limits).map(|file| file.is_some());
    if has("oci-layout")? && has("index.json")? {
        return if has(LIST)? { saved_layout(tree, limits) } else { Ok((SourceKind::Oci, None)) };
    }
    if has(LIST)? {
        let kind = if dir::is_directory(tree, limits)? { SourceKind::Dir } else { SourceKind::DockerSave };
        return Ok((kind, None));
    }
    if has("repositories")? {
        return Ok((SourceKind::DockerV1, None));
    }
    if has("versions.json")? && tree.names("pulpcore.app.modelresource.").next().is_some() {
        return Ok((SourceKind::Pulp3, None));
    }
    if tree.names("web/").next().is_some() || pulp2::has_document(tree, limits) {
        return Ok((SourceKind::Pulp2, None));
    }
    if docker_v1::has_images(tree) {
        return Ok((SourceKind::DockerV1, None));
    }
    let found = match tree {
        Tree::Folder(_) => {
            "a folder without `oci-layout` and `index.json`, or `version` and `manifest.json`".to_owned()
        }
        Tree::Tar { index, .. } if index.is_empty() => "an empty archive".to_owned(),
        Tree::Tar { .. } => {
            let some: Vec<&str> = tree.names("").take(3).collect();
            format!(
                "an archive ({}, …) that is neither a Pulp export, a docker save archive nor an OCI image layout",
                legible(&some.join(", "), 300)
            )
        }
    };
    Err(ImageError::NotAnImage { what: what.to_owned(), found })
}

/// docker writes two descriptions of its images: `index.json` with manifests, and `manifest.json` with configs and
/// layers. The complete one is used. If both are, manifests are published as they are, unless all layers are plain tars
/// of single images: these are better packed, which makes new manifests.
fn saved_layout(tree: &Tree, limits: &Limits) -> Result<(SourceKind, Option<String>), ImageError> {
    let layout = described(Layout::open(tree, limits).and_then(|layout| Facts::of(&layout, limits)))?;
    let saved = described(Saved::open(tree, limits))?;
    let (facts, saved) = match (layout, saved) {
        (Ok(facts), Ok(saved)) => (facts, saved),
        (Err(fault), Ok(saved)) if saved.is_whole()? => return Ok(use_list(&fault)),
        // The fault is reported when the description is read.
        (Err(_), _) => return Ok((SourceKind::Oci, None)),
        (Ok(facts), Err(fault)) => {
            return Ok((SourceKind::Oci, facts.fault.is_none().then(|| not_list(&fault))));
        }
    };
    let saved_is_whole = saved.is_whole()?;
    match &facts.fault {
        Some(fault) if saved_is_whole => return Ok(use_list(fault)),
        None if !saved_is_whole => {
            return Ok((
                SourceKind::Oci,
                Some(not_list("it has no image, or files of its images are missing")),
            ));
        }
        _ => {}
    }
    let listed = saved.configs();
    let only_in_list: Vec<String> = listed.difference(&facts.configs).map(|c| c.short()).collect();
    let all_in_list = facts.configs.is_subset(&listed);
    if saved_is_whole && !only_in_list.is_empty() && facts.fault.is_none() {
        let missing = only_in_list.join(", ");
        return Ok(match all_in_list {
            true => use_list(&format!("it lacks images of manifest.json, {missing}")),
            false => (SourceKind::Oci, Some(not_list(&format!("its images {missing} are not published")))),
        });
    }
    let better_packed = facts.has_plain_layers && !facts.has_index && all_in_list;
    Ok((if better_packed { SourceKind::DockerSave } else { SourceKind::Oci }, None))
}

fn use_list(fault: &str) -> (SourceKind, Option<String>) {
    let note = format!("the images are read from manifest.json; index.json is incomplete: {fault}");
    (SourceKind::DockerSave, Some(legible(&note, 1000)))
}

fn not_list(fault: &str) -> String {
    legible(&format!("the images are read from index.json, not from manifest.json: {fault}"), 1000)
}

/// A description, or its fault. Only the failure to read the source is an error.
fn described<T>(outcome: Result<T, ImageError>) -> Result<Result<T, String>, ImageError> {
    match outcome {
        Ok(description) => Ok(Ok(description)),
        Err(error @ (ImageError::Read { .. } | ImageError::Write { .. })) => Err(error),
        Err(error @ ImageError::Refused { rule: Rule::TooLarge { .. } | Rule::Duplicate, .. }) => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// What the manifests of a layout say, as far as the layout has them.
#[derive(Default)]
struct Facts {
    has_index: bool,
    has_plain_layers: bool,
    configs: BTreeSet<Digest>,
    /// Why the layout is no complete description.
    fault: Option<String>,
}

impl Facts {
    fn of(layout: &Layout<'_>, limits: &Limits) -> Result<Self, ImageError> {
        let mut facts = Facts::default();
        let mut queue: Vec<(Digest, Option<String>, bool)> =
            layout.roots().map(|root| (root.digest, root.media_type.clone(), true)).collect();
        if queue.is_empty() {
            facts.fault = Some("it lists no manifest".to_owned());
        }
        let mut seen = BTreeSet::new();
        let (mut read, mut read_of_configs) = (0, 0);
        while let Some((digest, media_type, is_root)) = queue.pop() {
            // An index may list a manifest many times, and a hostile one may list indexes many levels deep.
            if !seen.insert(digest) {
                continue;
            }
            let Some(StoredManifest { bytes, .. }) = layout.manifest(&digest)? else {
                // docker saves an index with the platforms that it has, so only a root must be there.
                if is_root {
                    facts.fault = Some(format!("its manifest {digest} is not in the archive"));
                }
                continue;
            };
            read += bytes.len() as u64;
            if read > limits.manifests {
                let rule = Rule::TooLarge { size: read, limit: limits.manifests };
                return Err(ImageError::refused(layout.name(&digest), rule));
            }
            let Ok(manifest) = Manifest::parse(&bytes, media_type.as_deref()) else {
                continue;
            };
            match manifest.body {
                ManifestBody::Index { manifests } => {
                    facts.has_index = true;
                    queue.extend(
                        manifests.into_iter().map(|child| (child.digest, Some(child.media_type), false)),
                    );
                }
                ManifestBody::Image { config, layers } => {
                    let plain = Some(media_type::LayerPacking::Plain);
                    facts.has_plain_layers |=
                        layers.iter().any(|layer| media_type::layer_packing(&layer.media_type) == plain);
                    facts.configs.insert(config.digest);
                    if !is_root {
                        continue;
                    }
                    let Some(content) = layout.blob(&config.digest)? else {
                        facts.fault = Some(format!("the config of its image {digest} is not in the archive"));
                        continue;
                    };
                    read_of_configs += content.size();
                    if read_of_configs > limits.configs {
                        let rule = Rule::TooLarge { size: read_of_configs, limit: limits.configs };
                        return Err(ImageError::refused(content.name(), rule));
                    }
                    let config = content.read_all(limits.json)?;
                    let diff_ids = serde_json::from_slice::<ConfigFacts>(&config)
                        .map_or(0, |facts| facts.rootfs.diff_ids.len());
                    if layers.is_empty() && diff_ids > 0 {
                        facts.fault =
                            Some(format!("its image {digest} has no layers, and its config has {diff_ids}"));
                    }
                    for layer in layers.iter().filter(|layer| layer.urls.is_empty()) {
                        if layout.blob(&layer.digest)?.is_none() {
                            facts.fault = Some(format!(
                                "the layer {} of its image {digest} is not in the archive",
                                layer.digest
                            ));
                        }
                    }
                }
            }
        }
        Ok(facts)
    }
}
