//! `/`: the pages for people, made from the catalog for each request. They load nothing else. The only script copies a
//! pull command, and the pages are complete without it.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use sha2::Digest as _;

use super::SiteRequest;
use super::reply::{NO_CACHE, fail, reply};
use crate::catalog::Repository;
use crate::error::{ApiError, ApiErrorCode};
use crate::http::query;
use crate::response::Response;
use crate::route::Api;

mod attachments;
mod image;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/copy.js");

/// The number of images on a page.
const IMAGES: usize = 200;

/// The browser may load and run nothing but the page's one style and one script.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(sha2::Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT),
    );
    HeaderValue::try_from(policy).expect("base64 is visible ASCII")
});

/// Without parameters the list of repositories, with `image` the tags of a repository, with `tag` too the content of
/// that tag.
pub(super) fn answer(request: &SiteRequest<'_>) -> Response {
    let parameter = |name| query::parameter(request.uri.query(), name).flatten();
    let last = parameter("last");
    let Some(name) = parameter("image") else { return list(request, last.as_deref()) };
    let page =
        request.catalog.repositories.get(name.as_ref()).and_then(|repository| match parameter("tag") {
            Some(tag) => {
                let from = parameter("from").and_then(|from| from.parse().ok());
                image::tag(request, repository, &tag, from.unwrap_or(0))
            }
            None => Some(image::tags(request, repository, last.as_deref())),
        });
    page.unwrap_or_else(|| fail(Api::Plain, &ApiError::new(ApiErrorCode::NotFound, "there is no such image")))
}

fn list(request: &SiteRequest<'_>, last: Option<&str>) -> Response {
    let vendor = escape(request.site.vendor.as_str());
    let mut body = format!("<h1>Images of {vendor}</h1>\n");
    let mut names = request.catalog.names_after(last).peekable();
    if names.peek().is_none() {
        body.push_str("<p>Nothing is published here yet.</p>\n");
        return page(request, &vendor, &body);
    }
    body.push_str(
        "<table class=\"stack\">\n<thead><tr><th scope=\"col\">Image<th scope=\"col\" class=\"n\">Tags\
         <th scope=\"col\">Pull</thead>\n<tbody>\n",
    );
    let mut end = "";
    for name in names.by_ref().take(IMAGES) {
        let repository = request.catalog.repositories.get(name);
        let tags = repository.map(|r| r.pulled_len());
        let tags = match tags {
            Some(1) => "1 tag".to_owned(),
            Some(tags) => format!("{tags} tags"),
            None => String::new(),
        };
        let shown = match repository {
            Some(_) => format!("<a href=\"/?image={}\">{}</a>", query::encode(name), escape(name)),
            None => escape(name),
        };
        let reference = match repository {
            Some(repository) => example(repository).map(|end| format!("{name}{end}")),
            None => Some(name.to_owned()),
        };
        let pull = reference.map(|reference| pull(request, &reference)).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(body, "<tr><th scope=\"row\">{shown}<td class=\"n dim\">{tags}<td>{pull}");
        end = name;
    }
    body.push_str("</tbody>\n</table>\n");
    if names.next().is_some() {
        let _ = writeln!(body, "<p><a href=\"/?last={}\">More images</a></p>", query::encode(end));
    }
    page(request, &vendor, &body)
}

/// The command that pulls a reference. The script adds a button that copies it.
fn pull(request: &SiteRequest<'_>, reference: &str) -> String {
    /// The longest name of a host, with a port.
    const MAX: usize = 253 + 6;
    let host = request.host().filter(|host| host.len() <= MAX).unwrap_or("localhost");
    format!("<div class=\"pull\"><code>docker pull {}/{}</code></div>", escape(host), escape(reference))
}

/// A page of a site. Its footer names the commit and the time of the publication.
fn page(request: &SiteRequest<'_>, title: &str, body: &str) -> Response {
    let commit: String = String::from_utf8_lossy(&request.catalog.revision).chars().take(64).collect();
    let commit = match commit.as_str() {
        "" => String::new(),
        commit => format!(" Commit <code>{}</code>.", escape(commit)),
    };
    let published = match request.catalog.published {
        Some(time) => format!(" Published <time datetime=\"{time}\">{}</time>.", time.for_people()),
        None => String::new(),
    };
    let footer = format!(
        "<footer>Registry of {}.{published}{commit}</footer>\n",
        escape(request.site.vendor.as_str())
    );
    html(title, &format!("{body}{footer}"))
}

/// An HTML document. `title` and `body` are HTML.
pub(super) fn html(title: &str, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n\
         <body>\n<main>\n{body}</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    );
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", html);
    let headers = &mut response.headers;
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    response
}

/// What follows the name in a pull command: nothing for `latest`, else the last tag of the list. None if there is no
/// tag that people pull.
fn example(repository: &Repository) -> Option<String> {
    if repository.tag("latest").is_some() {
        return Some(String::new());
    }
    Some(format!(":{}", repository.last_pulled()?))
}

/// Escapes a text for an element or a quoted attribute of HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_escaped() {
        assert_eq!(escape("<a b='c' d=\"e\">&"), "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;");
    }
}
