//! `/feed.atom`: the last publications of a site, as an Atom feed. It is made from the catalog that the visitor sees, so it
//! names no hidden repository.
//!
//! Source: RFC 4287.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use raas_types::Utc;

use super::SiteRequest;
use super::page::escape;
use super::reply::{NO_CACHE, NOSNIFF, SANDBOX, reply};
use crate::catalog::{Catalog, EVENTS, Event, EventKind, Repository};
use crate::http::query;
use crate::response::Response;
use crate::uuid::uuid_of;

pub(super) fn answer(request: &SiteRequest<'_>) -> Response {
    let vendor = request.site.vendor.as_str();
    let scheme = if request.secure { "https" } else { "http" };
    /// The longest name of a host, with a port.
    const MAX_HOST: usize = 253 + 6;
    let host = request.public_host.or_else(|| request.host()).filter(|host| host.len() <= MAX_HOST);
    let base = escape(&format!("{scheme}://{}", host.unwrap_or("localhost")));
    let events = last_events(request.catalog);
    let newest = events.first().map(|(event, _)| time(event));
    let updated = newest.or(request.catalog.published).unwrap_or(Utc::from_unix(0));
    let title = escape(vendor);
    let mut feed = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n<title>Publications of \
         {title}</title>\n<id>{}</id>\n<updated>{updated}</updated>\n<author><name>{title}</name></author>\n\
         <link rel=\"self\" type=\"application/atom+xml\" href=\"{base}/feed.atom\"/>\n\
         <link rel=\"alternate\" type=\"text/html\" href=\"{base}/\"/>\n<generator>raas</generator>\n",
        id(&["feed", vendor]),
    );
    for (event, repository) in &events {
        entry(&mut feed, vendor, &base, event, repository);
    }
    feed.push_str("</feed>\n");
    let mut response = reply(StatusCode::OK, "application/atom+xml; charset=utf-8", feed);
    let headers = &mut response.headers;
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    response
}

/// The last events of all repositories, the last one first. Each repository keeps a fixed number of them.
fn last_events(catalog: &Catalog) -> Vec<(Event, &Repository)> {
    let mut last = BinaryHeap::new();
    for repository in catalog.repositories.values() {
        for event in repository.events() {
            let key = Reverse((event.time, &repository.name, event.tag, event.kind));
            if last.len() == EVENTS && last.peek().is_some_and(|least| key >= *least) {
                // The other events of the repository are older still.
                break;
            }
            last.push(key);
            if last.len() > EVENTS {
                last.pop();
            }
        }
    }
    let sorted = last.into_sorted_vec();
    let event = |Reverse((time, name, tag, kind)): Reverse<(u32, _, u32, EventKind)>| {
        Some((Event { time, tag, kind }, catalog.repositories.get(name)?.as_ref()))
    };
    sorted.into_iter().filter_map(event).collect()
}

fn time(event: &Event) -> Utc {
    Utc::from_unix(event.time.into())
}

fn entry(feed: &mut String, vendor: &str, base: &str, event: &Event, repository: &Repository) {
    let (tag, manifest) = repository.tag_at(event.tag);
    let (name, digest) = (repository.name.as_str(), manifest.digest);
    let (title, text) = match (event.kind, repository.notes.deprecated(event.tag)) {
        (EventKind::Deprecated, Some(deprecated)) => {
            (format!("{name}:{tag} is deprecated"), format!("{}.", deprecated.sentence()))
        }
        _ => (
            format!("{name}:{tag} is published"),
            format!("{name}:{tag} is published with the digest {digest}."),
        ),
    };
    let kind = match event.kind {
        EventKind::Published => "published",
        EventKind::Deprecated => "deprecated",
    };
    let time = time(event);
    // Writing to a string cannot fail.
    let _ = writeln!(
        feed,
        "<entry>\n<title>{}</title>\n<id>{}</id>\n<updated>{time}</updated>\n<link rel=\"alternate\" type=\"text/html\" \
         href=\"{base}/?image={}&amp;tag={}\"/>\n<category term=\"{kind}\"/>\n<summary>{}</summary>\n</entry>",
        escape(&title),
        id(&[kind, vendor, name, tag.as_str(), &digest.to_string(), &time.to_string()]),
        query::encode(name),
        query::encode(tag.as_str()),
        escape(&text),
    );
}

/// The identifier of a thing that has these names: the same at every server and under every host.
fn id(names: &[&str]) -> String {
    format!("urn:uuid:{}", uuid_of(names))
}
