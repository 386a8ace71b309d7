//! Crane's own lists of repositories, for operators and scripts that were written for Crane.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Bound;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use raas_types::{ImageId, Tag};
use serde::Serialize;

use super::SiteRequest;
use super::listing::{DEFAULT, NextPage, Page};
use super::page::{escape, html};
use super::reply::{NO_CACHE, fail, reply};
use crate::catalog::V1Repository;
use crate::http::negotiate::names;
use crate::http::query;
use crate::response::Response;
use crate::route::Api;

/// The most image ids and tags on a page. A first repository with more is on a page of its own.
const MAX_ENTRIES: usize = 20_000;

/// A repository of Docker v1 images. Only visitors who see a protected repository find it in the list.
#[derive(Serialize)]
struct V1Entry {
    image_ids: Vec<ImageId>,
    tags: BTreeMap<Tag, ImageId>,
    protected: bool,
}

/// A repository of the v2 API.
#[derive(Serialize)]
struct V2Entry {
    protected: bool,
}

pub(super) fn answer(request: &SiteRequest<'_>, v2: bool) -> Response {
    let page = match Page::read(request.uri.query(), DEFAULT) {
        Ok(page) => page,
        Err(failure) => return fail(Api::Plain, &failure),
    };
    if v2 { v2_list(request, &page) } else { v1_list(request, &page) }
}

fn v2_list(request: &SiteRequest<'_>, page: &Page) -> Response {
    let mut names = request.catalog.names_after(page.last.as_deref());
    let is_public = |name: &str| {
        let public = request.site.catalog.as_ref();
        public.is_some_and(|all| all.repositories.contains_key(name) || all.legacy.contains_key(name))
    };
    let entry = |name| (name, V2Entry { protected: !is_public(name) });
    let entries: BTreeMap<&str, V2Entry> = names.by_ref().take(page.n).map(entry).collect();
    let next = next_page(page, entries.keys().last(), names.next().is_some());
    list(request, &entries, entries.keys().map(|name| ((*name).to_owned(), String::new())), next)
}

fn v1_list(request: &SiteRequest<'_>, page: &Page) -> Response {
    let after = page.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut repositories = request.catalog.v1.range::<str, _>((after, Bound::Unbounded)).peekable();
    let public = request.site.catalog.as_ref();
    let mut entries: BTreeMap<&str, V1Entry> = BTreeMap::new();
    let mut weight = 0;
    while entries.len() < page.n
        && let Some((name, repository)) =
            repositories.next_if(|(_, next)| entries.is_empty() || weight + count(next) <= MAX_ENTRIES)
    {
        weight += count(repository);
        let image_ids = repository.images().map(|(id, _)| *id).collect();
        let tags = repository.tags.iter().cloned().collect();
        let protected = !public.is_some_and(|all| all.v1.contains_key(name));
        entries.insert(name.as_str(), V1Entry { image_ids, tags, protected });
    }
    let next = next_page(page, entries.keys().last(), repositories.peek().is_some());
    let rows = entries.iter().map(|(name, entry)| {
        let ids: Vec<String> = entry.image_ids.iter().map(ImageId::to_string).collect();
        let tags: Vec<&str> = entry.tags.keys().map(Tag::as_str).collect();
        ((*name).to_owned(), format!("images: {}; tags: {}", ids.join(", "), tags.join(", ")))
    });
    list(request, &entries, rows, next)
}

/// The image ids and tags of a repository.
fn count(repository: &V1Repository) -> usize {
    repository.images().len() + repository.tags.len()
}

fn next_page<'a>(page: &Page, last: Option<&&'a str>, more: bool) -> Option<NextPage<'a>> {
    last.filter(|_| more).map(|last| NextPage { n: page.n, last })
}

/// JSON if the client names that type, else an HTML page.
fn list(
    request: &SiteRequest<'_>,
    entries: &impl Serialize,
    rows: impl Iterator<Item = (String, String)>,
    next: Option<NextPage<'_>>,
) -> Response {
    let path = request.uri.path();
    let mut response = if names(request.headers, "application/json") {
        let json = serde_json::to_vec(entries).expect("text, lists and maps of text have a JSON form");
        let mut response = reply(StatusCode::OK, "application/json", json);
        response.headers.insert(header::CACHE_CONTROL, NO_CACHE);
        response
    } else {
        let mut body = String::from("<h1>Repositories</h1>\n<ul>\n");
        for (name, more) in rows {
            let separator = if more.is_empty() { "" } else { ": " };
            // Writing to a string cannot fail.
            let _ = writeln!(body, "<li><code>{}</code>{separator}{}</li>", escape(&name), escape(&more));
        }
        body.push_str("</ul>\n");
        if let Some(NextPage { n, last }) = &next {
            let (path, last) = (escape(path), query::encode(last));
            let _ = writeln!(body, "<p><a href=\"{path}?n={n}&amp;last={last}\">More repositories</a></p>");
        }
        html("Repositories", &body)
    };
    if let Some(next) = next {
        response.headers.insert(header::LINK, next.link(path));
    }
    response.headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
