//! `/`, the pages for people: what there is to pull, how, how large it is, and where it comes from. They are read
//! from the catalog when somebody looks; nothing in them is a script, and nothing is loaded for them.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use sha2::Digest as _;

use super::{Asked, NO_CACHE, fail, reply};
use crate::Response;
use crate::catalog::Repository;
use crate::error::{Code, Failure};
use crate::query;
use crate::route::Api;

mod image;

const STYLE: &str = "body{font:16px/1.5 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}\
                     table{border-collapse:collapse}\
                     td,th{text-align:left;padding:.2rem 1.5rem .2rem 0;vertical-align:top}\
                     td.n,th.n{text-align:right}code{font-size:.9em;overflow-wrap:anywhere}";

/// Nothing may be loaded, run, sent or framed, but for the one style.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(sha2::Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 is visible ASCII")
});

/// The list of repositories; with `image` a repository's tags, and with `tag` too what is in one.
pub(super) fn answer(asked: &Asked<'_>) -> Response {
    let parameter = |name| query::parameter(asked.uri.query(), name).flatten();
    let Some(name) = parameter("image") else { return list(asked) };
    let page = asked.catalog.repositories.get(name.as_ref()).and_then(|repository| match parameter("tag") {
        Some(tag) => image::tag(asked, repository, &tag),
        None => Some(image::tags(repository, parameter("last").as_deref())),
    });
    page.unwrap_or_else(|| fail(Api::Plain, &Failure::new(Code::NotFound, "there is no such image")))
}

fn list(asked: &Asked<'_>) -> Response {
    let host = escape(asked.host.unwrap_or("localhost"));
    let vendor = escape(asked.site.vendor.as_str());
    let mut body = format!("<h1>Images of {vendor}</h1>\n");
    let mut names = asked.catalog.names_after(None).peekable();
    if names.peek().is_none() {
        body.push_str("<p>Nothing is published here yet.</p>\n");
    } else {
        body.push_str("<table>\n<tr><th>Image<th class=\"n\">Tags<th>Pull\n");
        for name in names {
            let repository = asked.catalog.repositories.get(name);
            let reference = repository.map(|r| example(r)).unwrap_or_default();
            let tags = repository.map(|r| r.tags_after(None).len().to_string()).unwrap_or_default();
            let shown = match repository {
                Some(_) => format!("<a href=\"/?image={}\">{}</a>", query::encode(name), escape(name)),
                None => escape(name),
            };
            let name = escape(name);
            // Writing to a string does not fail.
            let _ = writeln!(
                body,
                "<tr><td>{shown}<td class=\"n\">{tags}<td><code>docker pull {host}/{name}{reference}</code>"
            );
        }
        body.push_str("</table>\n");
    }
    html(&vendor, &body)
}

/// A page with this body. Both texts are HTML.
pub(super) fn html(title: &str, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n\
         <body>\n{body}</body>\n</html>\n"
    );
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    response
}

/// What stands after the name in a pull command: nothing for `latest`, else the last tag of the list.
fn example(repository: &Repository) -> String {
    if repository.tag("latest").is_some() {
        return String::new();
    }
    repository.tags_after(None).last().map(|tag| format!(":{}", escape(tag.as_str()))).unwrap_or_default()
}

/// Makes a text mean itself in HTML, in an element and in a quoted attribute.
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
    fn nothing_of_html_survives_escaping() {
        assert_eq!(escape("<a b='c' d=\"e\">&"), "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;");
    }
}
