//! The `index.json` of a layout.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::{Descriptor, Digest, Platform, Reference, RepositoryName, media_type};
use serde::Serialize;

use crate::oci::{IMAGE_NAME, REF_NAME, SINCE};

/// The manifests that a layout lists at its top.
#[derive(Debug, Default)]
pub struct LayoutIndex<'a> {
    /// The registry that the images are pulled from, if it is known: a host, perhaps with a port.
    pub registry: Option<&'a str>,
    /// The publication whose layers are left out, if the layout is an incremental bundle.
    pub since: Option<&'a str>,
    /// The manifests.
    pub manifests: Vec<NamedManifest>,
}

/// A manifest that a layout lists at its top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// What the image runs on.
    pub platform: Option<Platform>,
    /// Its name; `None` for a manifest that is attached to another one by its subject.
    pub name: Option<LayoutName>,
}

/// The name of an image in a layout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayoutName {
    /// The repository, without the registry.
    pub repository: RepositoryName,
    /// The tag, or the digest of an image without one.
    pub reference: Reference,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

impl LayoutIndex<'_> {
    /// The bytes of `index.json`.
    ///
    /// The name of a manifest is its tag if the layout has one repository, and `repository:tag` otherwise: programs look a
    /// name up as it stands there, and two repositories may have the same tag. The full name is a second annotation.
    pub fn to_bytes(&self) -> Vec<u8> {
        let names = self.manifests.iter().filter_map(|manifest| manifest.name.as_ref());
        let has_several = names.map(|name| &name.repository).collect::<BTreeSet<_>>().len() > 1;
        let mut sorted: Vec<&NamedManifest> = self.manifests.iter().collect();
        sorted.sort_by_key(|manifest| (manifest.name.is_none(), manifest.name.clone(), manifest.digest));
        let manifests = sorted.into_iter().map(|manifest| Descriptor {
            media_type: manifest.media_type.clone(),
            digest: manifest.digest,
            size: manifest.size,
            urls: Vec::new(),
            data: None,
            platform: manifest.platform.clone(),
            annotations: manifest.name.as_ref().map(|name| self.annotations(name, has_several)),
            artifact_type: None,
        });
        let index = Index {
            schema_version: 2,
            media_type: media_type::OCI_INDEX,
            manifests: manifests.collect(),
            annotations: self.since.map(|commit| (SINCE, commit.to_owned())).into_iter().collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&index).expect("all keys are text");
        bytes.push(b'\n');
        bytes
    }

    fn annotations(&self, name: &LayoutName, has_several: bool) -> BTreeMap<String, String> {
        let LayoutName { repository, reference } = name;
        let long = match reference {
            Reference::Tag(tag) => format!("{repository}:{tag}"),
            Reference::Digest(digest) => format!("{repository}@{digest}"),
        };
        let mut annotations = BTreeMap::new();
        if let Some(registry) = self.registry {
            annotations.insert(IMAGE_NAME.to_owned(), format!("{registry}/{long}"));
        }
        let short = match reference {
            Reference::Tag(tag) if !has_several => tag.to_string(),
            _ => long,
        };
        annotations.insert(REF_NAME.to_owned(), short);
        annotations
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn named(repository: &str, reference: &str) -> NamedManifest {
        let name =
            LayoutName { repository: repository.parse().unwrap(), reference: reference.parse().unwrap() };
        NamedManifest { name: Some(name), ..attached(&format!("{repository}{reference}")) }
    }

    fn attached(seed: &str) -> NamedManifest {
        NamedManifest {
            digest: Digest::of(seed.as_bytes()),
            media_type: media_type::OCI_MANIFEST.to_owned(),
            size: 1,
            platform: None,
            name: None,
        }
    }

    fn names(index: &LayoutIndex<'_>) -> Vec<Value> {
        let index: Value = serde_json::from_slice(&index.to_bytes()).unwrap();
        let manifests = index["manifests"].as_array().unwrap();
        manifests.iter().map(|manifest| manifest["annotations"].clone()).collect()
    }

    #[test]
    fn one_repository_is_named_by_its_tags_and_several_by_their_names() {
        let manifests = vec![attached("x"), named("app", "2.0"), named("app", "1.0")];
        let index = LayoutIndex { registry: Some("r.acme.com"), since: None, manifests };
        let full = |tag: &str| format!("r.acme.com/app:{tag}");
        assert_eq!(
            names(&index),
            [
                json!({REF_NAME: "1.0", IMAGE_NAME: full("1.0")}),
                json!({REF_NAME: "2.0", IMAGE_NAME: full("2.0")}),
                Value::Null,
            ]
        );
        let digest = Digest::of(b"y").to_string();
        let manifests = vec![named("db", &digest), named("db", "1.0"), named("app", "1.0")];
        let index = LayoutIndex { manifests, ..LayoutIndex::default() };
        let by_digest = format!("db@{digest}");
        assert_eq!(
            names(&index),
            [json!({REF_NAME: "app:1.0"}), json!({REF_NAME: "db:1.0"}), json!({REF_NAME: by_digest})]
        );
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_order_and_name_the_publication_that_is_left_out() {
        let (one, other, more) = (named("app", "1.0"), named("app", "2.0"), attached("x"));
        let index = |manifests| LayoutIndex { since: Some("beef"), manifests, registry: None }.to_bytes();
        let bytes = index(vec![one.clone(), other.clone(), more.clone()]);
        assert_eq!(bytes, index(vec![more, other, one]));
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["annotations"], json!({SINCE: "beef"}));
    }
}
