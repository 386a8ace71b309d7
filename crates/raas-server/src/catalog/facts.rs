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
    /// An image: the bytes of its config and its layers together, the number of its layers, and where the digests are.
    Image {
        size: u64,
        layers: u32,
        digests: DigestPlaces,
    },
    Index(Box<IndexFacts>),
    /// Another artifact, or bytes that raas cannot parse.
    Unknown,
}

/// The layers of an image that pages show. Runtimes accept no more than 127.
pub(crate) const MAX_LAYERS: usize = 130;

/// Where the digests of an image's config and of its first layers begin in the bytes of its manifest. A digest takes 32
/// bytes more, and a server may hold millions.
#[derive(Debug, Default)]
pub(crate) struct DigestPlaces(Box<[u32]>);

impl DigestPlaces {
    /// A place of no digest: it is not SHA-256, or is written with escapes.
    const NONE: u32 = u32::MAX;

    /// The digests of the config and of the first layers, in the bytes of the same manifest. None for a digest that cannot
    /// be shown.
    pub(crate) fn digests<'a>(
        &'a self,
        manifest: &'a [u8],
    ) -> impl ExactSizeIterator<Item = Option<Digest>> + 'a {
        self.0.iter().map(|place| {
            let begin = usize::try_from(*place).ok()?;
            let text = manifest.get(begin..begin.checked_add(Digest::LENGTH)?)?;
            std::str::from_utf8(text).ok()?.parse().ok()
        })
    }

    /// The memory that this takes, in bytes.
    fn memory(layers: usize) -> usize {
        (layers.min(MAX_LAYERS) + 1) * size_of::<u32>()
    }
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
    /// The manifest that this one attests, as BuildKit attaches attestations.
    pub(crate) attests: Option<Box<Digest>>,
}

/// The manifests of an index that are kept. An index has one for each platform.
const MAX_CHILDREN: usize = 100;

/// The longest text of a platform that is kept, in characters.
const MAX_PLATFORM: usize = 60;

impl Facts {
    /// The facts of an image manifest. Parsing builds nothing but two sums.
    pub(super) fn of_image(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Image<'a> {
            #[serde(borrow)]
            config: Described<'a>,
            #[serde(borrow, deserialize_with = "raas_types::null_as_default")]
            layers: Layers<'a>,
        }
        match serde_json::from_slice::<Image<'_>>(bytes) {
            Ok(Image { config, layers }) => {
                let digests = [config.digest].into_iter().chain(layers.digests);
                Facts::Image {
                    size: layers.size.saturating_add(config.size.unwrap_or(0)),
                    layers: layers.count,
                    digests: DigestPlaces(digests.map(|digest| place(bytes, digest)).collect()),
                }
            }
            Err(_) => Facts::Unknown,
        }
    }

    /// The memory that the facts of a manifest with so many bytes may take.
    pub(super) fn memory(bytes: usize) -> usize {
        /// The shortest layer in a manifest: a digest, a size, keys.
        const LAYER: usize = 100;
        DigestPlaces::memory(bytes / LAYER)
    }

    pub(super) fn of_index(amd64: Option<Digest>, manifests: &[Descriptor]) -> Self {
        let mut seen = BTreeSet::new();
        let mut different = manifests.iter().filter(|child| seen.insert((child.digest, &child.platform)));
        let children = different.by_ref().take(MAX_CHILDREN).map(|child| Child {
            digest: child.digest,
            platform: child.platform.as_ref().map(platform),
            attests: attested(child).map(Box::new),
        });
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

/// The subject of an attestation in an index.
///
/// Source: BuildKit, "Image attestation storage".
fn attested(child: &Descriptor) -> Option<Digest> {
    let annotations = child.annotations.as_ref()?;
    let kind = annotations.get("vnd.docker.reference.type")?;
    (kind == "attestation-manifest").then(|| annotations.get("vnd.docker.reference.digest")?.parse().ok())?
}

/// Where a text that was borrowed from these bytes begins.
fn place(bytes: &[u8], text: InPlace<'_>) -> u32 {
    let text = text.0.filter(|text| text.len() == Digest::LENGTH);
    let place = text.and_then(|text| text.as_ptr().addr().checked_sub(bytes.as_ptr().addr()));
    place.and_then(|place| u32::try_from(place).ok()).unwrap_or(DigestPlaces::NONE)
}

/// A descriptor's size and digest.
#[derive(Deserialize)]
struct Described<'a> {
    size: Option<u64>,
    #[serde(borrow, default)]
    digest: InPlace<'a>,
}

/// A text as it stands in the bytes. None if it is written with escapes, is missing or is `null`.
#[derive(Clone, Copy, Default)]
struct InPlace<'a>(Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for InPlace<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = InPlace<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<InPlace<'de>, E> {
                Ok(InPlace(Some(text)))
            }

            fn visit_str<E>(self, _: &str) -> Result<InPlace<'de>, E> {
                Ok(InPlace(None))
            }

            fn visit_unit<E>(self) -> Result<InPlace<'de>, E> {
                Ok(InPlace(None))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// The sum of a list of descriptors, and the first digests.
#[derive(Default)]
struct Layers<'a> {
    size: u64,
    count: u32,
    digests: Vec<InPlace<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Layers<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Sum)
    }
}

struct Sum;

impl<'de> Visitor<'de> for Sum {
    type Value = Layers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Layers<'de>, A::Error> {
        let mut sum = Layers::default();
        while let Some(layer) = list.next_element::<Described<'de>>()? {
            sum.size = sum.size.saturating_add(layer.size.unwrap_or(0));
            sum.count = sum.count.saturating_add(1);
            if sum.digests.len() < MAX_LAYERS {
                sum.digests.push(layer.digest);
            }
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
                Facts::Image { size, layers, .. } => Some((size, layers)),
                _ => None,
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn digests_are_found_again_in_the_bytes() {
        let (config, layer) = (Digest::of(b"config"), Digest::of(b"layer"));
        let escaped = layer.to_string().replace(':', "\\u003a");
        let text = format!(
            r#"{{"config":{{"digest":"{config}","size":1}},"layers":[{{"size":1,"digest":"{layer}"}},
                {{"digest":"{escaped}"}},{{"digest":"sha512:aa"}},{{}},{}]}}"#,
            vec![format!(r#"{{"digest":"{layer}"}}"#); 200].join(",")
        );
        let Facts::Image { digests, layers, .. } = Facts::of_image(text.as_bytes()) else {
            panic!("an image")
        };
        let found: Vec<_> = digests.digests(text.as_bytes()).collect();
        assert_eq!((layers, found.len()), (204, MAX_LAYERS + 1));
        assert_eq!(found[..5], [Some(config), Some(layer), None, None, None]);
        assert!(found[5..].iter().all(|digest| *digest == Some(layer)));
        // Other bytes make no panic.
        assert!(digests.digests(b"").all(|digest| digest.is_none()));
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
