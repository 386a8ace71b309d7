//! Crane's own lists of repositories, for operators and scripts that were written for Crane.

use std::collections::BTreeMap;
use std::fmt::Write;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use raas_types::{ImageId, Tag};
use serde::Serialize;

use super::SiteRequest;
use super::page::{escape, html};
use super::reply::{NO_CACHE, reply};
use crate::http::negotiate::names;
use crate::response::Response;

/// A repository of Docker v1 images. Protected repositories are never listed.
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
    let catalog = request.catalog;
    if v2 {
        let entries: BTreeMap<&str, V2Entry> =
            catalog.names_after(None).map(|name| (name, V2Entry { protected: false })).collect();
        return list(request, &entries, entries.keys().map(|name| ((*name).to_owned(), String::new())));
    }
    let entries: BTreeMap<&str, V1Entry> = catalog
        .v1
        .iter()
        .map(|(name, repository)| {
            let image_ids = repository.images().map(|(id, _)| *id).collect();
            let tags = repository.tags.iter().cloned().collect();
            (name.as_str(), V1Entry { image_ids, tags, protected: false })
        })
        .collect();
    let rows = entries.iter().map(|(name, entry)| {
        let tags: Vec<&str> = entry.tags.keys().map(Tag::as_str).collect();
        ((*name).to_owned(), format!("{} images; tags: {}", entry.image_ids.len(), tags.join(", ")))
    });
    list(request, &entries, rows)
}

/// JSON if the client names that type, else an HTML page.
fn list(
    request: &SiteRequest<'_>,
    entries: &impl Serialize,
    rows: impl Iterator<Item = (String, String)>,
) -> Response {
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
        html("Repositories", &body)
    };
    response.headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
