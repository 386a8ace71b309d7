//! Makes config and manifest of Docker's schema 2 for images without a manifest, so that today's clients can pull them.

use raas_types::{Digest, ImageId, Platform, media_type};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::stream::{Packed, Packing};
use crate::{ImageError, Limits, Rule, V1Set};

/// A layer as a manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedLayer {
    /// Digest of the stored bytes.
    pub digest: Digest,
    /// Length of the stored bytes.
    pub size: u64,
    /// Digest of the plain tar.
    pub diff_id: Digest,
    /// Packing of the stored bytes.
    pub packing: Packing,
}

impl PackedLayer {
    /// The layer as [`pack`](crate::pack) stored it.
    pub fn stored(packed: &Packed) -> Self {
        Self { digest: packed.blob, size: packed.blob_size, diff_id: packed.diff_id, packing: packed.packing }
    }

    /// The layer as the source has it, for a masked layer.
    pub fn as_in_source(packed: &Packed) -> Self {
        Self {
            digest: packed.raw,
            size: packed.raw_size,
            diff_id: packed.diff_id,
            packing: packed.raw_packing,
        }
    }

    fn media_type(&self) -> &'static str {
        match self.packing {
            Packing::Plain => media_type::DOCKER_LAYER,
            Packing::Gzip => media_type::DOCKER_LAYER_GZIP,
            Packing::Zstd => "application/vnd.docker.image.rootfs.diff.tar.zstd",
        }
    }
}

/// A config and a manifest that raas made for an image.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The config's bytes.
    pub config: Vec<u8>,
    /// The manifest's bytes, of type [`media_type::DOCKER_MANIFEST`].
    pub manifest: Vec<u8>,
    /// What the image runs on.
    pub platform: Platform,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Schema2<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Entry<'a>,
    layers: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    size: u64,
    digest: Digest,
}

/// The schema 2 manifest of a config and its layers, the base first. Equal input gives equal bytes.
///
/// Source: Docker image manifest version 2, schema 2.
pub fn build_manifest(config: &[u8], layers: &[PackedLayer]) -> Vec<u8> {
    let config = Entry {
        media_type: media_type::DOCKER_CONFIG,
        size: config.len() as u64,
        digest: Digest::of(config),
    };
    let layers = layers
        .iter()
        .map(|layer| Entry { media_type: layer.media_type(), size: layer.size, digest: layer.digest })
        .collect();
    let manifest = Schema2 { schema_version: 2, media_type: media_type::DOCKER_MANIFEST, config, layers };
    serde_json::to_vec_pretty(&manifest).expect("a manifest has text keys only")
}

/// The config and manifest of a v1 image. The config is the image's json with the diff ids of its layers and a history
/// from the json files of its ancestors. `json_of` gives the json file of an image, `layer_of` its layer.
///
/// # Errors
/// A json file is too long or is not a JSON object.
pub fn build_from_v1(
    set: &V1Set,
    top: &ImageId,
    json_of: impl Fn(&ImageId) -> Result<Vec<u8>, ImageError>,
    layer_of: impl Fn(&ImageId) -> PackedLayer,
    limits: &Limits,
) -> Result<BuiltImage, ImageError> {
    let mut history = Vec::new();
    let mut layers = Vec::new();
    let mut own = Map::new();
    let mut told = 0;
    for id in set.chain(top) {
        let bytes = json_of(&id)?;
        if bytes.len() as u64 > limits.json {
            let rule = Rule::TooLarge { size: bytes.len() as u64, limit: limits.json };
            return Err(ImageError::refused(format!("{id}/json"), rule));
        }
        let image: Map<String, Value> = crate::json::parse(&format!("{id}/json"), &bytes)?;
        let entry = history_entry(&image);
        told += entry.to_string().len() as u64;
        if told > limits.json {
            let rule = Rule::TooLarge { size: told, limit: limits.json };
            return Err(ImageError::refused(format!("the history of {top}"), rule));
        }
        history.push(entry);
        layers.push(layer_of(&id));
        own = image;
    }
    // Keys of v1 alone: identities of images, and sizes that clients do not read from a config.
    for key in ["id", "parent", "parent_id", "layer_id", "Size", "checksum", "throwaway"] {
        own.remove(key);
    }
    let text = |own: &Map<String, Value>, key: &str| own.get(key).and_then(Value::as_str).map(str::to_owned);
    let platform = Platform {
        // Docker v1 ran on linux/amd64 alone, and images may not have the keys.
        architecture: text(&own, "architecture").unwrap_or_else(|| "amd64".into()),
        os: text(&own, "os").unwrap_or_else(|| "linux".into()),
        variant: None,
        os_version: None,
    };
    own.insert("architecture".into(), platform.architecture.clone().into());
    own.insert("os".into(), platform.os.clone().into());
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
    own.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    own.insert("history".into(), history.into());
    let config = serde_json::to_vec(&own).expect("a config has text keys only");
    let manifest = build_manifest(&config, &layers);
    Ok(BuiltImage { config, manifest, platform })
}

/// Source: OCI image-spec 1.1, config.md, `history`.
fn history_entry(image: &Map<String, Value>) -> Value {
    let mut entry = Map::new();
    for key in ["created", "author", "comment"] {
        if let Some(value) =
            image.get(key).filter(|value| value.as_str().is_some_and(|text| !text.is_empty()))
        {
            entry.insert(key.into(), value.clone());
        }
    }
    let command =
        image.get("container_config").and_then(|config| config.get("Cmd")).and_then(Value::as_array);
    if let Some(words) = command {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        entry.insert("created_by".into(), words.join(" ").into());
    }
    entry.into()
}
