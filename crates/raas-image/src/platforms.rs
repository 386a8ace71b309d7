//! Publishing some platforms of an index: those that the user names, or those that the source has.

use raas_types::{Descriptor, Digest, Manifest, ManifestBody, Platform, media_type};
use serde_json::Value;

use crate::config_facts::ConfigFacts;
use crate::entries;
use crate::roots::{Reader, Root};
use crate::{Content, ImageError, Limits, Store, StoredManifest};

/// What happens to an index of which the source lacks some platforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incomplete {
    /// It is an error.
    Refuse,
    /// If one platform alone is whole, that image is published in place of the index. When docker saves an image of
    /// many platforms, it writes the whole index, and of the images those that it has pulled. `docker push` follows the
    /// same rule.
    TakeTheOne,
}

/// What is published in place of a root.
pub(crate) struct Narrowed {
    pub(crate) root: Root,
    /// The index that was made, if one was.
    pub(crate) made: Option<(Digest, StoredManifest)>,
    pub(crate) note: Option<String>,
}

/// The root, or the part of it with the wanted platforms.
pub(crate) fn narrow(
    store: &dyn Store,
    root: &Root,
    wanted: &[Platform],
    incomplete: Incomplete,
    limits: &Limits,
) -> Result<Narrowed, ImageError> {
    let whole = |root: &Root| Narrowed { root: root.clone(), made: None, note: None };
    // A missing or malformed manifest is an error later, when the root is collected.
    let Some(StoredManifest { bytes, media_type }) = store.manifest(&root.digest)? else {
        return Ok(whole(root));
    };
    let Ok(manifest) = Manifest::parse(&bytes, root.media_type.as_deref().or(media_type.as_deref())) else {
        return Ok(whole(root));
    };
    if let ManifestBody::Image { config, .. } = &manifest.body {
        check_image(store, root, config, wanted, limits)?;
        return Ok(whole(root));
    }
    // Reading every entry takes long if there are too many.
    entries::check(&store.name(&root.digest), &manifest, limits)?;
    let index = Index::read(store, root, &manifest, limits)?;
    if !wanted.is_empty() {
        return index.only(wanted, &bytes, &manifest.media_type);
    }
    if incomplete == Incomplete::TakeTheOne
        && let Some(the_one) = index.the_one()
    {
        return Ok(the_one);
    }
    index.check_complete()?;
    Ok(whole(root))
}

/// Whether an image without an index is for a wanted platform, as far as its config says one.
fn check_image(
    store: &dyn Store,
    root: &Root,
    config: &Descriptor,
    wanted: &[Platform],
    limits: &Limits,
) -> Result<(), ImageError> {
    if wanted.is_empty() || !media_type::is_image_config(&config.media_type) {
        return Ok(());
    }
    let content = store.blob(&config.digest)?;
    let bytes = content.as_ref().map(|content| content.read_all(limits.json)).transpose()?;
    let facts = bytes.and_then(|bytes| serde_json::from_slice::<ConfigFacts>(&bytes).ok());
    match facts.and_then(|facts| facts.platform()) {
        Some(platform) => check_platform(&root.digest.to_string(), &platform, wanted),
        None => Ok(()),
    }
}

/// Whether an image is for a wanted platform.
pub(crate) fn check_platform(
    image: &str,
    platform: &Platform,
    wanted: &[Platform],
) -> Result<(), ImageError> {
    if wanted.is_empty() || wanted.iter().any(|wanted| is_for(platform, wanted)) {
        return Ok(());
    }
    Err(ImageError::choice(format!("{image} is an image for {platform}, not for {}", list(wanted.iter()))))
}

/// Whether a platform is the wanted one. `linux/arm64` means every variant of it.
fn is_for(platform: &Platform, wanted: &Platform) -> bool {
    platform.os == wanted.os
        && platform.architecture == wanted.architecture
        && (wanted.variant.is_none() || platform.variant == wanted.variant)
}

fn list<'a>(platforms: impl Iterator<Item = &'a Platform>) -> String {
    platforms.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// An index, and how much of each of its manifests the source has.
struct Index<'a> {
    root: &'a Root,
    children: Vec<Child>,
    /// The first missing manifest, with its name in messages.
    missing: Option<(String, Child)>,
}

#[derive(Clone)]
struct Child {
    descriptor: Descriptor,
    /// For an attestation: the manifest that it is about, if it names a valid digest.
    attests: Option<Option<Digest>>,
    /// Whether the source has the manifest.
    is_there: bool,
    /// Whether the source has the manifest with its config and layers.
    is_whole: bool,
}

impl<'a> Index<'a> {
    fn read(
        store: &dyn Store,
        root: &'a Root,
        index: &Manifest,
        limits: &Limits,
    ) -> Result<Self, ImageError> {
        let mut reader = Reader::new(store, limits);
        let mut children = Vec::new();
        let mut missing = None;
        for descriptor in index.children() {
            let media_type = descriptor.media_type.as_str();
            let is_manifest = media_type.is_empty()
                || media_type::is_index(media_type)
                || media_type::is_image_manifest(media_type)
                || media_type::is_schema1(media_type);
            if !is_manifest {
                continue;
            }
            let found = reader.read(&descriptor.digest)?;
            let is_whole = match &found {
                Some(found) => has_blobs(store, found, media_type)?,
                None => false,
            };
            let attests = descriptor.annotation("vnd.docker.reference.type").map(|_| {
                descriptor.annotation("vnd.docker.reference.digest").and_then(|digest| digest.parse().ok())
            });
            let child =
                Child { descriptor: descriptor.clone(), attests, is_there: found.is_some(), is_whole };
            if !child.is_there && missing.is_none() {
                missing = Some((store.name(&descriptor.digest), child.clone()));
            }
            children.push(child);
        }
        Ok(Self { root, children, missing })
    }

    /// The manifests that are no attestations.
    fn images(&self) -> impl Iterator<Item = &Child> {
        self.children.iter().filter(|child| child.attests.is_none())
    }

    fn platforms<'b>(children: impl Iterator<Item = &'b Child>) -> String {
        list(children.filter_map(|child| child.descriptor.platform.as_ref()))
    }

    /// The image of the one platform that is whole, if others are not.
    fn the_one(&self) -> Option<Narrowed> {
        let mut whole = self.images().filter(|child| child.is_whole);
        let (the_one, another) = (whole.next()?, whole.next());
        let complete = self.children.iter().all(|child| child.is_whole);
        (another.is_none() && !complete)
            .then(|| self.image(the_one, "the source holds one platform of the index"))
    }

    fn image(&self, child: &Child, why: &str) -> Narrowed {
        let platform = child.descriptor.platform.as_ref();
        let platform = platform.map_or_else(|| "unnamed".to_owned(), ToString::to_string);
        let digest = self.root.digest;
        Narrowed {
            root: Root { unusable: None, ..Root::of(&child.descriptor, self.root.tag.clone()) },
            made: None,
            note: Some(format!("{why} {digest} ({platform}); that image is published, not the index")),
        }
    }

    /// The part of the index with these platforms.
    fn only(&self, wanted: &[Platform], bytes: &[u8], media_type: &str) -> Result<Narrowed, ImageError> {
        let digest = self.root.digest;
        let wants = |child: &&Child, wanted: &Platform| {
            child.descriptor.platform.as_ref().is_some_and(|platform| is_for(platform, wanted))
        };
        for wanted in wanted {
            let mut named = self.images().filter(|child| wants(child, wanted)).peekable();
            if named.peek().is_none() {
                let has = Self::platforms(self.images());
                return Err(ImageError::choice(format!(
                    "the index {digest} has no image for {wanted}; it has {has}"
                )));
            }
            if named.all(|child| !child.is_there) {
                let whole = Self::platforms(self.images().filter(|child| child.is_whole));
                return Err(ImageError::choice(format!(
                    "the source lacks the image for {wanted} of the index {digest}; it has {whole}"
                )));
            }
        }
        let kept: Vec<&Child> = self
            .images()
            .filter(|child| child.is_there && wanted.iter().any(|wanted| wants(child, wanted)))
            .collect();
        if let [only] = kept.as_slice() {
            return Ok(self.image(only, "one platform was asked for of the index"));
        }
        let digests: Vec<Digest> = kept.iter().map(|child| child.descriptor.digest).collect();
        let stays = |child: &Child| match child.attests {
            None => digests.contains(&child.descriptor.digest),
            Some(image) => child.is_there && image.is_some_and(|image| digests.contains(&image)),
        };
        if self.children.iter().all(stays) {
            return Ok(Narrowed { root: self.root.clone(), made: None, note: None });
        }
        let stay: Vec<String> = self
            .children
            .iter()
            .filter(|child| stays(child))
            .map(|c| c.descriptor.digest.to_string())
            .collect();
        let mut document: Value = serde_json::from_slice(bytes)
            .map_err(|error| ImageError::content(digest.to_string(), error.to_string()))?;
        if let Some(Value::Array(manifests)) = document.get_mut("manifests") {
            manifests.retain(|entry| {
                entry
                    .get("digest")
                    .and_then(Value::as_str)
                    .is_some_and(|digest| stay.iter().any(|stays| stays == digest))
            });
        }
        let made = serde_json::to_vec(&document).expect("JSON that was read can be written");
        let own = Digest::of(&made);
        let root = Root {
            digest: own,
            media_type: Some(media_type.to_owned()),
            size: Some(made.len() as u64),
            ..self.root.clone()
        };
        let note = format!(
            "an index of {} is published, with a digest of its own: {own} in place of {digest}; signatures of the \
             source's index are not signatures of it",
            Self::platforms(kept.iter().copied())
        );
        let stored = StoredManifest { bytes: made, media_type: Some(media_type.to_owned()) };
        Ok(Narrowed { root, made: Some((own, stored)), note: Some(note) })
    }

    fn check_complete(&self) -> Result<(), ImageError> {
        let Some((name, child)) = &self.missing else {
            return Ok(());
        };
        let what = match (&child.attests, &child.descriptor.platform) {
            (Some(_), _) => "lists it as an attestation".to_owned(),
            (None, Some(platform)) => format!("lists it for {platform}"),
            (None, None) => "lists it".to_owned(),
        };
        let mut message = format!("the index {} {what}, and it is not in the source", self.root.digest);
        let whole = Self::platforms(self.images().filter(|child| child.is_whole));
        if !whole.is_empty() {
            let (these, published) = match whole.contains(',') {
                true => ("these alone", "as an index with a digest of its own"),
                false => ("this one alone", "as an image without the index"),
            };
            message.push_str(&format!(
                "; whole in the source: {whole}; publish {these} with --platform {whole}, {published}"
            ));
        }
        Err(ImageError::missing(name, message))
    }
}

/// Whether the source has the config and the layers of an image; an index has none.
fn has_blobs(store: &dyn Store, found: &StoredManifest, media_type: &str) -> Result<bool, ImageError> {
    let known_as = Some(media_type).filter(|t| !t.is_empty()).or(found.media_type.as_deref());
    let Ok(manifest) = Manifest::parse(&found.bytes, known_as) else {
        return Ok(false);
    };
    for blob in manifest.blobs() {
        let elsewhere = !blob.urls.is_empty() || blob.data.is_some();
        let content: Option<Content> = if elsewhere { None } else { store.blob(&blob.digest)? };
        if !elsewhere && content.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
