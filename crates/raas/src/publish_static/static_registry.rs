//! What a static registry holds: the objects of all repositories of a publication, in the order in which they are stored.

use std::collections::{BTreeMap, BTreeSet};

use raas_base::failure::{Failure, Kind};
use raas_git::Reader;
use raas_publish::inventory;
use raas_publish::published::{self, Repositories, Repository};
use raas_types::crane::{V2Extension, tree};
use raas_types::{Descriptor, Digest, Manifest, Reference, RepositoryName, StaticKey, Tag, media_type};
use serde::Serialize;

use super::BaseLayers;
use crate::published_blob::{BlobPlace, PublishedBlob};

/// The objects of a static registry.
#[derive(Debug, Default)]
pub(super) struct StaticRegistry {
    /// The configs and layers, each with the repositories that have it.
    pub(super) blobs: BTreeMap<Digest, (PublishedBlob, BTreeSet<RepositoryName>)>,
    /// All other objects: what is named before what names it.
    pub(super) objects: Vec<SmallObject>,
    /// The published tags, for the report.
    pub(super) repositories: Vec<RegistryRepository>,
    /// The tags that clients may ask for, those of referrers included.
    pub(super) tags: Vec<(RepositoryName, Tag, Digest)>,
    /// The media type of every manifest.
    pub(super) types: BTreeMap<Digest, String>,
    /// The layers that are not stored.
    pub(super) redirects: Vec<Redirect>,
    pub(super) notes: Vec<String>,
}

/// A repository of the registry.
#[derive(Debug)]
pub(super) struct RegistryRepository {
    pub(super) name: RepositoryName,
    pub(super) protected: bool,
    pub(super) tags: BTreeMap<Tag, Digest>,
}

/// An object that fits into memory.
#[derive(Debug)]
pub(super) struct SmallObject {
    pub(super) key: StaticKey,
    pub(super) content: SmallContent,
}

#[derive(Debug)]
pub(super) enum SmallContent {
    /// A manifest of the record.
    Manifest(RepositoryName, Digest),
    Bytes(Vec<u8>),
}

impl SmallContent {
    /// The bytes of the object.
    ///
    /// # Errors
    /// git fails, or the record is damaged.
    pub(super) fn bytes(&self, reader: &Reader<'_>) -> Result<Vec<u8>, Failure> {
        let (name, digest) = match self {
            SmallContent::Bytes(bytes) => return Ok(bytes.clone()),
            SmallContent::Manifest(name, digest) => (name, digest),
        };
        let bytes = reader.read(&tree::manifest(name, digest))?;
        bytes.filter(|bytes| Digest::of(bytes) == *digest).ok_or_else(|| {
            Failure::new(Kind::Environment, format!("the record lacks the manifest {digest} of {name}"))
                .hint("run `raas setup ISV --repair`")
        })
    }
}

/// A layer that clients must be redirected to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Redirect {
    pub(super) repository: RepositoryName,
    pub(super) digest: Digest,
    pub(super) location: String,
}

impl StaticRegistry {
    /// Gathers the objects of these repositories.
    ///
    /// # Errors
    /// A manifest cannot be read, or a layer is elsewhere and nothing says what to do with it.
    pub(super) fn gather(
        reader: &Reader<'_>,
        repositories: &Repositories,
        base_layers: BaseLayers,
    ) -> Result<Self, Failure> {
        let mut registry = Self::default();
        for (name, repository) in repositories {
            match &repository.v2 {
                Some(v2) if !v2.manifests.is_empty() => {
                    let manifests = published::manifests(reader, name, v2)?;
                    RepositoryBuilder { name, repository, v2, manifests: &manifests }
                        .add_to(&mut registry, base_layers);
                }
                Some(_) => registry.notes.push(format!(
                    "{name} is left out: its document lists no manifests, since another program wrote it"
                )),
                None => {
                    registry.notes.push(format!("{name} is left out: it has only Docker v1 content"));
                }
            }
        }
        if base_layers == BaseLayers::Refuse && !registry.redirects.is_empty() {
            return Err(refusal(&registry.redirects));
        }
        registry
            .objects
            .push(SmallObject { key: StaticKey::Base, content: SmallContent::Bytes(b"{}".to_vec()) });
        // A key of a kind that is named follows the keys that it names.
        registry.objects.sort_by_key(|object| rank(&object.key));
        Ok(registry)
    }
}

/// The rank of a kind of objects in the order of storing. Objects of one kind keep their order.
pub(super) fn rank(key: &StaticKey) -> u8 {
    match key {
        StaticKey::Blob(..) => 0,
        StaticKey::Manifest { reference: Reference::Digest(_), .. } => 1,
        StaticKey::Referrers(..) => 2,
        StaticKey::Manifest { reference: Reference::Tag(_), .. } => 3,
        StaticKey::TagsList(_) => 4,
        StaticKey::Base => 5,
    }
}

fn refusal(redirects: &[Redirect]) -> Failure {
    let layers: BTreeSet<&Digest> = redirects.iter().map(|redirect| &redirect.digest).collect();
    let host = |redirect: &Redirect| {
        let rest = redirect.location.split_once("://").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let hosts: BTreeSet<String> = redirects.iter().map(host).collect();
    let (is, it, its) = if layers.len() == 1 { ("is", "it", "a layer") } else { ("are", "them", "layers") };
    let count = if layers.len() == 1 { String::new() } else { format!("{} ", layers.len()) };
    let message = format!(
        "{count}{its} {is} not in the vendor's storage but at {}, and a static registry redirects nobody to {it}",
        hosts.into_iter().collect::<Vec<_>>().join(", ")
    );
    Failure::new(Kind::Refused, message)
        .hint("use --with-base-layers to fetch and store these layers too")
        .hint("use --redirect-base-layers if the web server or the CDN redirects their paths; the command lists them")
}

/// A repository whose objects are gathered.
struct RepositoryBuilder<'a> {
    name: &'a RepositoryName,
    repository: &'a Repository,
    v2: &'a V2Extension,
    /// The manifests that can be read.
    manifests: &'a BTreeMap<Digest, Manifest>,
}

impl RepositoryBuilder<'_> {
    fn add_to(&self, registry: &mut StaticRegistry, base_layers: BaseLayers) {
        self.add_blobs(registry, base_layers);
        for digest in self.children_first() {
            let Some(entry) = self.v2.manifests.get(&digest) else { continue };
            let content = SmallContent::Manifest(self.name.clone(), digest);
            registry.objects.push(self.manifest(Reference::Digest(digest), &entry.media_type, content));
            registry.types.insert(digest, entry.media_type.clone());
        }
        self.add_referrers(registry);
        for (tag, digest) in &self.v2.tags {
            let Some(entry) = self.v2.manifests.get(digest) else { continue };
            let content = SmallContent::Manifest(self.name.clone(), *digest);
            registry.objects.push(self.manifest(Reference::Tag(tag.clone()), &entry.media_type, content));
            registry.tags.push((self.name.clone(), tag.clone(), *digest));
        }
        let list = inventory::tags_list(self.name, self.v2.tags.keys());
        let key = StaticKey::TagsList(self.name.clone());
        registry.objects.push(SmallObject { key, content: SmallContent::Bytes(list) });
        registry.repositories.push(RegistryRepository {
            name: self.name.clone(),
            protected: self.repository.protected,
            tags: self.v2.tags.clone(),
        });
    }

    fn manifest(&self, reference: Reference, media_type: &str, content: SmallContent) -> SmallObject {
        let (repository, media_type) = (self.name.clone(), media_type.to_owned());
        SmallObject { key: StaticKey::Manifest { repository, reference, media_type }, content }
    }

    fn add_blobs(&self, registry: &mut StaticRegistry, base_layers: BaseLayers) {
        let descriptors = self.manifests.values().flat_map(Manifest::blobs);
        let foreign: BTreeSet<Digest> = descriptors
            .filter(|blob| media_type::is_nondistributable(&blob.media_type))
            .map(|blob| blob.digest)
            .collect();
        for (digest, entry) in &self.v2.blobs {
            let blob = PublishedBlob::new(self.name, *digest, entry);
            if let BlobPlace::Elsewhere(location) = &blob.place {
                let is_foreign = foreign.contains(digest);
                if is_foreign {
                    registry.notes.push(format!(
                        "the layer {digest} of {} must not be redistributed and is not stored: clients fetch it from the \
                         URL in its manifest",
                        self.name
                    ));
                }
                if base_layers != BaseLayers::Store && !is_foreign {
                    let (repository, location) = (self.name.clone(), location.clone());
                    registry.redirects.push(Redirect { repository, digest: *digest, location });
                }
                if base_layers != BaseLayers::Store || is_foreign {
                    continue;
                }
            }
            let (known, names) =
                registry.blobs.entry(*digest).or_insert_with(|| (blob.clone(), BTreeSet::new()));
            names.insert(self.name.clone());
            // Of several places the vendor's storage is preferred.
            if known.is_elsewhere() && !blob.is_elsewhere() {
                *known = blob;
            }
        }
    }

    /// All manifests, each after those that it lists.
    fn children_first(&self) -> Vec<Digest> {
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        // Each entry is a manifest, and whether its children are in the order already.
        let mut left: Vec<(Digest, bool)> =
            self.v2.manifests.keys().rev().map(|digest| (*digest, false)).collect();
        while let Some((digest, done)) = left.pop() {
            if done {
                order.push(digest);
            } else if self.v2.manifests.contains_key(&digest) && seen.insert(digest) {
                left.push((digest, true));
                let children = self.manifests.get(&digest).map(Manifest::children).unwrap_or_default();
                left.extend(children.iter().map(|child| (child.digest, false)));
            }
        }
        order
    }

    /// Adds what is attached to each manifest: for the referrers API, and under the tag that clients ask for otherwise.
    ///
    /// Source: OCI distribution-spec 1.1, "Referrers Tag Schema".
    fn add_referrers(&self, registry: &mut StaticRegistry) {
        let mut referrers: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
        for (digest, manifest) in self.manifests {
            let (Some(subject), Some(entry)) = (&manifest.subject, self.v2.manifests.get(digest)) else {
                continue;
            };
            referrers.entry(subject.digest).or_default().push(Descriptor {
                media_type: entry.media_type.clone(),
                digest: *digest,
                size: entry.size,
                urls: Vec::new(),
                data: None,
                platform: None,
                annotations: manifest.annotations.clone(),
                artifact_type: manifest.artifact_type.clone(),
            });
        }
        for (subject, descriptors) in referrers {
            let index = referrers_index(&descriptors);
            if index.len() as u64 > Manifest::MAX_SIZE {
                registry.notes.push(format!(
                    "the list of what is attached to {subject} of {} is {} bytes long: many clients read no list above 4 MiB",
                    self.name,
                    index.len()
                ));
            }
            let content = || SmallContent::Bytes(index.clone());
            let key = StaticKey::Referrers(self.name.clone(), subject);
            registry.objects.push(SmallObject { key, content: content() });
            let tag: Tag = format!("sha256-{}", subject.hex()).parse().expect("it is a tag");
            // A client that knows no referrers API has pushed the list itself.
            if self.v2.tags.contains_key(&tag) {
                continue;
            }
            let digest = Digest::of(&index);
            registry.objects.push(self.manifest(Reference::Digest(digest), media_type::OCI_INDEX, content()));
            registry.objects.push(self.manifest(
                Reference::Tag(tag.clone()),
                media_type::OCI_INDEX,
                content(),
            ));
            registry.types.insert(digest, media_type::OCI_INDEX.to_owned());
            registry.tags.push((self.name.clone(), tag, digest));
        }
    }
}

/// The answer of the referrers API.
fn referrers_index(manifests: &[Descriptor]) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Index<'a> {
        schema_version: u8,
        media_type: &'a str,
        manifests: &'a [Descriptor],
    }
    let index = Index { schema_version: 2, media_type: media_type::OCI_INDEX, manifests };
    serde_json::to_vec(&index).expect("all keys are text")
}
