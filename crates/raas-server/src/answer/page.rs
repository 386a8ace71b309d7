//! `/`, the page for people: what there is to pull, and how.

use std::fmt::Write;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::{Asked, NO_CACHE, reply};
use crate::Response;
use crate::catalog::Repository;

/// Nothing may be loaded, run, sent or framed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub(super) fn answer(asked: &Asked<'_>) -> Response {
    let host = escape(asked.host.unwrap_or("localhost"));
    let vendor = escape(asked.site.vendor.as_str());
    let mut body = format!("<h1>Images of {vendor}</h1>\n");
    let mut names = asked.catalog.names_after(None).peekable();
    if names.peek().is_none() {
        body.push_str("<p>Nothing is published here yet.</p>\n");
    } else {
        body.push_str("<ul>\n");
        for name in names {
            let reference = asked.catalog.repositories.get(name).map(|r| example(r)).unwrap_or_default();
            let name = escape(name);
            // Writing to a string does not fail.
            let _ = writeln!(body, "<li>{name}: <code>docker pull {host}/{name}{reference}</code></li>");
        }
        body.push_str("</ul>\n");
    }
    html(&vendor, &body)
}

/// A page with this body. Both texts are HTML.
pub(super) fn html(title: &str, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n{body}</body>\n</html>\n"
    );
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
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
