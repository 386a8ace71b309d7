//! Reading and writing documents.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{V1Extension, V2Extension};
use crate::{Digest, ImageId, RepositoryName, Tag, VendorName, media_type};

/// The `type` of every document.
pub(super) const DOCUMENT_TYPE: &str = "pulp-docker-redirect";

/// A metadata document: one repository, with either Docker v1 or v2 content.
///
/// ```
/// use raas_types::crane::{Content, Document};
///
/// let document = Document::parse(br#"{"type": "pulp-docker-redirect", "version": 4, "repository": "acme-app",
///     "repo-registry-id": "app", "url": "https://cdn.example.com/app/", "schema2_data": ["1.0"]}"#)?;
/// assert_eq!(document.name.as_str(), "app");
/// assert!(matches!(&document.content, Content::V2(v2) if v2.schema2.contains("1.0")));
/// # Ok::<(), raas_types::crane::DocumentError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Pulp's id of the repository.
    pub repository: String,
    /// The name that people pull (`repo-registry-id`).
    pub name: RepositoryName,
    /// The base that a legacy Crane redirects to.
    pub url: String,
    /// Whether a client needs a credential to see the repository.
    pub protected: bool,
    /// What it publishes.
    pub content: Content,
}

/// What a document publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Docker v1 images (version 1).
    V1(V1Content),
    /// Manifests and blobs (versions 2, 3, 4).
    V2(V2Content),
}

/// Docker v1 images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct V1Content {
    /// The ids of all images that the repository serves.
    pub images: BTreeSet<ImageId>,
    /// Each tag's image.
    pub tags: BTreeMap<Tag, ImageId>,
    /// The `raas` object, in documents that raas wrote.
    pub raas: Option<V1Extension>,
}

/// Manifests and blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct V2Content {
    /// Whether all manifests lie in one folder, whatever their schema is (version 2).
    pub flat: bool,
    /// Digests and tags that are schema 2 manifests (version 3 and up).
    pub schema2: BTreeSet<String>,
    /// Digests and tags that are manifest lists (version 4).
    pub lists: BTreeSet<String>,
    /// For each tag of a list: the manifest for clients that know no lists, and its schema version (version 4).
    pub amd64_tags: BTreeMap<String, (String, u8)>,
    /// The `raas` object, in documents that raas wrote.
    pub raas: Option<V2Extension>,
}

/// Why bytes are not a metadata document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, a key missing, or a value of the wrong type.
    #[error("it is not a metadata document: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another kind.
    #[error("its `type` is `{0}`; a metadata document has `pulp-docker-redirect`")]
    Type(String),
    /// A version that no Crane has had.
    #[error("its `version` is {0}; versions 1 to 4 are known")]
    Version(u64),
}

/// The document as it stands in the file, keys in the order in which Pulp writes them.
#[derive(Serialize, Deserialize)]
pub(super) struct Raw {
    r#type: String,
    version: u64,
    repository: String,
    #[serde(rename = "repo-registry-id")]
    name: RepositoryName,
    url: String,
    #[serde(default)]
    protected: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    images: Option<Vec<RawImage>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<Tag, ImageId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema2_data: Option<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest_list_data: Option<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest_list_amd64_tags: Option<BTreeMap<String, (String, u8)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) raas: Option<serde_json::Value>,
}

impl Raw {
    /// All keys of a document.
    pub(super) const KEYS: [&str; 12] = [
        "type",
        "version",
        "repository",
        "repo-registry-id",
        "url",
        "protected",
        "images",
        "tags",
        "schema2_data",
        "manifest_list_data",
        "manifest_list_amd64_tags",
        "raas",
    ];
}

#[derive(Serialize, Deserialize)]
struct RawImage {
    id: ImageId,
}

impl Document {
    /// The longest document, in bytes, that raas reads: some hundred thousand tags.
    pub const MAX_SIZE: u64 = 64 * 1024 * 1024;

    /// Pulp's convention for the id of a vendor's repository.
    pub fn repository_id(vendor: &VendorName, name: &RepositoryName) -> String {
        format!("{vendor}-{}", name.as_str().replace('/', "-"))
    }

    /// Reads a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        /// Read first, so that the error for JSON of another kind names its type and not a missing key.
        #[derive(Deserialize)]
        struct Kind {
            r#type: Option<String>,
        }
        let kind: Kind = serde_json::from_slice(bytes)?;
        match kind.r#type {
            Some(kind) if kind != DOCUMENT_TYPE => return Err(DocumentError::Type(kind)),
            _ => {}
        }
        let raw: Raw = serde_json::from_slice(bytes)?;
        let content = match raw.version {
            1 => {
                let missing = |key| <serde_json::Error as serde::de::Error>::missing_field(key);
                Content::V1(V1Content {
                    images: raw.images.ok_or_else(|| missing("images"))?.into_iter().map(|i| i.id).collect(),
                    tags: raw.tags.ok_or_else(|| missing("tags"))?,
                    raas: raw.raas.map(serde_json::from_value).transpose()?,
                })
            }
            // A version 2 document lists nothing; lists in it belong to other versions and are ignored.
            2 => Content::V2(V2Content {
                flat: true,
                raas: raw.raas.map(serde_json::from_value).transpose()?,
                ..V2Content::default()
            }),
            3..=4 => Content::V2(V2Content {
                flat: false,
                schema2: raw.schema2_data.unwrap_or_default(),
                lists: raw.manifest_list_data.unwrap_or_default(),
                amd64_tags: raw.manifest_list_amd64_tags.unwrap_or_default(),
                raas: raw.raas.map(serde_json::from_value).transpose()?,
            }),
            version => return Err(DocumentError::Version(version)),
        };
        Ok(Self {
            repository: raw.repository,
            name: raw.name,
            url: raw.url,
            protected: raw.protected,
            content,
        })
    }

    /// The document's bytes. Equal documents have equal bytes; each value has a line of its own, so that `git diff` shows
    /// what changed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut raw = Raw {
            r#type: DOCUMENT_TYPE.into(),
            version: 4,
            repository: self.repository.clone(),
            name: self.name.clone(),
            url: self.url.clone(),
            protected: self.protected,
            images: None,
            tags: None,
            schema2_data: None,
            manifest_list_data: None,
            manifest_list_amd64_tags: None,
            raas: None,
        };
        match &self.content {
            Content::V1(v1) => {
                raw.version = 1;
                raw.images = Some(v1.images.iter().map(|id| RawImage { id: *id }).collect());
                raw.tags = Some(v1.tags.clone());
                raw.raas = v1.raas.as_ref().map(to_value);
            }
            Content::V2(v2) => {
                if v2.flat {
                    raw.version = 2;
                } else {
                    raw.schema2_data = Some(v2.schema2.clone());
                    raw.manifest_list_data = Some(v2.lists.clone());
                    raw.manifest_list_amd64_tags = Some(v2.amd64_tags.clone());
                }
                raw.raas = v2.raas.as_ref().map(to_value);
            }
        }
        let mut bytes = serde_json::to_vec_pretty(&raw).expect("a document has text keys only");
        bytes.push(b'\n');
        bytes
    }
}

fn to_value(extension: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(extension).expect("an extension has text keys only")
}

impl V2Content {
    /// The content that tells a legacy Crane about these manifests: which digests and tags are schema 2, which are
    /// lists, and which manifest a client that knows no lists gets for a list's tag. `amd64` gives the linux/amd64
    /// manifest of a list.
    pub fn new(extension: V2Extension, amd64: impl Fn(&Digest) -> Option<Digest>) -> Self {
        let mut content = V2Content::default();
        let names = extension
            .manifests
            .keys()
            .map(|digest| (digest.to_string(), None, digest))
            .chain(extension.tags.iter().map(|(tag, digest)| (tag.to_string(), Some(tag), digest)));
        for (name, tag, digest) in names {
            let index = extension.manifests.get(digest).is_some_and(|m| media_type::is_index(&m.media_type));
            if !index {
                content.schema2.insert(name);
                continue;
            }
            if let (Some(tag), Some(child)) = (tag, amd64(digest)) {
                content.amd64_tags.insert(tag.to_string(), (child.to_string(), 2));
            }
            content.lists.insert(name);
        }
        content.raas = Some(extension);
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crane::{BlobEntry, ManifestEntry};

    const BRIEF: &str = r#"{"type": "pulp-docker-redirect", "version": 1, "repository": "bigdata-app",
        "repo-registry-id": "bigdata-app", "url": "https://pulp.example.com/pulp/docker/bigdata-app/",
        "images": [{"id": "bf3bf3a4371d50acc13a8774e5cd3d9e2ebc4818252893043f93397d69e0ada8"}],
        "tags": {"latest": "bf3bf3a4371d50acc13a8774e5cd3d9e2ebc4818252893043f93397d69e0ada8"}}"#;

    #[test]
    fn a_document_of_pulp_is_read_and_written_without_loss() {
        let document = Document::parse(BRIEF.as_bytes()).unwrap();
        let Content::V1(v1) = &document.content else { panic!("version 1 is v1 content") };
        assert_eq!((v1.images.len(), v1.tags.len(), document.protected), (1, 1, false));
        assert_eq!(Document::parse(&document.to_bytes()).unwrap(), document);
    }

    #[test]
    fn a_version_2_document_is_written_without_loss() {
        let two = r#"{"type": "pulp-docker-redirect", "version": 2, "repository": "a", "repo-registry-id": "a",
            "url": "https://x/a/", "schema2_data": ["latest"]}"#;
        let document = Document::parse(two.as_bytes()).unwrap();
        assert!(matches!(&document.content, Content::V2(v2) if v2.flat));
        assert_eq!(Document::parse(&document.to_bytes()).unwrap(), document);
    }

    #[test]
    fn the_error_for_other_json_names_its_kind() {
        assert!(matches!(Document::parse(b"[]"), Err(DocumentError::Json(_))));
        assert!(matches!(Document::parse(br#"{"type":"x"}"#), Err(DocumentError::Type(_))));
        let nine = BRIEF.replace("\"version\": 1", "\"version\": 9");
        assert!(matches!(Document::parse(nine.as_bytes()), Err(DocumentError::Version(9))));
        let no_tags = BRIEF.replace("\"tags\"", "\"gats\"");
        assert!(Document::parse(no_tags.as_bytes()).unwrap_err().to_string().contains("tags"));
    }

    #[test]
    fn a_version_4_document_has_every_key_that_a_legacy_crane_reads() {
        let (image, list, blob) = (Digest::of(b"image"), Digest::of(b"list"), Digest::of(b"blob"));
        let entry =
            |media_type: &str| ManifestEntry { media_type: media_type.into(), size: 5, platform: None };
        let extension = V2Extension {
            tags: [("1.0".parse().unwrap(), image), ("multi".parse().unwrap(), list)].into(),
            manifests: [(image, entry(media_type::DOCKER_MANIFEST)), (list, entry(media_type::OCI_INDEX))]
                .into(),
            blobs: [(blob, BlobEntry { size: 4, diff_id: None, location: Some("https://cdn/x".into()) })]
                .into(),
        };
        let content = V2Content::new(extension, |digest| (*digest == list).then_some(image));
        assert_eq!(content.schema2, ["1.0".to_owned(), image.to_string()].into());
        assert_eq!(content.lists, ["multi".to_owned(), list.to_string()].into());
        assert_eq!(content.amd64_tags, [("multi".to_owned(), (image.to_string(), 2))].into());
        let document = Document {
            repository: "app".into(),
            name: "app".parse().unwrap(),
            url: "https://bucket/app/_v2/".into(),
            protected: false,
            content: Content::V2(content),
        };
        assert_eq!(Document::parse(&document.to_bytes()).unwrap(), document);
    }
}
