//! Docker v1 images: chains of parents.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map};

use raas_types::{Digest, ImageId, Tag};
use serde::Deserialize;

use crate::select::{ListedImage, Role, Selection};
use crate::{Content, ImageError, Limits, Rule, V1Image, V1Set, json};

/// The most ancestors of an image. Docker's daemons accepted 127; a chain of a million must fail early.
const MAX_CHAIN: usize = 1024;

/// The most ancestors of all images together. Each image keeps its list: 32 MiB of ids.
const MAX_ANCESTORS: usize = 1 << 20;

/// The files of one image in a source.
pub(crate) struct Files {
    pub(crate) json: Option<Content>,
    pub(crate) layer: Option<Content>,
    /// The image's own list of ids, if the format has one.
    pub(crate) ancestry: Option<Content>,
}

#[derive(Deserialize)]
struct JsonFacts {
    id: Option<ImageId>,
    #[serde(default)]
    parent: Option<String>,
}

/// An image that was met in a chain.
#[derive(Clone, Copy)]
struct Link {
    parent: Option<ImageId>,
    /// The image has no files. Its parent is known only from the ancestry lists of its descendants.
    hole: bool,
}

/// The images that were met in all chains.
#[derive(Default)]
pub(crate) struct Known {
    links: HashMap<ImageId, Link>,
    /// Bytes of the json files and lists that were read. Links can make one long file the file of many images.
    bytes: u64,
}

impl Known {
    pub(crate) fn read(
        &mut self,
        id: &ImageId,
        files: &Files,
        limits: &Limits,
    ) -> Result<Option<(Option<ImageId>, ListedAncestors)>, ImageError> {
        for content in [&files.json, &files.ancestry].into_iter().flatten() {
            self.bytes = self.bytes.saturating_add(content.size());
            if self.bytes > limits.configs {
                let rule = Rule::TooLarge { size: self.bytes, limit: limits.configs };
                return Err(ImageError::refused(content.name(), rule));
            }
        }
        read_link(id, files, limits)
    }
}

/// The ancestors in an image's own list, without the image itself.
pub(crate) type ListedAncestors = Option<Vec<ImageId>>;

/// The names of a repository's images: a tag, or a text that is no tag.
pub(crate) type Tags = Vec<(Result<Tag, String>, ImageId)>;

/// An id in the place of a digest: it has the same form and serves to choose an image.
fn as_digest(id: &ImageId) -> Digest {
    Digest::from_hex(&id.to_string()).expect("an id has 64 hex digits")
}

/// The images of a repository, each once.
pub(crate) fn list(tags: &Tags) -> Vec<ListedImage> {
    let mut listed: Vec<ListedImage> = Vec::new();
    let mut places: HashMap<ImageId, usize> = HashMap::new();
    for (name, id) in tags {
        let place = *places.entry(*id).or_insert_with(|| {
            let (tags, unusable) = (Vec::new(), Vec::new());
            listed.push(ListedImage {
                digest: as_digest(id),
                tags,
                unusable,
                platform: None,
                role: Role::Image,
            });
            listed.len() - 1
        });
        match name {
            Ok(tag) => listed[place].tags.push(tag.clone()),
            Err(text) => listed[place].unusable.extend(Some(text.clone()).filter(|text| !text.is_empty())),
        }
    }
    listed
}

/// Follows each chosen image to its base and checks the chain.
///
/// An image without any file is allowed here if a child's ancestry list names it, because it may be masked. The push
/// decides whether it is.
pub(crate) fn collect(
    names: &Tags,
    selection: &Selection,
    files: impl Fn(&ImageId) -> Result<Files, ImageError>,
    limits: &Limits,
) -> Result<V1Set, ImageError> {
    if !selection.platforms.is_empty() {
        return Err(ImageError::choice("Docker v1 images have no platforms to choose from with --platform"));
    }
    let mut tags = BTreeMap::new();
    for (_, id) in names {
        let chosen = selection.tags_of(&as_digest(id)).unwrap_or_default();
        tags.extend(chosen.iter().map(|tag| (tag.clone(), *id)));
    }
    let mut known = Known::default();
    let mut set = V1Set { tags, notes: selection.notes.clone(), ..V1Set::default() };
    let mut ancestors = 0;
    for top in set.tags.values().copied().collect::<BTreeSet<_>>() {
        let chain = chain(top, &mut known, &files, limits)?;
        for n in 0..chain.len() {
            if let btree_map::Entry::Vacant(place) = set.images.entry(chain[n]) {
                ancestors += chain.len() - n;
                if ancestors > MAX_ANCESTORS {
                    let message =
                        format!("it and its images have more than {MAX_ANCESTORS} ancestors together");
                    return Err(ImageError::content("the archive", message));
                }
                let Files { json, layer, .. } = files(&chain[n])?;
                place.insert(V1Image { ancestry: chain[n..].to_vec(), json, layer });
            }
        }
    }
    Ok(set)
}

/// The ids from an image to its base.
fn chain(
    top: ImageId,
    known: &mut Known,
    files: &impl Fn(&ImageId) -> Result<Files, ImageError>,
    limits: &Limits,
) -> Result<Vec<ImageId>, ImageError> {
    let mut chain: Vec<ImageId> = Vec::new();
    let mut seen = BTreeSet::new();
    // The rest of the chain by the lists of the descendants, the next id last.
    let mut expected: ListedAncestors = None;
    let mut next = Some(top);
    while let Some(id) = next {
        if !seen.insert(id) {
            return Err(ImageError::refused(format!("image {id}"), Rule::ParentCycle));
        }
        if chain.len() == MAX_CHAIN {
            let message = format!("it has more than {MAX_CHAIN} ancestors");
            return Err(ImageError::content(format!("image {top}"), message));
        }
        // This image is the next id in the list.
        expected.as_mut().map(Vec::pop);
        let link = match known.links.get(&id) {
            Some(link) => *link,
            None => {
                let link = match known.read(&id, &files(&id)?, limits)? {
                    Some((parent, listed)) => {
                        expected = agreed(&id, expected, listed)?;
                        Link { parent, hole: false }
                    }
                    None => {
                        let parent = expected.as_ref().and_then(|rest| rest.last().copied());
                        if expected.is_none()
                            && let Some(child) = chain.last()
                        {
                            return Err(ImageError::refused(
                                format!("image {child}"),
                                Rule::ParentMissing(id),
                            ));
                        }
                        Link { parent, hole: true }
                    }
                };
                known.links.insert(id, link);
                link
            }
        };
        if link.hole && chain.is_empty() {
            let why = "a tag names it, and it is not in the archive";
            return Err(ImageError::missing(format!("image {id}"), why));
        }
        if expected.as_ref().is_some_and(|rest| rest.last() != link.parent.as_ref()) {
            let message = "its ancestry list and its json name different parents";
            return Err(ImageError::content(format!("image {id}"), message));
        }
        chain.push(id);
        next = link.parent;
    }
    Ok(chain)
}

/// The rest of a chain, on which the lists of the descendants and of this image must agree.
fn agreed(id: &ImageId, above: ListedAncestors, own: ListedAncestors) -> Result<ListedAncestors, ImageError> {
    match (above, own) {
        (Some(above), Some(own)) if above != own => Err(ImageError::content(
            format!("image {id}"),
            "its ancestry list is not the rest of the list of the image that is built on it",
        )),
        (above, own) => Ok(above.or(own)),
    }
}

/// An image's parent, and the ancestors in its list, the next id last; `None` if the image has no files.
fn read_link(
    id: &ImageId,
    files: &Files,
    limits: &Limits,
) -> Result<Option<(Option<ImageId>, ListedAncestors)>, ImageError> {
    let Some(content) = &files.json else {
        return match (&files.layer, &files.ancestry) {
            (None, None) => Ok(None),
            _ => Err(ImageError::missing(
                format!("image {id}"),
                "the archive has files of it, but not its json",
            )),
        };
    };
    let facts: JsonFacts = json::read(content, limits)?;
    if facts.id.is_some_and(|own| own != *id) {
        return Err(ImageError::content(content.name(), "it is the json of another image"));
    }
    let parent = match facts.parent.as_deref() {
        None | Some("") => None,
        Some(text) => Some(
            text.parse()
                .map_err(|error| ImageError::content(content.name(), format!("its parent: {error}")))?,
        ),
    };
    let listed = match &files.ancestry {
        None => None,
        Some(content) => {
            let listed: Vec<ImageId> = json::read(content, limits)?;
            if listed.first() != Some(id) {
                return Err(ImageError::content(
                    content.name(),
                    "the list does not begin with the image itself",
                ));
            }
            if listed.len() > MAX_CHAIN {
                return Err(ImageError::content(
                    content.name(),
                    format!("it names more than {MAX_CHAIN} images"),
                ));
            }
            Some(listed.into_iter().skip(1).rev().collect())
        }
    };
    Ok(Some((parent, listed)))
}
