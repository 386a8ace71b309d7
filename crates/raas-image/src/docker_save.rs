//! docker save archives with a `manifest.json`: configs and layer tars.

use std::collections::BTreeMap;

use raas_types::Digest;
use serde::Deserialize;

use crate::config_facts::ConfigFacts;
use crate::manifests::{no_such_tag, repository_names};
use crate::select::Wanted;
use crate::source_name::SourceName;
use crate::tree::Tree;
use crate::{ImageError, Limits, Rule, SavedImage, SavedSet, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

const LIST: &str = "manifest.json";

fn entries(tree: &Tree, limits: &Limits) -> Result<Vec<Entry>, ImageError> {
    json::read(&tree.need(LIST, "a docker save archive has it", limits)?, limits)
}

/// The names of the tagged images.
pub(crate) fn repositories(tree: &Tree, limits: &Limits) -> Result<Vec<String>, ImageError> {
    let entries = entries(tree, limits)?;
    let tags = entries.iter().flat_map(|entry| entry.repo_tags.iter().flatten());
    Ok(repository_names(tags.map(|tag| SourceName::parse_reference(tag).repository)))
}

/// The images of the wanted repository, or the untagged one.
pub(crate) fn image(tree: &Tree, wanted: &Wanted, limits: &Limits) -> Result<SavedSet, ImageError> {
    let entries = entries(tree, limits)?;
    let mut chosen: BTreeMap<String, (Vec<raas_types::Tag>, &Entry)> = BTreeMap::new();
    let mut given: BTreeMap<raas_types::Tag, &String> = BTreeMap::new();
    let mut untagged = Vec::new();
    for entry in &entries {
        let names = entry.repo_tags.as_deref().unwrap_or_default();
        if names.is_empty() {
            untagged.push(entry);
        }
        for name in names {
            let parsed = SourceName::parse_reference(name);
            if wanted.repository.is_some() && parsed.repository != wanted.repository {
                continue;
            }
            let tag =
                parsed.tag.ok_or_else(|| ImageError::content(LIST, format!("`{name}` has no valid tag")))?;
            match given.insert(tag.clone(), &entry.config) {
                Some(other) if *other != entry.config => {
                    let message =
                        format!("it gives the tag `{tag}` to two images, {other} and {}", entry.config);
                    return Err(ImageError::content(LIST, message));
                }
                Some(_) => {}
                None => chosen.entry(entry.config.clone()).or_insert_with(|| (Vec::new(), entry)).0.push(tag),
            }
        }
    }
    if chosen.is_empty() {
        let tag = wanted.tag.clone().unwrap_or_else(|| "latest".parse().expect("a tag"));
        match untagged.as_slice() {
            [one] => drop(chosen.insert(one.config.clone(), (vec![tag], *one))),
            [] => return Err(ImageError::choice("the archive has no image")),
            several => {
                let configs: Vec<&str> = several.iter().map(|entry| entry.config.as_str()).collect();
                return Err(ImageError::choice(format!(
                    "the archive has {} images and tags none of them, so raas cannot tell which is `{tag}`: {}",
                    several.len(),
                    configs.join(", ")
                )));
            }
        }
    } else if let Some(tag) = &wanted.tag {
        let all: Vec<_> = chosen.values().flat_map(|(tags, _)| tags.clone()).collect();
        chosen.retain(|_, (tags, _)| tags.contains(tag));
        chosen.values_mut().for_each(|(tags, _)| tags.retain(|other| other == tag));
        if chosen.is_empty() {
            return Err(no_such_tag(tag, all.iter()));
        }
    }
    let mut set = SavedSet::default();
    let mut bytes = 0;
    for (tags, entry) in chosen.into_values() {
        read_image(tree, tags, entry, limits, &mut set)?;
        // All configs stay in memory.
        bytes += set.images.last().map_or(0, |image| image.config.len() as u64);
        if bytes > limits.manifests {
            let rule = Rule::TooLarge { size: bytes, limit: limits.manifests };
            return Err(ImageError::refused(&entry.config, rule));
        }
    }
    Ok(set)
}

fn read_image(
    tree: &Tree,
    tags: Vec<raas_types::Tag>,
    entry: &Entry,
    limits: &Limits,
    set: &mut SavedSet,
) -> Result<(), ImageError> {
    let content = tree.need(&entry.config, &format!("{LIST} names it as a config"), limits)?;
    let config = content.read_all(limits.json)?;
    let facts: ConfigFacts = json::parse(&entry.config, &config)?;
    // Docker names a config after its digest. Other tools need not; where the name is one it has to be right.
    let stem = entry.config.rsplit('/').next().unwrap_or_default();
    if let Ok(expected) = Digest::from_hex(stem.strip_suffix(".json").unwrap_or(stem)) {
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
            let layer = tree.need(name, &format!("{LIST} names it as a layer"), limits)?;
            set.layers.insert(*diff_id, layer);
        }
    }
    set.images.push(SavedImage { tags, config, diff_ids, platform });
    Ok(())
}
