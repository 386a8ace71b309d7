//! Docker v1 images: chains of parents, and the oldest docker save format, which is made of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map, hash_map};

use raas_types::{ImageId, Tag};
use serde::Deserialize;

use crate::archive::Wanted;
use crate::manifests::no_such_tag;
use crate::tree::Tree;
use crate::{Content, ImageError, Limits, Rule, V1Image, V1Set, json};

/// More parents than any daemon ever accepted (127), so that a chain of a million is refused early.
const MAX_CHAIN: usize = 1024;

/// The files of one image in a source.
pub(crate) struct Files {
    pub(crate) json: Option<Content>,
    pub(crate) layer: Option<Content>,
    /// The image's own list of ids, where the format has one.
    pub(crate) ancestry: Option<Content>,
}

#[derive(Deserialize)]
struct JsonFacts {
    id: Option<ImageId>,
    #[serde(default)]
    parent: Option<String>,
}

/// What a chain needs to know of an image.
struct Link {
    parent: Option<ImageId>,
    /// The ancestors that the image's own list names, itself first.
    listed: Option<Vec<ImageId>>,
}

/// Follows each tag's image to its base and checks the chain.
///
/// An image whose files are all missing is allowed here where a child's ancestry list names it: it may be masked.
/// Whether that is so is for the push to say.
pub(crate) fn collect(
    tags: BTreeMap<Tag, ImageId>,
    wanted: Option<&Tag>,
    files: impl Fn(&ImageId) -> Result<Files, ImageError>,
    limits: &Limits,
) -> Result<V1Set, ImageError> {
    let tags = match wanted {
        None => tags,
        Some(tag) => match tags.get(tag) {
            Some(id) => [(tag.clone(), *id)].into(),
            None => return Err(no_such_tag(tag, tags.keys())),
        },
    };
    let mut links = HashMap::new();
    let mut set = V1Set { tags, ..V1Set::default() };
    for top in set.tags.values().copied().collect::<BTreeSet<_>>() {
        let chain = chain(top, &mut links, &files, limits)?;
        for n in 0..chain.len() {
            if let btree_map::Entry::Vacant(place) = set.images.entry(chain[n]) {
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
    links: &mut HashMap<ImageId, Link>,
    files: &impl Fn(&ImageId) -> Result<Files, ImageError>,
    limits: &Limits,
) -> Result<Vec<ImageId>, ImageError> {
    let mut chain: Vec<ImageId> = Vec::new();
    let mut seen = BTreeSet::new();
    // What the images above have said the rest of the chain is, next id last.
    let mut expected: Vec<ImageId> = Vec::new();
    let mut next = Some(top);
    while let Some(id) = next {
        if !seen.insert(id) {
            return Err(ImageError::refused(format!("image {id}"), Rule::ParentCycle));
        }
        if chain.len() == MAX_CHAIN {
            let message = format!("it has more than {MAX_CHAIN} ancestors");
            return Err(ImageError::content(format!("image {top}"), message));
        }
        if let hash_map::Entry::Vacant(place) = links.entry(id)
            && let Some(link) = read_link(&id, &files(&id)?, limits)?
        {
            place.insert(link);
        }
        let announced = expected.pop();
        let parent = match links.get(&id) {
            Some(link) => {
                if let Some(listed) = &link.listed {
                    expected = listed.iter().skip(1).rev().copied().collect();
                }
                if link.listed.is_some() && expected.last() != link.parent.as_ref() {
                    let message = "its ancestry list and its json name different parents";
                    return Err(ImageError::content(format!("image {id}"), message));
                }
                link.parent
            }
            // The image is not in the archive: only its descendants' ancestry lists tell what it is built on.
            None if announced.is_some() => expected.last().copied(),
            None if chain.is_empty() => {
                return Err(ImageError::missing(
                    format!("image {id}"),
                    "a tag names it, and it is not in the archive",
                ));
            }
            None => {
                let child = chain[chain.len() - 1];
                return Err(ImageError::refused(format!("image {child}"), Rule::ParentMissing(id)));
            }
        };
        chain.push(id);
        next = parent;
    }
    Ok(chain)
}

fn read_link(id: &ImageId, files: &Files, limits: &Limits) -> Result<Option<Link>, ImageError> {
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
            Some(listed)
        }
    };
    Ok(Some(Link { parent, listed }))
}

/// `repositories`: name to tag to image.
type Repositories = BTreeMap<String, BTreeMap<String, ImageId>>;

fn repositories_file(tree: &Tree, limits: &Limits) -> Result<Repositories, ImageError> {
    json::read(&tree.need("repositories", "the oldest docker save format has it", limits)?, limits)
}

/// The names in `repositories`.
pub(crate) fn saved_repositories(tree: &Tree, limits: &Limits) -> Result<Vec<String>, ImageError> {
    Ok(repositories_file(tree, limits)?.into_keys().collect())
}

/// The images of the wanted repository in the oldest docker save format.
pub(crate) fn saved_image(tree: &Tree, wanted: &Wanted, limits: &Limits) -> Result<V1Set, ImageError> {
    let repositories = repositories_file(tree, limits)?;
    let tags = match &wanted.repository {
        Some(name) => repositories.get(name).cloned().unwrap_or_default(),
        None => repositories.into_values().flatten().collect(),
    };
    let tags = tags
        .into_iter()
        .map(|(tag, id)| tag.parse::<Tag>().map(|tag| (tag, id)))
        .collect::<Result<BTreeMap<_, _>, _>>()
        .map_err(|error| ImageError::content("repositories", error.to_string()))?;
    if tags.is_empty() {
        return Err(ImageError::Choice("`repositories` names no image".into()));
    }
    let files = |id: &ImageId| {
        Ok(Files {
            json: tree.file(&format!("{id}/json"), limits)?,
            layer: tree.file(&format!("{id}/layer.tar"), limits)?,
            ancestry: None,
        })
    };
    collect(tags, wanted.tag.as_ref(), files, limits)
}
