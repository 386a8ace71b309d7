//! Manifests, as far as a registry must understand them: their descriptors, and their subject.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::null::optional_texts;
use crate::{Digest, DigestError, media_type, null_as_default};

/// A reference to content by media type, digest and size.
///
/// Optional keys may be absent or `null`: programs in Go write both.
///
/// Source: OCI image-spec 1.1, descriptor.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The content's media type; empty if the descriptor has none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's length in bytes. Old manifest lists have none, which is 0 here; no manifest is empty.
    #[serde(default, deserialize_with = "null_as_default")]
    pub size: u64,
    /// URLs outside the registry with the same content. A layer that must not be redistributed is available only there.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The content itself in base64, if it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// In an index: what the image runs on.
    #[serde(default, deserialize_with = "platform", skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free annotations, such as the reference name in an OCI layout.
    #[serde(default, deserialize_with = "optional_texts", skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// The type of an artifact, if the descriptor has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// Reads a platform. A platform without processor and operating system counts as absent.
fn platform<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Platform>, D::Error> {
    let platform = Option::<Platform>::deserialize(deserializer)?;
    Ok(platform.filter(|platform| !platform.architecture.is_empty() || !platform.os.is_empty()))
}

impl Descriptor {
    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// What an image runs on.
///
/// Source: OCI image-spec 1.1, image-index.md, `platform`.
///
/// ```
/// use raas_types::Platform;
///
/// let platform: Platform = "linux/arm64/v8".parse()?;
/// assert_eq!((platform.architecture.as_str(), platform.variant.as_deref()), ("arm64", Some("v8")));
/// assert_eq!(platform.to_string(), "linux/arm64/v8");
/// assert!("arm64".parse::<Platform>().is_err());
/// # Ok::<(), raas_types::PlatformError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, by Go's name: `amd64`, `arm64`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// The operating system, by Go's name: `linux`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// The processor's variant: `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The operating system's version, which Windows images need.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// A text that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform: expected os/architecture or os/architecture/variant, such as linux/amd64")]
pub struct PlatformError(String);

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some((*variant).to_owned())),
            _ => ("", "", None),
        };
        if word(os) && word(architecture) && variant.as_deref().is_none_or(word) {
            let (os, architecture) = (os.to_owned(), architecture.to_owned());
            Ok(Platform { architecture, os, variant, os_version: None })
        } else {
            Err(PlatformError(text.chars().take(200).collect()))
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// A parsed manifest. raas stores and serves the bytes that it was read from, and never writes it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The media type: the document's own, or that of its descriptor if the document has none.
    pub media_type: String,
    /// The content that it lists.
    pub body: ManifestBody,
    /// The manifest that this one is attached to.
    pub subject: Option<Descriptor>,
    /// The type of the artifact, for the referrers API: its `artifactType`, or the media type of its config.
    pub artifact_type: Option<String>,
    /// The annotations, which the referrers API passes on.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The two shapes of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestBody {
    /// A config and layers.
    Image {
        /// The config.
        config: Box<Descriptor>,
        /// The layers, the base first.
        layers: Vec<Descriptor>,
    },
    /// Other manifests, usually one per platform.
    Index {
        /// The manifests listed.
        manifests: Vec<Descriptor>,
    },
}

/// Why raas does not publish bytes as a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The manifest is longer than registries must accept.
    #[error("it is {size} bytes long, more than the {limit} that registries accept")]
    TooLarge {
        /// Its length.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The bytes are not JSON, or a key has the wrong type.
    #[error("it is not a manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// A digest in the manifest is malformed or of an unknown algorithm.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The manifest is of Docker's schema 1.
    #[error(
        "it is a schema 1 manifest, which today's clients cannot pull; push the image to its source again with a \
         client of this decade, or pick another tag"
    )]
    Schema1,
    /// The media type is not that of a manifest.
    #[error("its media type `{0}` is neither an image manifest nor an index")]
    MediaType(String),
    /// Clients would disagree about what the manifest is (CVE-2021-41190).
    #[error("it is ambiguous: {0}")]
    Ambiguous(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u8,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "optional_texts")]
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// The longest manifest, in bytes, that every registry accepts: OCI distribution-spec 1.1, "Pushing manifests".
    pub const MAX_SIZE: u64 = 4 * 1024 * 1024;

    /// Reads a manifest. `found_as` is the media type in its descriptor, for a manifest without a type of its own.
    pub fn parse(bytes: &[u8], found_as: Option<&str>) -> Result<Self, ManifestError> {
        let size = bytes.len() as u64;
        if size > Self::MAX_SIZE {
            return Err(ManifestError::TooLarge { size, limit: Self::MAX_SIZE });
        }
        let raw: Raw = serde_json::from_slice(bytes)?;
        let keys = keys(bytes)?;
        // A list that is there and `null` is empty.
        let list = |list: Option<Vec<Descriptor>>, key: &'static str| {
            list.or_else(|| keys.contains(key).then(Vec::new)).ok_or_else(|| missing(key))
        };
        if raw.schema_version == 1 || raw.fs_layers.is_some() {
            return Err(ManifestError::Schema1);
        }
        let own = raw.media_type.as_deref().filter(|t| !t.is_empty());
        let found_as = found_as.filter(|t| !t.is_empty());
        let media_type = match (own, found_as) {
            (Some(own), Some(found)) if own != found => {
                return Err(ManifestError::Ambiguous(format!(
                    "it calls itself `{own}` and is referred to as `{found}`"
                )));
            }
            (Some(own), _) => own.to_owned(),
            (None, Some(found)) => found.to_owned(),
            (None, None) if raw.config.is_none() && keys.contains("manifests") => {
                media_type::OCI_INDEX.to_owned()
            }
            (None, None) => media_type::OCI_MANIFEST.to_owned(),
        };
        let both =
            || ManifestError::Ambiguous("it has the keys of an image manifest and those of an index".into());
        let body = if media_type::is_index(&media_type) {
            if raw.config.is_some() || raw.layers.is_some() {
                return Err(both());
            }
            ManifestBody::Index { manifests: list(raw.manifests, "manifests")? }
        } else if media_type::is_image_manifest(&media_type) {
            if raw.manifests.is_some() {
                return Err(both());
            }
            ManifestBody::Image {
                config: Box::new(raw.config.ok_or_else(|| missing("config"))?),
                layers: list(raw.layers, "layers")?,
            }
        } else if media_type::is_schema1(&media_type) {
            return Err(ManifestError::Schema1);
        } else {
            return Err(ManifestError::MediaType(media_type));
        };
        let artifact_type = raw.artifact_type.filter(|t| !t.is_empty()).or(match &body {
            ManifestBody::Image { config, .. } => Some(config.media_type.clone()),
            ManifestBody::Index { .. } => None,
        });
        Ok(Self { media_type, body, subject: raw.subject, artifact_type, annotations: raw.annotations })
    }

    /// The manifests of an index; none for an image.
    pub fn children(&self) -> &[Descriptor] {
        match &self.body {
            ManifestBody::Index { manifests } => manifests,
            ManifestBody::Image { .. } => &[],
        }
    }

    /// The linux/amd64 manifest of an index, for clients that know no indexes.
    pub fn amd64_child(&self) -> Option<Digest> {
        let child = self.children().iter().find(|child| {
            media_type::is_image_manifest(&child.media_type)
                && child.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == "amd64")
        })?;
        Some(child.digest)
    }

    /// The config and the layers of an image; none for an index.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, layers) = match &self.body {
            ManifestBody::Image { config, layers } => (Some(config.as_ref()), layers.as_slice()),
            ManifestBody::Index { .. } => (None, [].as_slice()),
        };
        config.into_iter().chain(layers)
    }
}

/// The keys of a manifest. Clients written in Go ignore the case of keys: they would take `Layers` for `layers`, so a
/// manifest with such a key is ambiguous.
fn keys(bytes: &[u8]) -> Result<BTreeSet<String>, ManifestError> {
    const KEYS: [&str; 9] = [
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "fsLayers",
        "subject",
        "artifactType",
        "annotations",
    ];
    let keys: BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_slice(bytes)?;
    for key in keys.keys() {
        if KEYS.iter().any(|known| key.eq_ignore_ascii_case(known) && key != known) {
            return Err(ManifestError::Ambiguous(format!(
                "it has the key `{key}`, which only some clients read"
            )));
        }
    }
    Ok(keys.into_keys().collect())
}

fn missing(key: &str) -> ManifestError {
    ManifestError::Json(serde::de::Error::custom(format!("key `{key}` is missing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":0}}"#, Digest::of(b""))
    }

    #[test]
    fn an_image_manifest_lists_its_config_and_layers() {
        let config = descriptor(media_type::OCI_CONFIG);
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip");
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer},{layer}]}}"#);
        let manifest = Manifest::parse(text.as_bytes(), None).unwrap();
        assert_eq!(manifest.media_type, media_type::OCI_MANIFEST);
        assert_eq!(manifest.blobs().count(), 3);
        assert_eq!(manifest.artifact_type.as_deref(), Some(media_type::OCI_CONFIG));
    }

    #[test]
    fn a_manifest_that_clients_would_read_differently_is_rejected() {
        let config = descriptor(media_type::OCI_CONFIG);
        let table = [
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","config":{config},"layers":[]}}"#,
                media_type::OCI_INDEX
            ),
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"Layers":[{config}]}}"#),
        ];
        for text in table {
            assert!(
                matches!(Manifest::parse(text.as_bytes(), None), Err(ManifestError::Ambiguous(_))),
                "{text}"
            );
        }
        let index =
            format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
        let found_as = Some(media_type::OCI_MANIFEST);
        assert!(matches!(Manifest::parse(index.as_bytes(), found_as), Err(ManifestError::Ambiguous(_))));
    }

    #[test]
    fn optional_parts_may_be_null() {
        let digest = Digest::of(b"");
        let texts = [
            format!(
                r#"{{"schemaVersion":2,"mediaType":null,"subject":null,"artifactType":null,"annotations":{{"a":null}},
                    "config":{{"mediaType":"application/x","digest":"{digest}","size":0,"data":null,"platform":{{}}}},
                    "layers":[{{"mediaType":null,"digest":"{digest}","size":null,"urls":null,"annotations":null,
                        "platform":{{"architecture":"amd64","os":null,"os.features":null,"variant":null}}}}]}}"#
            ),
            format!(
                r#"{{"schemaVersion":2,"manifests":null,"annotations":null,"layers":null,
                    "config":{{"digest":"{digest}"}}}}"#
            ),
        ];
        let [first, second] = texts.map(|text| Manifest::parse(text.as_bytes(), None).unwrap());
        assert_eq!(first.annotations.as_ref().unwrap()["a"], "");
        let ManifestBody::Image { config, layers } = &first.body else { panic!("an image") };
        assert_eq!((config.platform.as_ref(), layers[0].urls.len(), layers[0].size), (None, 0, 0));
        assert_eq!(layers[0].platform.as_ref().unwrap().architecture, "amd64");
        assert_eq!((second.media_type.as_str(), second.blobs().count()), (media_type::OCI_MANIFEST, 1));
        let index = Manifest::parse(br#"{"schemaVersion":2,"manifests":null}"#, None).unwrap();
        assert_eq!(index.body, ManifestBody::Index { manifests: Vec::new() });
        let absent = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{digest}"}}}}"#);
        assert!(matches!(Manifest::parse(absent.as_bytes(), None), Err(ManifestError::Json(_))));
    }

    #[test]
    fn schema_1_has_an_error_of_its_own() {
        let text = r#"{"schemaVersion":1,"name":"x","fsLayers":[],"history":[]}"#;
        assert!(matches!(Manifest::parse(text.as_bytes(), None), Err(ManifestError::Schema1)));
    }
}
