//! Lists that a registry sends in pages: tags and referrers.

use std::collections::BTreeSet;

use raas_types::{Digest, Manifest, Tag, media_type};
use serde::Deserialize;

use super::connection::{Document, Request};
use super::remote::Remote;
use super::url::next_page;
use crate::registry_error::{RegistryError, legible};

/// The longest page.
const MAX_PAGE: u64 = 16 * 1024 * 1024;
/// The most pages of one list.
const MAX_PAGES: usize = 10_000;
/// The most pages without an entry in a row.
const MAX_EMPTY: usize = 3;
/// The most tags or referrers of one list.
const MAX_ENTRIES: usize = 1_000_000;

/// The tags of a repository.
#[derive(Debug, Default)]
pub struct TagList {
    /// The tags.
    pub tags: BTreeSet<Tag>,
    /// Names in the list that are no tags, each legible.
    pub unusable: Vec<String>,
}

impl Remote {
    /// All tags of the repository.
    ///
    /// # Errors
    /// The registry does not have the repository, does not list its tags, or sends something else.
    pub fn tags(&self) -> Result<TagList, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            // Some registries write `null` for a repository without tags.
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let mut list = TagList::default();
        let what = format!("the list of the tags of {}/{}", self.host(), self.name());
        let first = format!("/v2/{}/tags/list?n=1000", self.name());
        let found = self.pages(&first, "application/json", &what, |page, request| {
            let page: Page = serde_json::from_slice(&page.bytes).map_err(|error| {
                self.connection
                    .content(request, format!("it is no list of tags: {}", legible(&error.to_string())))
            })?;
            for text in page.tags.unwrap_or_default() {
                match text.parse() {
                    Ok(tag) => drop(list.tags.insert(tag)),
                    Err(_) => list.unusable.push(legible(&text)),
                }
            }
            Ok(list.tags.len() + list.unusable.len())
        })?;
        match found {
            true => Ok(list),
            false => Err(RegistryError::NotFound {
                what: format!("the repository {} of {}", self.name(), self.host()),
                said: String::new(),
            }),
        }
    }

    /// The manifests that are attached to a manifest. `None` if the registry has no list of them.
    ///
    /// # Errors
    /// The registry sends something else.
    pub fn referrers(&self, digest: &Digest) -> Result<Option<Vec<Digest>>, RegistryError> {
        let mut found = Vec::new();
        let what = format!("the list of what is attached to {}", self.called(digest));
        let first = format!("/v2/{}/referrers/{digest}", self.name());
        let is_there = self.pages(&first, media_type::OCI_INDEX, &what, |page, request| {
            let index = Manifest::parse(&page.bytes, Some(media_type::OCI_INDEX))
                .map_err(|error| self.connection.content(request, legible(&error.to_string())))?;
            found.extend(index.children().iter().map(|child| child.digest));
            Ok(found.len())
        });
        match is_there {
            Ok(is_there) => Ok(is_there.then_some(found)),
            // Registries without this list answer with various errors. The specification has only the 404.
            Err(RegistryError::Status { status: 400..=405 | 501, .. } | RegistryError::Content { .. })
                if found.is_empty() =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads page after page. `take` gets each of them, and returns the number of entries so far. Returns whether the list
    /// is there.
    fn pages(
        &self,
        first: &str,
        accept: &str,
        what: &str,
        mut take: impl FnMut(&Document, &Request<'_>) -> Result<usize, RegistryError>,
    ) -> Result<bool, RegistryError> {
        let mut path = first.to_owned();
        let mut seen = BTreeSet::new();
        let mut empty = 0;
        let mut entries = 0;
        loop {
            let request = Request::get(&path, accept, what);
            let Some(page) = self.connection.read(&request, MAX_PAGE)? else {
                if seen.is_empty() {
                    return Ok(false);
                }
                return Err(self.connection.content(&request, "a page of it is not there".into()));
            };
            let now = take(&page, &request)?;
            // The last page may be empty, if the page before was just full. Several empty pages in a row are an error.
            empty = if now == entries { empty + 1 } else { 0 };
            entries = now;
            if entries > MAX_ENTRIES || seen.len() > MAX_PAGES {
                return Err(self
                    .connection
                    .content(&request, format!("it has more than {MAX_ENTRIES} entries")));
            }
            let Some(next) = next_page(&path, page.links.iter().map(String::as_str)) else { return Ok(true) };
            seen.insert(std::mem::replace(&mut path, next));
            if seen.contains(&path) || empty > MAX_EMPTY {
                let request = Request::get(&path, accept, what);
                return Err(self.connection.content(&request, "its pages lead in a circle".into()));
            }
        }
    }
}
