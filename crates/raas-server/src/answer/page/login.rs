//! The login of a browser, after which a page shows what its visitor may see.
//!
//! A browser asks for a password only if the challenge is `Basic`. The challenges of the APIs are not, so a page has a
//! challenge of its own, at `/?login`. Its path is `/`, so the browser sends the password with all further pages.

use hyper::header::{self, HeaderValue};

use super::super::SiteRequest;
use super::super::reply::{NO_STORE, fail};
use super::chrome::Chrome;
use super::{command, escape, is_browser, respond};
use crate::auth::Visitor;
use crate::error::ApiError;
use crate::http::query;
use crate::response::Response;
use crate::route::Api;

/// Whether the browser asks to be challenged.
pub(super) fn is_requested(request: &SiteRequest<'_>) -> bool {
    asks(request.uri.query())
}

fn asks(query: Option<&str>) -> bool {
    query::parameter(query, "login").is_some()
}

/// Whether a user name and a password may show more. It depends on the configuration alone, and not on whether there are
/// hidden repositories.
pub(super) fn is_possible(request: &SiteRequest<'_>) -> bool {
    request.site.access.checks_passwords() && !request.visitor.sees_protected()
}

/// The link to the login, from which the browser comes back to this page, in HTML.
pub(super) fn link(request: &SiteRequest<'_>) -> String {
    /// The longest query that the link keeps.
    const MAX: usize = 1024;
    let query = request.uri.query().filter(|query| request.uri.path() == "/" && query.len() <= MAX);
    let query = match query {
        None | Some("") => "login".to_owned(),
        Some(query) if asks(Some(query)) => query.to_owned(),
        Some(query) => format!("login&{query}"),
    };
    // No password crosses a network in the clear, if the proxy that ends TLS is not known either.
    let base = match request.secure || command::is_own_machine(request) {
        true => String::new(),
        false => format!("https://{}", command::registry(request)),
    };
    escape(&format!("{base}/?{query}"))
}

/// The sentence that leads to the login, in HTML. Empty if nobody can log in.
pub(super) fn invitation(request: &SiteRequest<'_>) -> String {
    match is_possible(request) {
        true => format!(
            "<p class=\"dim\">These are the public images. <a href=\"{}\">Log in</a> to see the images that the vendor has \
             granted to you too.</p>\n",
            link(request)
        ),
        false => String::new(),
    }
}

/// What the bar of a page says of the login, in HTML.
pub(super) fn bar(request: &SiteRequest<'_>) -> String {
    match request.visitor {
        Visitor::Customer(visit) => {
            format!("<span class=\"dim\">Logged in as {}</span>\n", escape(visit.customer.name.as_str()))
        }
        _ if is_possible(request) => format!("<a class=\"button\" href=\"{}\">Log in</a>\n", link(request)),
        _ => String::new(),
    }
}

/// The answer that lets a browser ask for a user name and a password. People see its page if they give none.
pub(super) fn challenge(request: &SiteRequest<'_>, failure: &ApiError) -> Response {
    let mut response = match is_browser(request.headers) {
        true => {
            let chrome = Chrome { title: "Log in".into(), ..Chrome::of(request) };
            respond(request, chrome.html(&body(request, failure)))
        }
        false => fail(Api::Plain, failure),
    };
    response.status = failure.code.status();
    let vendor = &request.site.vendor;
    let basic = HeaderValue::try_from(format!("Basic realm=\"registry of {vendor}\", charset=\"UTF-8\""));
    response.headers.insert(header::WWW_AUTHENTICATE, basic.expect("the name of a vendor is visible ASCII"));
    response.headers.insert(header::CACHE_CONTROL, NO_STORE);
    response.headers.insert(header::VARY, HeaderValue::from_static("Accept, Authorization"));
    response
}

fn body(request: &SiteRequest<'_>, failure: &ApiError) -> String {
    format!(
        "<div class=\"lost\">\n<p class=\"code\" aria-hidden=\"true\">401</p>\n<h1>You are not logged in</h1>\n<p>The \
         registry says: {}.</p>\n<p>Take the user name and the password that the vendor gave you for <code>docker \
         login</code>.</p>\n<p><a class=\"button\" href=\"{}\">Log in</a> <a class=\"button\" href=\"/\">See the public \
         images</a></p>\n</div>\n",
        escape(&failure.message),
        link(request),
    )
}
