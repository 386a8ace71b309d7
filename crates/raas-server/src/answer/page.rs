//! `/`: the pages for people, made from the catalog for each request. They load nothing and run nothing.
//!
//! A vendor chooses what is shown, so a page has a fixed number of rows, and reads what was computed when the metadata was
//! loaded. No page parses a manifest.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use raas_types::Utc;
use sha2::Digest as _;

use super::SiteRequest;
use super::reply::{NO_CACHE, NO_CACHE_FOR_ONE, NO_STORE, fail, reply};
use crate::error::{ApiError, ApiErrorCode};
use crate::http::negotiate::names;
use crate::http::query;
use crate::response::Response;
use crate::route::Api;

mod attachments;
mod chrome;
mod command;
mod image;
mod images;
mod layers;
mod login;
mod tag;

use chrome::{Chrome, not_found_body, several_vendors_body};

const STYLE: &str = include_str!("page/style.css");

/// The browser may load nothing but the page's one style, and may run nothing. Forms lead to this registry.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        STANDARD.encode(sha2::Sha256::digest(STYLE)),
    );
    HeaderValue::try_from(policy).expect("base64 is visible ASCII")
});

/// The parameters of a page.
#[derive(Debug, Default)]
struct Wanted {
    /// The images to show.
    search: Search,
    /// The tags to show.
    filter: Search,
    /// The name after which a list of images begins.
    last: Option<String>,
    /// The number of the page of a list of tags or platforms, counted from 1.
    page: usize,
}

impl Wanted {
    fn read(query: Option<&str>) -> Self {
        let parameter = |name| query::parameter(query, name).flatten();
        let search = |name| Search::new(&parameter(name).unwrap_or_default());
        Self {
            search: search("q"),
            filter: search("filter"),
            last: parameter("last").map(Into::into),
            page: parameter("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1),
        }
    }
}

/// A text that names must contain, whatever their case is. The empty text is in every name.
#[derive(Debug, Default)]
struct Search(String);

impl Search {
    fn new(text: &str) -> Self {
        /// The longest text that is searched for. No name is longer.
        const MAX: usize = 255;
        // A form writes a space as a plus, and no name has either.
        let text = text.replace('+', " ");
        Self(text.trim().chars().take(MAX).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_in(&self, name: &str) -> bool {
        let (name, text) = (name.as_bytes(), self.0.as_bytes());
        text.is_empty() || name.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
    }

    /// The text in HTML.
    fn html(&self) -> String {
        escape(&self.0)
    }

    /// A further parameter of a link that keeps the search.
    fn link(&self, key: &str) -> String {
        if self.is_empty() { String::new() } else { format!("&amp;{key}={}", query::encode(&self.0)) }
    }
}

/// Without parameters the list of repositories, with `image` the tags of a repository, with `tag` too the content of
/// that tag.
pub(super) fn answer(request: &SiteRequest<'_>) -> Response {
    let wanted = Wanted::read(request.uri.query());
    if login::is_requested(request) && login::is_possible(request) {
        let message = "log in with the user name and the password that the vendor gave you";
        return challenge(request, &ApiError::new(ApiErrorCode::Unauthorized, message));
    }
    let parameter = |name| query::parameter(request.uri.query(), name).flatten();
    let Some(name) = parameter("image") else { return images::page(request, &wanted) };
    let repository = request.catalog.repositories.get(name.as_ref());
    let page = repository.and_then(|repository| match parameter("tag") {
        Some(tag) => tag::page(request, repository, &tag, &wanted),
        None => Some(image::page(request, repository, &wanted)),
    });
    page.unwrap_or_else(|| not_found(request, "there is no such image"))
}

/// The answer that lets a browser ask its user for a user name and a password.
pub(super) fn challenge(request: &SiteRequest<'_>, failure: &ApiError) -> Response {
    login::challenge(request, failure)
}

/// The answer to a browser or another client that asks for what is not there.
pub(super) fn not_found(request: &SiteRequest<'_>, message: &str) -> Response {
    if !is_browser(request.headers) {
        return fail(Api::Plain, &ApiError::new(ApiErrorCode::NotFound, message));
    }
    let chrome = Chrome { title: "Not found".into(), ..Chrome::of(request) };
    let login = login::is_possible(request).then(|| login::link(request));
    let mut response = missing(chrome.html(&not_found_body(login.as_deref())));
    if request.site.access.admits_anyone() {
        response.headers.insert(header::VARY, HeaderValue::from_static("Accept, Authorization"));
    }
    response
}

/// The answer at a host without a registry. It names no vendor.
pub(super) fn no_registry(headers: &HeaderMap, failure: &ApiError) -> Response {
    if !is_browser(headers) {
        return fail(Api::Plain, failure);
    }
    missing(Chrome::anonymous("Container registries").html(&several_vendors_body()))
}

fn missing(html: String) -> Response {
    let mut response = respond_to_all(html);
    response.status = StatusCode::NOT_FOUND;
    response.headers.insert(header::CACHE_CONTROL, NO_STORE);
    response.headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Only browsers name `text/html` in the header `Accept`.
fn is_browser(headers: &HeaderMap) -> bool {
    names(headers, "text/html")
}

/// A page without the name of a vendor. `title` and `body` are HTML.
pub(super) fn html(title: &str, body: &str) -> Response {
    respond_to_all(Chrome::anonymous(title).html(body))
}

/// A page of a site. `title` and `body` are HTML.
fn page(request: &SiteRequest<'_>, title: &str, wanted: &Wanted, body: &str) -> Response {
    let search = wanted.search.html();
    respond(request, Chrome { title: title.to_owned(), search, ..Chrome::of(request) }.html(body))
}

/// A page that may differ from visitor to visitor.
fn respond(request: &SiteRequest<'_>, html: String) -> Response {
    let mut response = respond_to_all(html);
    if request.site.access.admits_anyone() {
        response.headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    }
    if request.visitor.sees_protected() {
        response.headers.insert(header::CACHE_CONTROL, NO_CACHE_FOR_ONE);
    }
    response
}

/// A page that is the same for every visitor.
fn respond_to_all(html: String) -> Response {
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", html);
    let headers = &mut response.headers;
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    response
}

/// A day for people, or a dash if it is not known.
fn day(time: Option<Utc>) -> String {
    match time {
        Some(time) => format!("<time datetime=\"{time}\">{}</time>", time.day_for_people()),
        None => "<span class=\"dim\" title=\"not known\">–</span>".to_owned(),
    }
}

/// A number of things: `1 tag`, `2 tags`.
fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A digest. The page shows its beginning where there is little room, and a click selects all of it.
fn digest(digest: &raas_types::Digest) -> String {
    format!("<code class=\"digest\" title=\"{digest}\">{digest}</code>")
}

/// A size in a unit that people can read.
fn bytes(size: u64) -> String {
    let mut unit = 0;
    let mut rest = size as f64;
    while rest >= 999.5 && unit < 4 {
        rest /= 1000.0;
        unit += 1;
    }
    let name = ["B", "kB", "MB", "GB", "TB"][unit];
    if unit == 0 || rest >= 99.95 { format!("{rest:.0} {name}") } else { format!("{rest:.1} {name}") }
}

/// The links to the page before and after this one of a list of so many pages. `link` is everything before the number.
fn pages(body: &mut String, link: &str, page: usize, pages: usize) {
    if pages < 2 {
        return;
    }
    body.push_str("<nav class=\"pages\" aria-label=\"Pages\">\n");
    let mut step = |label: &str, to: usize, is_there: bool| {
        // Writing to a string cannot fail.
        let _ = match is_there {
            true => writeln!(body, "<a href=\"{link}{to}\">{label}</a>"),
            false => writeln!(body, "<span class=\"dim\">{label}</span>"),
        };
    };
    step("Previous", page.saturating_sub(1), page > 1);
    step("Next", page + 1, page < pages);
    let _ = writeln!(body, "<span class=\"dim\">Page {page} of {pages}</span>\n</nav>");
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

    #[test]
    fn sizes_are_readable() {
        let table =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12.3 kB"), (412_000_000, "412 MB")];
        for (size, text) in table {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(u64::MAX), "18446744 TB");
    }

    #[test]
    fn a_search_ignores_case_and_is_short() {
        let wanted = Wanted::read(Some("q=+ToOls%2FAp+&page=0&last=x"));
        assert_eq!(
            (wanted.search.0.as_str(), wanted.page, wanted.last.as_deref()),
            ("ToOls/Ap", 1, Some("x"))
        );
        let search = &wanted.search;
        assert!(search.is_in("tools/app") && search.is_in("my-Tools/Apps") && !search.is_in("tool"));
        assert_eq!(
            (search.link("q").as_str(), wanted.filter.link("filter").as_str()),
            ("&amp;q=ToOls%2FAp", "")
        );
        assert!(Wanted::read(None).search.is_in("anything"));
        let long = format!("q={}&page=99999999999999999999999", "x".repeat(5000));
        let wanted = Wanted::read(Some(&long));
        assert_eq!((wanted.search.0.len(), wanted.page), (255, 1));
    }
}
