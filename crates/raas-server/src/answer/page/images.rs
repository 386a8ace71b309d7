//! The page of a vendor: the list of images.

use std::fmt::Write;

use super::super::SiteRequest;
use super::{Wanted, command, count, day, escape, login, page as finish};
use crate::catalog::Repository;
use crate::http::query;
use crate::response::Response;

/// The number of images on a page.
const IMAGES: usize = 200;

/// The number of names that are searched for a page.
const SEARCHED: usize = 20_000;

/// The list of images whose names contain what is searched for, after `last`.
pub(super) fn page(request: &SiteRequest<'_>, wanted: &Wanted) -> Response {
    let vendor = escape(request.site.vendor.as_str());
    let mut body = match wanted.search.is_empty() {
        true => format!("<h1>Images of {vendor}</h1>\n"),
        false => format!("<h1>Images with “{}”</h1>\n", wanted.search.html()),
    };
    let (mut shown, mut looked_at, mut next) = (Vec::new(), 0, None);
    let mut names = request.catalog.names_after(wanted.last.as_deref()).peekable();
    while let Some(name) = names.next() {
        looked_at += 1;
        if wanted.search.is_in(name) {
            shown.push(name);
        }
        if names.peek().is_some() && (shown.len() == IMAGES || looked_at == SEARCHED) {
            next = Some(name);
            break;
        }
    }
    body.push_str(&login::invitation(request));
    let all = request.catalog.repositories.len() + request.catalog.legacy.len();
    if shown.is_empty() {
        body.push_str(match (all, wanted.search.is_empty()) {
            (0, true) if login::is_possible(request) => {
                "<div class=\"empty\"><p>No public image is published here.</p></div>\n"
            }
            (0, true) => {
                "<div class=\"empty\"><p>Nothing is published here yet.</p><p class=\"dim\">Images appear here as soon as \
                 the vendor publishes them.</p></div>\n"
            }
            (_, true) => "<div class=\"empty\"><p>There are no more images.</p></div>\n",
            (_, false) => {
                "<div class=\"empty\"><p>No image has that in its name.</p><p><a class=\"button\" href=\"/\">See all \
                 images</a></p></div>\n"
            }
        });
    } else {
        table(&mut body, request, wanted, &shown, all);
    }
    if next.is_some() || wanted.last.is_some() {
        body.push_str("<nav class=\"pages\" aria-label=\"Pages\">\n");
        let search = wanted.search.link("q");
        // Writing to a string cannot fail.
        if wanted.last.is_some() {
            let first = search.strip_prefix("&amp;").map_or(String::new(), |search| format!("?{search}"));
            let _ = writeln!(body, "<a href=\"/{first}\">First page</a>");
        }
        if let Some(end) = next {
            let _ = writeln!(body, "<a href=\"/?last={}{search}\">More images</a>", query::encode(end));
        }
        body.push_str("</nav>\n");
    }
    finish(request, &vendor, wanted, &body)
}

fn table(body: &mut String, request: &SiteRequest<'_>, wanted: &Wanted, shown: &[&str], all: usize) {
    let number = match wanted.search.is_empty() {
        true => count(all, "image"),
        false => format!("Of {}. <a href=\"/\">See all</a>", count(all, "image")),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<p class=\"dim\">{number}. A click on a command selects it.</p>\n<table class=\"list images\">\n<thead><tr>\
         <th scope=\"col\">Image<th scope=\"col\">Version<th scope=\"col\">Published<th scope=\"col\" class=\"n\">Tags\
         </thead>\n<tbody>"
    );
    for name in shown {
        match request.catalog.repositories.get(*name) {
            Some(repository) => known(body, request, repository),
            None => {
                let pull = command::docker(request, name);
                let _ = writeln!(
                    body,
                    "<tr><th scope=\"row\"><span class=\"name\">{}</span>{pull}<td><td><td class=\"n\">",
                    escape(name)
                );
            }
        }
    }
    body.push_str("</tbody>\n</table>\n");
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
