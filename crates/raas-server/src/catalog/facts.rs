//! What pages show of a manifest. It is computed once, when the manifest is loaded, so that no page parses what a
//! vendor has chosen.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use raas_types::{Descriptor, Digest, Platform};
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};

/// What pages show of a manifest.
#[derive(Debug)]
pub(crate) enum Facts {
    /// An image: the bytes of its config and its layers together, and the number of its layers.
    Image {
        size: u64,
        layers: u32,
    },
    Index(Box<IndexFacts>),
    /// Another artifact, or bytes that raas cannot parse.
    Unknown,
}

/// What pages and old clients need of an index.
#[derive(Debug)]
pub(crate) struct IndexFacts {
    /// The first linux/amd64 manifest, for clients that do not know indexes.
    pub(crate) amd64: Option<Digest>,
    /// The first different manifests.
    pub(crate) children: Box<[Child]>,
    /// The number of different manifests beyond those.
    pub(crate) others: u32,
}

/// A manifest of an index.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) digest: Digest,
    /// The platform, if the index names it.
    pub(crate) platform: Option<Arc<str>>,
}

/// The manifests of an index that are kept. An index has one for each platform.
const MAX_CHILDREN: usize = 100;

/// The longest text of a platform that is kept, in characters.
const MAX_PLATFORM: usize = 60;

impl Facts {
    /// The facts of an image manifest. Parsing builds nothing but two sums.
    pub(super) fn of_image(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Image {
            config: Described,
            #[serde(deserialize_with = "raas_types::null_as_default")]
            layers: Layers,
        }
        match serde_json::from_slice::<Image>(bytes) {
            Ok(Image { config, layers }) => Facts::Image {
                size: layers.size.saturating_add(config.size.unwrap_or(0)),
                layers: layers.count,
            },
            Err(_) => Facts::Unknown,
        }
    }

    pub(super) fn of_index(amd64: Option<Digest>, manifests: &[Descriptor]) -> Self {
        let mut seen = BTreeSet::new();
        let mut different = manifests.iter().filter(|child| seen.insert((child.digest, &child.platform)));
        let children = different
            .by_ref()
            .take(MAX_CHILDREN)
            .map(|child| Child { digest: child.digest, platform: child.platform.as_ref().map(platform) });
        let children = children.collect();
        let others = u32::try_from(different.count()).unwrap_or(u32::MAX);
        Facts::Index(Box::new(IndexFacts { amd64, children, others }))
    }
}

/// The text of a platform. Nearly all images have one of two platforms, whose texts are shared by all manifests that
/// one thread loads.
pub(super) fn platform(platform: &Platform) -> Arc<str> {
    thread_local! {
        static KNOWN: [Arc<str>; 2] = ["linux/amd64".into(), "linux/arm64".into()];
    }
    let mut text = platform.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_PLATFORM) {
        text.truncate(end);
    }
    KNOWN.with(|known| {
        let found = known.iter().find(|known| ***known == *text);
        found.map_or_else(|| text.as_str().into(), Arc::clone)
    })
}

/// A descriptor's size.
#[derive(Deserialize)]
struct Described {
    size: Option<u64>,
}

/// The sum of a list of descriptors.
#[derive(Default)]
struct Layers {
    size: u64,
    count: u32,
}

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Sum)
    }
}

struct Sum;

impl<'de> Visitor<'de> for Sum {
    type Value = Layers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Layers, A::Error> {
        let mut sum = Layers::default();
        while let Some(layer) = list.next_element::<Described>()? {
            sum.size = sum.size.saturating_add(layer.size.unwrap_or(0));
            sum.count = sum.count.saturating_add(1);
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use raas_types::{Manifest, ManifestBody, media_type};

    use super::*;

    #[test]
    fn an_image_is_summed_up() {
        let table: [(&str, Option<(u64, u32)>); 7] = [
            (r#"{"config":{"size":2},"layers":[{"size":3,"x":[1]},{"size":null},{}]}"#, Some((5, 3))),
            (r#"{"config":{},"layers":null,"annotations":{"a":"b"}}"#, Some((0, 0))),
            (r#"{"config":{"size":18446744073709551615},"layers":[{"size":9}]}"#, Some((u64::MAX, 1))),
            (r#"{"config":{"size":-1},"layers":[]}"#, None),
            (r#"{"layers":[]}"#, None),
            (r#"{"config":{}}"#, None),
            ("[", None),
        ];
        for (text, expected) in table {
            let found = match Facts::of_image(text.as_bytes()) {
                Facts::Image { size, layers } => Some((size, layers)),
                _ => None,
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_manifests_of_an_index_are_different_and_few() {
        let child = |n: usize, more: &str| {
            let digest = Digest::of(n.to_string().as_bytes());
            format!(r#"{{"mediaType":"{}","digest":"{digest}","size":1{more}}}"#, media_type::OCI_MANIFEST)
        };
        let long = format!(r#","platform":{{"os":"{}","architecture":"x"}}"#, "ü".repeat(1000));
        let mut children = vec![child(0, ""); 5000];
        children.extend((0..150).map(|n| child(n, &long)));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, children.join(","));
        let index = Manifest::parse(index.as_bytes(), Some(media_type::OCI_INDEX)).unwrap();
        let ManifestBody::Index { manifests } = &index.body else { panic!("an index") };
        let Facts::Index(facts) = Facts::of_index(None, manifests) else { panic!("an index") };
        assert_eq!((facts.children.len(), facts.others), (MAX_CHILDREN, 51));
        assert!(facts.children[0].platform.is_none());
        assert_eq!(facts.children[1].platform.as_ref().unwrap().chars().count(), MAX_PLATFORM);
    }
}
