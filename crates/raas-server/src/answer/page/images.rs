//! The page of a vendor: the list of images.

use std::fmt::Write;

use super::super::SiteRequest;
use super::{Wanted, command, count, day, escape, page as finish};
use crate::catalog::Repository;
use crate::http::query;
use crate::response::Response;

/// The number of images on a page.
const IMAGES: usize = 200;

/// The list of images whose names contain what is searched for, after `last`.
pub(super) fn page(request: &SiteRequest<'_>, wanted: &Wanted) -> Response {
    let vendor = escape(request.site.vendor.as_str());
    let mut names =
        request.catalog.names_after(wanted.last.as_deref()).filter(|name| wanted.is_wanted(name)).peekable();
    let mut body = match wanted.search.is_empty() {
        true => format!("<h1>Images of {vendor}</h1>\n"),
        false => format!("<h1>Images with “{}”</h1>\n", escape(&wanted.search)),
    };
    if names.peek().is_none() {
        body.push_str(match wanted.search.is_empty() {
            true => {
                "<div class=\"empty\"><p>Nothing is published here yet.</p><p class=\"dim\">Images appear here as soon as \
                 the vendor publishes them.</p></div>\n"
            }
            false => {
                "<div class=\"empty\"><p>No image has that in its name.</p><p><a class=\"button\" href=\"/\">See all \
                 images</a></p></div>\n"
            }
        });
        return finish(request, &vendor, wanted, &body);
    }
    let all = request.catalog.repositories.len() + request.catalog.legacy.len();
    let shown = match wanted.search.is_empty() {
        true => count(all, "image"),
        false => format!("of {}, <a href=\"/\">see all</a>", count(all, "image")),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<p class=\"dim\">{shown}. A click on a command selects it.</p>\n<table class=\"list images\">\n<thead><tr>\
         <th scope=\"col\">Image<th scope=\"col\">Version<th scope=\"col\">Published<th scope=\"col\" class=\"n\">Tags\
         </thead>\n<tbody>"
    );
    let mut end = "";
    for name in names.by_ref().take(IMAGES) {
        match request.catalog.repositories.get(name) {
            Some(repository) => known(&mut body, request, repository),
            None => {
                let pull = command::docker(request, name);
                let _ = writeln!(
                    body,
                    "<tr><th scope=\"row\"><span class=\"name\">{}</span>{pull}<td><td><td class=\"n\">",
                    escape(name)
                );
            }
        }
        end = name;
    }
    body.push_str("</tbody>\n</table>\n");
    let is_more = names.next().is_some();
    if is_more || wanted.last.is_some() {
        body.push_str("<nav class=\"pages\" aria-label=\"Pages\">\n");
        let search = wanted.search_link();
        if wanted.last.is_some() {
            let first = search.strip_prefix("&amp;").map_or(String::new(), |search| format!("?{search}"));
            let _ = writeln!(body, "<a href=\"/{first}\">First page</a>");
        }
        if is_more {
            let _ = writeln!(body, "<a href=\"/?last={}{search}\">More images</a>", query::encode(end));
        }
        body.push_str("</nav>\n");
    }
    finish(request, &vendor, wanted, &body)
}

/// The row of an image whose content is known.
fn known(body: &mut String, request: &SiteRequest<'_>, repository: &Repository) {
    let name = repository.name.as_str();
    let encoded = query::encode(name);
    let preferred = repository.notes.preferred();
    let (version, published, pull) = match preferred {
        Some(number) => {
            let tag = repository.tag_at(number).0.as_str();
            let reference = if tag == "latest" { name.to_owned() } else { format!("{name}:{tag}") };
            let deprecated = match repository.notes.deprecated(number) {
                Some(_) => " <span class=\"badge warn\">deprecated</span>",
                None => "",
            };
            let version = format!(
                "<a href=\"/?image={encoded}&amp;tag={}\">{}</a>{deprecated}",
                query::encode(tag),
                escape(tag)
            );
            (version, day(repository.notes.published(number)), command::docker(request, &reference))
        }
        None => (String::new(), String::new(), String::new()),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<tr><th scope=\"row\"><a class=\"name\" href=\"/?image={encoded}\">{}</a>{pull}<td class=\"version\">{version}\
         <td>{published}<td class=\"n\">{}",
        escape(name),
        count(repository.pulled_len(), "tag"),
    );
}
