//! Answers from memory, and the headers that they have in common.

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};

use crate::body::Body;
use crate::error::{ApiError, ApiErrorCode};
use crate::http::headers::Headers;
use crate::response::Response;
use crate::route::Api;

const V1_VERSION: HeaderName = HeaderName::from_static("x-docker-registry-version");
const V1_CONFIG: HeaderName = HeaderName::from_static("x-docker-registry-config");
const V2_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The policy of answers that are not pages: a browser runs nothing of them, and they have no origin.
pub(super) const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");
pub(super) const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// `Cache-Control` of content that never changes.
pub(super) const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// `Cache-Control` of content that never changes and is for one user only.
pub(super) const IMMUTABLE_FOR_ONE: HeaderValue =
    HeaderValue::from_static("private, max-age=31536000, immutable");
/// `Cache-Control` of content that may change at any time. Caches must revalidate it by its entity tag.
pub(super) const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// `Cache-Control` of content that may change at any time and is for one user only.
pub(super) const NO_CACHE_FOR_ONE: HeaderValue = HeaderValue::from_static("private, no-cache");
/// `Cache-Control` of errors and redirects, which may be different a moment later.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The answer if the method only reads, else 405.
pub(super) fn only_read<B>(request: &Request<B>, api: Api, answer: impl FnOnce() -> Response) -> Response {
    if reads(request.method()) { answer() } else { refuse(api) }
}

pub(super) fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The answer to a method that writes: 405.
pub(super) fn refuse(api: Api) -> Response {
    let message = "this registry is read-only; publish images with `raas push`";
    let mut response = fail(api, &ApiError::new(ApiErrorCode::Unsupported, message));
    response.headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// An error in the form of an API.
pub(super) fn fail(api: Api, failure: &ApiError) -> Response {
    let status = failure.code.status();
    let mut response = match api {
        Api::V2 => reply(status, "application/json", failure.json()),
        Api::V1 | Api::Plain => text(status, format!("{}\n", failure.message)),
    };
    response.headers.insert(header::CACHE_CONTROL, NO_STORE);
    marked(api, response)
}

/// Adds the headers that every answer of an API has.
pub(super) fn marked(api: Api, mut response: Response) -> Response {
    mark(api, &mut response.headers);
    response
}

/// Adds the headers that every answer of an API has. The values of Docker v1 are Crane's.
pub(super) fn mark(api: Api, headers: &mut Headers) {
    match api {
        Api::V1 => {
            headers.insert(V1_VERSION, HeaderValue::from_static("0.6.6"));
            headers.insert(V1_CONFIG, HeaderValue::from_static("common"));
        }
        Api::V2 => headers.insert(V2_VERSION, HeaderValue::from_static("registry/2.0")),
        Api::Plain => return,
    }
    // What a vendor has published is never a page: a manifest may have the type `text/html`.
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
}

pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response {
    reply(status, "text/plain; charset=utf-8", text)
}

pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut headers = Headers::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Response { status, headers, body: Body::from(body.into()) }
}

pub(super) fn redirect(status: StatusCode, location: HeaderValue) -> Response {
    let mut headers = Headers::new();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    Response { status, headers, body: Body::empty() }
}

/// A text as a header. It was checked to be visible ASCII when it was loaded.
pub(super) fn checked(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("a URL was checked to be visible ASCII when it was loaded")
}

/// Makes the answer to a HEAD: it has the headers of the answer to a GET, including the length, and no body.
///
/// Source: RFC 9110, section 9.3.2, and section 8.6: a 304 has no length, because its own is not the length of the
/// content.
pub(super) fn without_bytes(response: &mut Response) {
    let length = response.body.size_hint().exact();
    response.body = Body::empty();
    // The length of an answer with a body is added when the head is written, which is cheaper.
    if let Some(length) = length
        && response.status != StatusCode::NOT_MODIFIED
        && response.headers.get(&header::CONTENT_LENGTH).is_none()
    {
        response.headers.insert(header::CONTENT_LENGTH, length.into());
    }
}
