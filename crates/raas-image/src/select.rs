//! Choosing from what a source holds. Every format lists its content in the same way, and this module alone decides
//! which of it is meant.

use std::collections::BTreeMap;

use raas_types::{Digest, Platform, RepositoryName, Tag, VendorName};

use crate::error::legible;
use crate::source_name::{familiar, named_like, named_without_registry};
use crate::{ImageError, SourceKind};

/// What the user asked for. The default asks for everything, which needs a source with one repository.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The name that the image is published under. It finds the repository of a source with several.
    pub published_as: Option<(VendorName, RepositoryName)>,
    /// The repository in the source (`--repository`).
    pub repository: Option<String>,
    /// The only tag wanted, or the tag for an image that has none in the source.
    pub tag: Option<Tag>,
    /// The only image wanted (`--digest`): the digest of its manifest, or in an archive without manifests that of its
    /// config, or its Docker v1 id.
    pub digest: Option<Digest>,
    /// The platforms wanted of an index (`--platform`); empty for all.
    pub platforms: Vec<Platform>,
}

/// What a format lists of a source, whether or not it can be published.
pub(crate) trait Catalogue {
    /// The repositories of the source. `None` stands for images without a repository.
    fn repositories(&self) -> Result<Vec<Option<String>>, ImageError>;

    /// The images of one of these repositories, each once.
    fn images(&self, repository: Option<&str>) -> Result<Vec<ListedImage>, ImageError>;

    /// What an image without any name is published as.
    fn unnamed(&self) -> Unnamed;

    /// Whether the source has manifests, so that an image can be published under its digest alone.
    fn has_manifests(&self) -> bool;
}

/// What an image without any name is published as, if the user names no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// As `latest`: the program that wrote the archive left the name to its reader.
    Latest,
    /// Under its digest alone, and only if the user asks for it: in a Pulp repository, tags are content.
    ByDigest,
}

/// An image that a source lists.
#[derive(Debug, Clone)]
pub(crate) struct ListedImage {
    pub(crate) digest: Digest,
    pub(crate) tags: Vec<Tag>,
    /// Names that hold no valid tag.
    pub(crate) unusable: Vec<String>,
    pub(crate) platform: Option<Platform>,
    pub(crate) role: Role,
}

/// What a listed manifest is to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// An image or an index of images.
    Image,
    /// A signature, an attestation or another attachment, which comes along with its image.
    Attachment,
    /// A file of this media type, which is no manifest.
    NotManifest(String),
}

/// The images of a source that were chosen.
#[derive(Debug, Clone)]
pub struct Selection {
    pub(crate) kind: SourceKind,
    pub(crate) repository: Option<String>,
    pub(crate) images: Vec<Chosen>,
    pub(crate) platforms: Vec<Platform>,
    pub(crate) notes: Vec<String>,
}

/// A chosen image and the tags that it is published under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) digest: Digest,
    pub(crate) tags: Vec<Tag>,
}

impl Selection {
    /// The format that the images are read as.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// The repository in the source; `None` if the images have none.
    pub fn repository(&self) -> Option<&str> {
        self.repository.as_deref()
    }

    /// The tags of all chosen images.
    pub fn tags(&self) -> Vec<Tag> {
        self.images.iter().flat_map(|image| image.tags.iter().cloned()).collect()
    }

    /// The tags of a chosen image; `None` if the image was not chosen.
    pub(crate) fn tags_of(&self, digest: &Digest) -> Option<&[Tag]> {
        self.images.iter().find(|image| image.digest == *digest).map(|image| image.tags.as_slice())
    }
}

/// Chooses what is wanted.
pub(crate) fn choose(
    catalogue: &dyn Catalogue,
    kind: SourceKind,
    what: &str,
    wanted: &Wanted,
) -> Result<Selection, ImageError> {
    Chooser { catalogue, kind, what, wanted }.choose()
}

struct Chooser<'a> {
    catalogue: &'a dyn Catalogue,
    kind: SourceKind,
    what: &'a str,
    wanted: &'a Wanted,
}

impl Chooser<'_> {
    fn choose(&self) -> Result<Selection, ImageError> {
        let repositories = self.catalogue.repositories()?;
        let repository = self.repository(&repositories)?;
        let listed = self.catalogue.images(repository.as_deref())?;
        let mut selection = Selection {
            kind: self.kind,
            repository,
            images: Vec::new(),
            platforms: self.wanted.platforms.clone(),
            notes: Vec::new(),
        };
        if self.wanted.repository.is_none() && selection.repository.is_some() && repositories.contains(&None)
        {
            let nameless = describe_images(&self.catalogue.images(None)?);
            selection.notes.push(format!(
                "the source has images without a repository too, which are not published: {nameless}"
            ));
        }
        match (self.wanted.digest, &self.wanted.tag) {
            (Some(digest), tag) => self.by_digest(&mut selection, &listed, digest, tag.as_ref())?,
            (None, Some(tag)) => self.by_tag(&mut selection, &listed, tag)?,
            (None, None) => self.everything(&mut selection, &listed)?,
        }
        Ok(selection)
    }

    /// The repository that is meant. If nothing in the request tells, the source must have a single repository, or only
    /// images without one.
    fn repository(&self, repositories: &[Option<String>]) -> Result<Option<String>, ImageError> {
        let names: Vec<&str> = repositories.iter().flatten().map(String::as_str).collect();
        if let Some(wanted) = &self.wanted.repository {
            let same = names.iter().copied().find(|name| familiar(name) == familiar(wanted));
            return match same.or_else(|| named_without_registry(&names, wanted)) {
                Some(name) => Ok(Some(name.to_owned())),
                None => {
                    let has = if names.is_empty() {
                        "it names no repository".to_owned()
                    } else {
                        format!("it has {}", names.join(", "))
                    };
                    Err(self.error(format!("has no repository `{wanted}`; {has}")))
                }
            };
        }
        let named = self.wanted.published_as.as_ref();
        let named = named.and_then(|(vendor, image)| named_like(&names, vendor, image));
        if let Some(digest) = self.wanted.digest {
            let mut with_digest = Vec::new();
            for repository in repositories {
                let images = self.catalogue.images(repository.as_deref())?;
                if images.iter().any(|image| image.digest == digest) {
                    with_digest.push(repository.as_deref());
                }
            }
            return match with_digest.as_slice() {
                [one] => Ok(one.map(str::to_owned)),
                [] => {
                    let mut listed = Vec::new();
                    for repository in repositories {
                        listed.extend(self.catalogue.images(repository.as_deref())?);
                    }
                    Err(self.no_digest(digest, &listed))
                }
                several if named.is_some() && several.contains(&named) => Ok(named.map(str::to_owned)),
                _ => Err(self.error(format!(
                    "has {digest} in several repositories; {}; choose with --repository NAME",
                    self.listing(repositories)?
                ))),
            };
        }
        match (named, repositories) {
            (Some(name), _) => Ok(Some(name.to_owned())),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(self.error("names no image".into())),
            (None, _) => {
                let image = match &self.wanted.published_as {
                    Some((_, image)) => format!(" and none is called `{image}`"),
                    None => String::new(),
                };
                Err(self.error(format!(
                    "has several repositories{image}; {}; choose with --repository NAME or --digest sha256:…",
                    self.listing(repositories)?
                )))
            }
        }
    }

    fn by_digest(
        &self,
        selection: &mut Selection,
        listed: &[ListedImage],
        digest: Digest,
        tag: Option<&Tag>,
    ) -> Result<(), ImageError> {
        let Some(image) = listed.iter().find(|image| image.digest == digest) else {
            return Err(self.no_digest(digest, listed));
        };
        require_manifest(image)?;
        let tags = match tag {
            Some(tag) => {
                if let Some(other) =
                    listed.iter().find(|other| other.digest != digest && other.tags.contains(tag))
                {
                    return Err(self.error(format!(
                        "gives the tag `{tag}` to {}, and --digest names {digest}",
                        other.digest
                    )));
                }
                vec![tag.clone()]
            }
            None if image.tags.is_empty() && self.catalogue.unnamed() == Unnamed::Latest => {
                vec![self.unnamed_tag(image)?]
            }
            None => image.tags.clone(),
        };
        if tags.is_empty() {
            selection.notes.push(format!("{digest} has no tag: clients pull it by its digest"));
        }
        selection.images.push(Chosen { digest, tags });
        Ok(())
    }

    fn by_tag(&self, selection: &mut Selection, listed: &[ListedImage], tag: &Tag) -> Result<(), ImageError> {
        let mut tagged = listed.iter().filter(|image| image.tags.contains(tag));
        if let Some(image) = tagged.next() {
            if let Some(other) = tagged.next() {
                return Err(given_twice(tag, image, other));
            }
            require_manifest(image)?;
            selection.images.push(Chosen { digest: image.digest, tags: vec![tag.clone()] });
            return Ok(());
        }
        let candidates: Vec<&ListedImage> = listed.iter().filter(|image| image.role == Role::Image).collect();
        let has_tags = candidates.iter().any(|image| !image.tags.is_empty());
        match candidates.as_slice() {
            [only] if only.tags.is_empty() && self.catalogue.unnamed() == Unnamed::Latest => {
                selection.images.push(Chosen { digest: only.digest, tags: vec![tag.clone()] });
                Ok(())
            }
            [] => Err(self.error("names no image".into())),
            _ if has_tags => Err(self.error(format!(
                "has no tag `{tag}`; {} (tags are published under their own names)",
                describe_images(listed)
            ))),
            _ => Err(self.untagged(&candidates, listed)),
        }
    }

    fn everything(&self, selection: &mut Selection, listed: &[ListedImage]) -> Result<(), ImageError> {
        for image in listed {
            if let Role::NotManifest(media_type) = &image.role {
                let media_type = legible(media_type, 100);
                let digest = image.digest;
                let note =
                    format!("{digest} is not published: it is a file of type `{media_type}`, not a manifest");
                selection.notes.push(note);
            }
        }
        let candidates: Vec<&ListedImage> = listed.iter().filter(|image| image.role == Role::Image).collect();
        if candidates.iter().all(|image| image.tags.is_empty()) {
            let only = match candidates.as_slice() {
                [] => {
                    // The error about a named entry that is no manifest says more than `names no image`.
                    listed.iter().find(|image| !image.tags.is_empty()).map_or(Ok(()), require_manifest)?;
                    return Err(self.error("names no image".into()));
                }
                [only] if self.catalogue.unnamed() == Unnamed::Latest => *only,
                _ => return Err(self.untagged(&candidates, listed)),
            };
            selection.images.push(Chosen { digest: only.digest, tags: vec![self.unnamed_tag(only)?] });
            return Ok(());
        }
        let mut given: BTreeMap<&Tag, &ListedImage> = BTreeMap::new();
        for image in listed.iter().filter(|image| !matches!(image.role, Role::NotManifest(_))) {
            for tag in &image.tags {
                if let Some(other) = given.insert(tag, image) {
                    return Err(given_twice(tag, other, image));
                }
            }
            let by_digest = self.catalogue.has_manifests();
            if !image.tags.is_empty() {
                selection.notes.extend(image.unusable.iter().map(|name| {
                    let name = legible(name, 200);
                    format!("the name `{name}` of {} is not published: it has no valid tag", image.digest)
                }));
            } else if !by_digest || !image.unusable.is_empty() {
                let called =
                    image.unusable.first().map(|name| format!(" is called `{}` and", legible(name, 200)));
                selection.notes.push(format!(
                    "{}{} has no valid tag: {}",
                    image.digest,
                    called.unwrap_or_default(),
                    if by_digest { "it is published under its digest alone" } else { "it is not published" }
                ));
            }
            if image.tags.is_empty() && !by_digest {
                continue;
            }
            selection.images.push(Chosen { digest: image.digest, tags: image.tags.clone() });
        }
        Ok(())
    }

    /// `latest`, unless the image has a name that says otherwise.
    fn unnamed_tag(&self, image: &ListedImage) -> Result<Tag, ImageError> {
        match image.unusable.first() {
            None => Ok("latest".parse().expect("`latest` is a tag")),
            Some(name) => Err(self.error(format!(
                "calls {} `{}`, which has no valid tag; give the tag: IMAGE:TAG",
                image.digest,
                legible(name, 200)
            ))),
        }
    }

    fn no_digest(&self, digest: Digest, listed: &[ListedImage]) -> ImageError {
        let has = describe(listed, |image| {
            let tags: Vec<&str> = image.tags.iter().map(Tag::as_str).take(3).collect();
            match tags.as_slice() {
                [] => image.digest.to_string(),
                tags => format!("{} ({})", image.digest, tags.join(", ")),
            }
        });
        self.error(format!("has no image with the digest {digest}; {has}"))
    }

    fn untagged(&self, candidates: &[&ListedImage], listed: &[ListedImage]) -> ImageError {
        let count = match candidates.len() {
            1 => "an image without a tag".to_owned(),
            n => format!("{n} images and tags none of them"),
        };
        self.error(format!("has {count}; {}; choose with --digest sha256:…", describe_images(listed)))
    }

    fn error(&self, problem: String) -> ImageError {
        ImageError::choice(format!("{} {problem}", self.what))
    }

    /// What the source has, for errors.
    fn listing(&self, repositories: &[Option<String>]) -> Result<String, ImageError> {
        let mut parts: Vec<String> = repositories.iter().flatten().map(|name| format!("`{name}`")).collect();
        if repositories.contains(&None) {
            parts.push(format!("without a repository: {}", describe_images(&self.catalogue.images(None)?)));
        }
        Ok(format!("it has {}", parts.join(", ")))
    }
}

fn given_twice(tag: &Tag, one: &ListedImage, other: &ListedImage) -> ImageError {
    let message = format!("the source gives it to two images, {} and {}", one.digest, other.digest);
    ImageError::content(format!("tag {tag}"), message)
}

/// Rejects an image that was asked for and is a file of another type.
fn require_manifest(image: &ListedImage) -> Result<(), ImageError> {
    match &image.role {
        Role::NotManifest(media_type) => Err(ImageError::content(
            image.digest.to_string(),
            format!("it is a file of type `{media_type}`, neither an image manifest nor an index"),
        )),
        _ => Ok(()),
    }
}

/// The images of a list, for errors: tags, or digests of images without a tag.
fn describe_images(listed: &[ListedImage]) -> String {
    describe(listed, |image| {
        let platform = image.platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
        if !image.tags.is_empty() {
            let tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
            return format!("{}{platform}", tags.join(", "));
        }
        match image.unusable.first() {
            Some(name) => format!("{}{platform}, called `{}`", image.digest, legible(name, 100)),
            None => format!("{}{platform}", image.digest),
        }
    })
}

/// The first images of a list in words of one kind, and the number of the others.
fn describe(listed: &[ListedImage], word: impl Fn(&ListedImage) -> String) -> String {
    const MOST: usize = 20;
    let all = listed.iter().filter(|image| image.role == Role::Image);
    let mut shown: Vec<String> = all.clone().take(MOST).map(word).collect();
    match all.count() {
        0 => "it has no image".to_owned(),
        n => {
            if n > MOST {
                shown.push(format!("and {} more", n - MOST));
            }
            format!("it has {}", shown.join(", "))
        }
    }
}
