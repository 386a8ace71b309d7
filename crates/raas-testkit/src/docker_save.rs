//! Archives of `docker save`, in its three generations.

use raas_types::{Digest, media_type};
use serde_json::{Map, Value, json};

use crate::Files;
use crate::layers::Pack;
use crate::oci::{IMAGE_NAME, Layer, Layout, REF_NAME, blob_name, descriptor};
use crate::pulp2::id;

/// An image to be saved.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// Its names with tags, such as `app:1.0`; none for an untagged image.
    pub names: &'a [&'a str],
    /// Its layers, plain tars, the base first.
    pub layers: &'a [Vec<u8>],
}

/// The places of layers in the newer generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerPlaces {
    /// Each in the folder of its image.
    Folders,
    /// In the folder of its image. A layer that another image has is a link to the first copy.
    Links,
}

/// The oldest generation: `repositories`, and a folder for each layer's Docker v1 image.
pub fn oldest(images: &[Saved<'_>]) -> Files {
    let mut files = Files::new();
    let mut repositories = Map::new();
    for image in images {
        let mut parent: Option<String> = None;
        for layer in image.layers {
            let own = v1_id(parent.as_deref(), layer);
            let mut facts = json!({
                "id": own, "created": "2014-10-24T12:00:00Z", "architecture": "amd64", "os": "linux",
                "config": {"Cmd": ["/run"]}, "container_config": {"Cmd": ["/bin/sh", "-c", "#(nop) ADD"]},
            });
            if let Some(parent) = &parent {
                facts["parent"] = parent.as_str().into();
            }
            files
                .set(format!("{own}/VERSION"), "1.0")
                .set(format!("{own}/json"), facts.to_string())
                .set(format!("{own}/layer.tar"), layer.clone());
            parent = Some(own);
        }
        for name in image.names {
            let (name, tag) = name.rsplit_once(':').expect("a name has a tag");
            let tags = repositories.entry(name).or_insert_with(|| json!({}));
            tags[tag] = parent.clone().into();
        }
    }
    files.set("repositories", Value::from(repositories).to_string());
    files
}

/// The newer generation: `manifest.json`, `<config>.json`, `<id>/layer.tar`, and `repositories` for old readers.
pub fn newer(images: &[Saved<'_>], places: LayerPlaces) -> Files {
    let mut files = Files::new();
    let mut entries = Vec::new();
    let mut first_places: Vec<(Digest, String)> = Vec::new();
    for image in images {
        let config = config(image.layers);
        let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
        let mut layers = Vec::new();
        let mut parent: Option<String> = None;
        for layer in image.layers {
            let (digest, own) = (Digest::of(layer), v1_id(parent.as_deref(), layer));
            let name = format!("{own}/layer.tar");
            match first_places.iter().find(|(other, place)| *other == digest && *place != name) {
                Some((_, place)) if places == LayerPlaces::Links => files.link(&name, format!("../{place}")),
                _ => files.set(&name, layer.clone()),
            };
            first_places.push((digest, name.clone()));
            files.set(format!("{own}/VERSION"), "1.0");
            layers.push(name);
            parent = Some(own);
        }
        files.set(&config_name, config);
        entries.push(json!({"Config": config_name, "RepoTags": tags(image), "Layers": layers}));
    }
    files.set("manifest.json", Value::from(entries).to_string());
    files.set("repositories", "{}");
    files
}

/// The newest generation: an OCI layout whose layers are plain tars, with `manifest.json` beside it.
pub fn newest(images: &[Saved<'_>]) -> Files {
    let mut layout = Layout::new();
    let mut entries = Vec::new();
    for image in images {
        let layers: Vec<Layer> = image
            .layers
            .iter()
            .map(|plain| Layer {
                descriptor: layout.blob(Pack::Plain.media_type(), plain.clone()),
                diff_id: Digest::of(plain),
            })
            .collect();
        let config = config(image.layers);
        let config = layout.blob(media_type::OCI_CONFIG, config);
        let descriptors: Vec<_> = layers.iter().map(|layer| &layer.descriptor).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": descriptors,
        });
        let manifest = layout.document(media_type::OCI_MANIFEST, &manifest);
        for name in image.names {
            let tag = name.rsplit_once(':').expect("a name has a tag").1;
            layout.root(&manifest, [(IMAGE_NAME, *name), (REF_NAME, tag)]);
        }
        if image.names.is_empty() {
            layout.untagged(&descriptor(&manifest.media_type, manifest.digest, manifest.size));
        }
        let places: Vec<String> = layers.iter().map(|layer| blob_name(&layer.descriptor.digest)).collect();
        entries.push(json!({"Config": blob_name(&config.digest), "RepoTags": tags(image), "Layers": places}));
    }
    let mut files = layout.files();
    files.set("manifest.json", Value::from(entries).to_string());
    files
}

/// The newest generation of an image for many platforms: the whole index, the images of the platforms that docker has
/// pulled, and the first of these in `manifest.json`. Its name is `app:1`.
pub fn platforms(all: &[&str], pulled: &[&str], pack: Pack) -> Files {
    let mut layout = Layout::new();
    let mut children = Vec::new();
    let mut first = None;
    for architecture in all {
        let layer = layout.layer(&[("name", architecture.as_bytes())], pack);
        let image = layout.image(architecture, std::slice::from_ref(&layer));
        let manifest: Value =
            serde_json::from_slice(layout.bytes(&image.digest)).expect("a manifest is JSON");
        let config: Digest = serde_json::from_value(manifest["config"]["digest"].clone()).expect("a digest");
        if pulled.contains(architecture) {
            first.get_or_insert((blob_name(&config), blob_name(&layer.descriptor.digest)));
        } else {
            for digest in [image.digest, config, layer.descriptor.digest] {
                layout.remove(&digest);
            }
        }
        children.push(image);
    }
    let index = layout.index(&children);
    layout.root(&index, [(IMAGE_NAME, "docker.io/library/app:1"), (REF_NAME, "1")]);
    let entries: Vec<Value> = first
        .map(|(config, layer)| json!({"Config": config, "RepoTags": ["app:1"], "Layers": [layer]}))
        .into_iter()
        .collect();
    let mut files = layout.files();
    files.set("manifest.json", Value::from(entries).to_string());
    files
}

fn tags(image: &Saved<'_>) -> Value {
    if image.names.is_empty() { Value::Null } else { json!(image.names) }
}

fn config(layers: &[Vec<u8>]) -> String {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/run"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
}

fn v1_id(parent: Option<&str>, layer: &[u8]) -> String {
    id(&format!("{} {}", parent.unwrap_or("base"), Digest::of(layer).hex()))
}
