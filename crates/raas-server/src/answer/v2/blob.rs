//! Configs and layers.

use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::ObjectKey;

use super::super::reply::{checked, redirect};
use super::super::{Asked, Decision};
use super::{CONTENT_DIGEST, NOSNIFF, no_blob};
use crate::body::Body;
use crate::catalog::{Blob, Repository, digest_header, digest_headers};
use crate::error::Failure;
use crate::file::{self, Otherwise};
use crate::headers::Headers;
use crate::metrics::To;
use crate::negotiate::has_already;
use crate::proxy;
use crate::response::Response;
use crate::site::Place;

pub(super) fn blob(asked: &Asked<'_>, repository: &Repository, blob: &Blob) -> Result<Decision, Failure> {
    let key = ObjectKey::Blob(repository.name.clone(), blob.digest);
    let (size, cache) = (Some(blob.size), key.cache_control());
    // Most ask so of nothing, and an entity tag is not made for them.
    if asked.headers.contains_key(header::IF_NONE_MATCH) {
        let headers = identity(blob, cache);
        if headers.get(&header::ETAG).is_some_and(|etag| has_already(asked.headers, etag.as_bytes())) {
            return Ok(Response { status: StatusCode::NOT_MODIFIED, headers, body: Body::empty() }.into());
        }
    }
    let headers = || {
        let mut headers = identity(blob, cache);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers
    };
    if asked.method == Method::HEAD {
        // From what the document says, wherever the bytes are: a URL that is signed for GET does not answer HEAD.
        let mut headers = headers();
        headers.insert(header::CONTENT_LENGTH, blob.size.into());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        return Ok(Response { status: StatusCode::OK, headers, body: Body::empty() }.into());
    }
    let sent = |to: To, location: HeaderValue| {
        asked.redirected(to, blob.size);
        let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, location);
        response.headers.insert(CONTENT_DIGEST, digest_header(&blob.digest));
        Decision::from(response)
    };
    let passed = |source| Decision::from(proxy::Plan { source, size, headers: headers() });
    if let Some(location) = blob.location.as_deref() {
        let passes = asked.site.passes(&repository.name);
        if passes.is_some_and(|passing| passing.may_ask(location)) {
            let digest = Some(blob.digest);
            return Ok(passed(proxy::Source::Url { url: location.to_owned(), digest }));
        }
        return Ok(sent(To::Elsewhere, checked(location.to_string())));
    }
    Ok(match asked.site.place(asked.method, &repository.name, &key, size)? {
        Place::File(file) => {
            Decision::from(file::Plan { file, size, headers: headers(), otherwise: Otherwise::Fault })
        }
        Place::Elsewhere(location) => sent(To::Bucket, location),
        Place::Passed(origin) => passed(proxy::Source::Object(origin, key)),
        Place::Nowhere => return Err(no_blob(&repository.name, Some(blob.digest))),
    })
}

/// What tells a blob from every other, and that it never changes.
fn identity(blob: &Blob, cache: &'static str) -> Headers {
    let (digest, etag) = digest_headers(&blob.digest);
    let mut headers = Headers::new();
    headers.insert(header::ETAG, etag);
    headers.insert(CONTENT_DIGEST, digest);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers
}
