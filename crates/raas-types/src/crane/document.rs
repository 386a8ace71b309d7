//! Reading and writing documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{V1Extension, V2Extension};
use crate::{Digest, ImageId, RepositoryName, Tag, VendorName, media_type, null_as_default};

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

/// The document as it stands in the file, keys in the order in which Pulp writes them. `I`, `T` and `E` are the images,
/// the tags and the `raas` object: typed when a document is written, and text when it is read. Unknown keys are skipped
/// without being built, so a document takes no more memory than what is known of it.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "I: Deserialize<'de>, T: Deserialize<'de>, E: Deserialize<'de>"))]
struct Raw<I, T, E> {
    #[serde(default)]
    r#type: Option<String>,
    version: u64,
    repository: String,
    #[serde(rename = "repo-registry-id")]
    name: RepositoryName,
    url: String,
    #[serde(default, deserialize_with = "null_as_protected")]
    protected: bool,
    #[serde(default = "none", deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    images: Option<I>,
    #[serde(default = "none", deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    tags: Option<T>,
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "Option::is_none")]
    schema2_data: Option<BTreeSet<String>>,
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "Option::is_none")]
    manifest_list_data: Option<BTreeSet<String>>,
    #[serde(default, deserialize_with = "amd64_tags", skip_serializing_if = "Option::is_none")]
    manifest_list_amd64_tags: Option<Amd64Tags>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    raas: Option<E>,
}

type RawText<'a> = Raw<&'a RawValue, &'a RawValue, &'a RawValue>;

fn none<T>() -> Option<T> {
    None
}

/// Reads the text of a key that is there, `null` included.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Nothing tells what a program means by `null`, so the repository is protected: nobody reads what should be hidden.
fn null_as_protected<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(true))
}

#[derive(Serialize, Deserialize)]
struct RawImage {
    id: ImageId,
}

/// The highest number of entries of a list of texts, or of a map of tags. An entry in memory takes far more than its
/// text in the file.
const MAX_TEXTS: usize = 1_000_000;

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeSet<String>>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = BTreeSet<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut texts = BTreeSet::new();
            while let Some(text) = entries.next_element()? {
                texts.insert(text);
                check_count(texts.len())?;
            }
            Ok(texts)
        }
    }
    Optional(Texts).read(deserializer)
}

/// For each tag of a list a manifest, and its schema version.
type Amd64Tags = BTreeMap<String, (String, u8)>;

fn amd64_tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Amd64Tags>, D::Error> {
    struct Tags;
    impl<'de> Visitor<'de> for Tags {
        type Value = Amd64Tags;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of tags to manifests")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut tags = BTreeMap::new();
            while let Some((tag, manifest)) = entries.next_entry()? {
                tags.insert(tag, manifest);
                check_count(tags.len())?;
            }
            Ok(tags)
        }
    }
    Optional(Tags).read(deserializer)
}

fn check_count<E: serde::de::Error>(count: usize) -> Result<(), E> {
    if count <= MAX_TEXTS { Ok(()) } else { Err(E::custom(format!("more than {MAX_TEXTS} entries"))) }
}

/// Reads a value that may be `null`.
struct Optional<V>(V);

impl<V> Optional<V> {
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<V::Value>, D::Error>
    where
        V: Visitor<'de>,
    {
        deserializer.deserialize_option(self)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Optional<V> {
    type Value = Option<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self.0).map(Some)
    }
}

impl Document {
    /// The tags of v2 content with the digest of each. `None` for v1 content, and for content that another program
    /// wrote.
    pub fn tags(&self) -> Option<&BTreeMap<Tag, Digest>> {
        match &self.content {
            Content::V2(v2) => v2.raas.as_ref().map(|raas| &raas.tags),
            Content::V1(_) => None,
        }
    }

    /// The longest document, in bytes, that raas reads: some hundred thousand tags.
    pub const MAX_SIZE: u64 = 64 * 1024 * 1024;

    /// Pulp's convention for the id of a vendor's repository.
    pub fn repository_id(vendor: &VendorName, name: &RepositoryName) -> String {
        format!("{vendor}-{}", name.as_str().replace('/', "-"))
    }

    /// Reads a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let raw = Self::read(bytes)?;
        if raw.r#type.is_none() {
            return Err(missing("type").into());
        }
        Self::build(raw, |images, tags| {
            let images: Vec<RawImage> = nullable(images)?;
            Ok((images.into_iter().map(|image| image.id).collect(), nullable(tags)?))
        })
    }

    /// Reads a document as a legacy Crane does: the `type` may be missing, and an image or a tag that cannot be served
    /// does not keep the others from being served. Returns the document, and a reason for each entry that was left out.
    pub fn parse_as_crane(bytes: &[u8]) -> Result<(Self, Vec<String>), DocumentError> {
        let raw = Self::read(bytes)?;
        let mut left_out = Vec::new();
        let document = Self::build(raw, |listed, tagged| {
            let mut images = BTreeSet::new();
            for entry in nullable::<Vec<&RawValue>>(listed)? {
                match serde_json::from_str::<RawImage>(entry.get()) {
                    Ok(image) => drop(images.insert(image.id)),
                    Err(error) => left_out.push(format!("an entry of `images`: {error}")),
                }
            }
            let mut tags = BTreeMap::new();
            for (name, entry) in nullable::<BTreeMap<String, &RawValue>>(tagged)? {
                let id = serde_json::from_str::<ImageId>(entry.get());
                match (name.parse::<Tag>(), id) {
                    (Ok(tag), Ok(id)) if images.contains(&id) => drop(tags.insert(tag, id)),
                    (Ok(tag), Ok(id)) => {
                        left_out
                            .push(format!("tag `{tag}` names image {id}, which the document does not list"));
                    }
                    (Err(error), _) => left_out.push(format!("an entry of `tags`: {error}")),
                    (Ok(tag), Err(error)) => left_out.push(format!("tag `{tag}`: {error}")),
                }
            }
            Ok((images, tags))
        })?;
        Ok((document, left_out))
    }

    /// Reads the text of a document, of any version.
    fn read(bytes: &[u8]) -> Result<RawText<'_>, DocumentError> {
        /// Read first, so that the error for JSON of another kind names its type and not a missing key.
        #[derive(Deserialize)]
        struct Kind {
            r#type: Option<String>,
        }
        let kind: Kind = serde_json::from_slice(bytes)?;
        match kind.r#type {
            Some(kind) if kind != DOCUMENT_TYPE => {
                return Err(DocumentError::Type(kind.chars().take(100).collect()));
            }
            _ => {}
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    fn build(
        raw: RawText<'_>,
        v1: impl FnOnce(&str, &str) -> Result<(BTreeSet<ImageId>, BTreeMap<Tag, ImageId>), serde_json::Error>,
    ) -> Result<Self, DocumentError> {
        let content = match raw.version {
            1 => {
                let (images, tags) = v1(text(raw.images, "images")?, text(raw.tags, "tags")?)?;
                Content::V1(V1Content { images, tags, raas: extension(raw.raas)? })
            }
            // A version 2 document lists nothing; lists in it belong to other versions and are ignored.
            2 => Content::V2(V2Content { flat: true, raas: extension(raw.raas)?, ..V2Content::default() }),
            3..=4 => Content::V2(V2Content {
                flat: false,
                schema2: raw.schema2_data.unwrap_or_default(),
                lists: raw.manifest_list_data.unwrap_or_default(),
                amd64_tags: raw.manifest_list_amd64_tags.unwrap_or_default(),
                raas: extension(raw.raas)?,
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

    /// The document's bytes. Equal documents have equal bytes; each value has a line of its own, so that `git diff`
    /// shows what changed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut raw: Raw<Vec<RawImage>, BTreeMap<Tag, ImageId>, serde_json::Value> = Raw {
            r#type: Some(DOCUMENT_TYPE.into()),
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

/// The `raas` object. Unknown keys in it are skipped.
fn extension<T: DeserializeOwned>(text: Option<&RawValue>) -> Result<Option<T>, serde_json::Error> {
    text.map(|text| serde_json::from_str(text.get())).transpose()
}

/// A list or map; `null` is an empty one.
fn nullable<'a, T: Default + Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    null_as_default(&mut serde_json::Deserializer::from_str(text))
}

fn text<'a>(value: Option<&'a RawValue>, key: &'static str) -> Result<&'a str, serde_json::Error> {
    value.map(RawValue::get).ok_or_else(|| missing(key))
}

fn missing(key: &'static str) -> serde_json::Error {
    serde::de::Error::missing_field(key)
}

fn to_value(extension: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(extension).expect("an extension has text keys only")
}

impl V2Content {
    /// The content that tells a legacy Crane about these manifests: which digests and tags are schema 2, which are
    /// lists, and which manifest a client that knows no lists gets for a list's tag. `amd64` gives the linux/amd64
    /// manifest of a list.
    pub fn new(mut extension: V2Extension, amd64: impl Fn(&Digest) -> Option<Digest>) -> Self {
        extension.signatures.retain(|digest, _| extension.manifests.contains_key(digest));
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
    fn unknown_keys_are_skipped_and_long_lists_are_bounded() {
        let with = |more: &str| BRIEF.replacen('{', &format!("{{{more},"), 1);
        let document = Document::parse(BRIEF.as_bytes()).unwrap();
        let known = format!(r#""raas":{{"images":{{}},"x":[{}0]}},"y":[{{}}]"#, "0,".repeat(1000));
        let read = Document::parse(with(&known).as_bytes()).unwrap();
        assert_eq!((read.name, read.repository), (document.name, document.repository));
        let many: Vec<String> = (0..=MAX_TEXTS).map(|n| format!("\"{n}\"")).collect();
        let long = with(&format!("\"schema2_data\":[{}]", many.join(",")));
        assert!(Document::parse(long.as_bytes()).unwrap_err().to_string().contains("1000000 entries"));
        assert!(Document::parse(with("\"schema2_data\":null").as_bytes()).is_ok());
        assert!(Document::parse(with("\"schema2_data\":3").as_bytes()).is_err());
    }

    #[test]
    fn a_crane_serves_the_entries_that_it_can() {
        let id = "bf3bf3a4371d50acc13a8774e5cd3d9e2ebc4818252893043f93397d69e0ada8";
        let whole = BRIEF.replace("\"type\": \"pulp-docker-redirect\", ", "");
        assert!(Document::parse(whole.as_bytes()).unwrap_err().to_string().contains("type"));
        let whole = whole.replace("\"images\": [", "\"images\": [{}, {\"id\": 7}, ");
        let other = "b".repeat(64);
        let whole = whole.replace(
            "\"tags\": {",
            &format!("\"tags\": {{\"old\": \"{other}\", \"-bad-\": \"{id}\", \"worse\": [],"),
        );
        let (document, left_out) = Document::parse_as_crane(whole.as_bytes()).unwrap();
        let Content::V1(v1) = &document.content else { panic!("version 1 is v1 content") };
        assert_eq!(
            (v1.images.len(), v1.tags.keys().map(Tag::as_str).collect::<Vec<_>>()),
            (1, vec!["latest"])
        );
        assert_eq!(left_out.len(), 5, "{left_out:?}");
        assert!(left_out.iter().any(|reason| reason.contains(&format!("tag `old` names image {other}"))));
        let (document, left_out) = Document::parse_as_crane(BRIEF.as_bytes()).unwrap();
        assert_eq!((document, left_out), (Document::parse(BRIEF.as_bytes()).unwrap(), Vec::new()));
        assert!(matches!(Document::parse_as_crane(br#"{"type":"x"}"#), Err(DocumentError::Type(_))));
    }

    #[test]
    fn null_is_an_empty_list_or_map_and_protects() {
        let v1 = r#"{"type": "pulp-docker-redirect", "version": 1, "repository": "a", "repo-registry-id": "a",
            "url": "https://x/a/", "protected": null, "images": null, "tags": null, "raas": {"images": null}}"#;
        let v4 = v1.replace("\"version\": 1", "\"version\": 4").replace(
            "{\"images\": null}",
            r#"{"tags": null, "manifests": null, "blobs": null, "published": null, "deprecated": null,
                "signatures": null}"#,
        );
        for text in [v1, &v4, &v4.replace("{\"tags\": null", "null, \"x\": {\"tags\": null")] {
            let document = Document::parse(text.as_bytes()).unwrap();
            assert!(document.protected, "nobody reads what may have to be hidden");
            let (of_crane, left_out) = Document::parse_as_crane(text.as_bytes()).unwrap();
            assert_eq!((&of_crane, left_out.len()), (&document, 0));
            assert_eq!(Document::parse(&document.to_bytes()).unwrap(), document);
        }
        assert!(
            !Document::parse(v1.replace("null, \"images", "false, \"images").as_bytes()).unwrap().protected
        );
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
        let entry = |media_type: &str| ManifestEntry {
            media_type: media_type.into(),
            size: 5,
            platform: None,
            image: None,
        };
        let signature = crate::AtomicSignature::new("one", "b3dH").unwrap();
        let extension = V2Extension {
            tags: [("1.0".parse().unwrap(), image), ("multi".parse().unwrap(), list)].into(),
            manifests: [(image, entry(media_type::DOCKER_MANIFEST)), (list, entry(media_type::OCI_INDEX))]
                .into(),
            blobs: [(blob, BlobEntry { size: 4, diff_id: None, location: Some("https://cdn/x".into()) })]
                .into(),
            // A manifest that is gone takes its signatures along.
            signatures: [(image, vec![signature.clone()]), (Digest::of(b"gone"), vec![signature])].into(),
            ..V2Extension::default()
        };
        let content = V2Content::new(extension, |digest| (*digest == list).then_some(image));
        assert!(content.raas.as_ref().unwrap().signatures.keys().eq([&image]));
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
