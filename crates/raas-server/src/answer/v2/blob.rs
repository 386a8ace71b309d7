//! Configs and layers.

use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::ObjectKey;

use super::super::reply::{checked, redirect};
use super::super::{Decision, SiteRequest};
use super::{CONTENT_DIGEST, no_blob};
use crate::body::Body;
use crate::catalog::{Blob, Repository, digest_header, digest_headers};
use crate::content::{FilePlan, IfMissing, ProxyPlan, ProxySource};
use crate::error::ApiError;
use crate::http::headers::Headers;
use crate::http::negotiate::has_already;
use crate::metrics::RedirectTarget;
use crate::response::Response;
use crate::site::ObjectSource;

pub(super) fn blob(
    request: &SiteRequest<'_>,
    repository: &Repository,
    blob: &Blob,
) -> Result<Decision, ApiError> {
    let key = ObjectKey::Blob(repository.name.clone(), blob.digest);
    let (size, cache) = (Some(blob.size), key.cache_control());
    // Few clients send `If-None-Match`, and the entity tag costs an allocation.
    if request.headers.contains_key(header::IF_NONE_MATCH) {
        let headers = identity(blob, cache);
        if headers.get(&header::ETAG).is_some_and(|etag| has_already(request.headers, etag.as_bytes())) {
            return Ok(Response { status: StatusCode::NOT_MODIFIED, headers, body: Body::empty() }.into());
        }
    }
    let headers = || {
        let mut headers = identity(blob, cache);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers
    };
    if request.method == Method::HEAD {
        // From the document, wherever the bytes are: a URL that is signed for GET does not answer HEAD.
        let mut headers = headers();
        headers.insert(header::CONTENT_LENGTH, blob.size.into());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        return Ok(Response { status: StatusCode::OK, headers, body: Body::empty() }.into());
    }
    let sent = |target: RedirectTarget, location: HeaderValue| {
        request.count_redirect(target, blob.size);
        let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, location);
        response.headers.insert(CONTENT_DIGEST, digest_header(&blob.digest));
        Decision::from(response)
    };
    let passed = |source| Decision::from(ProxyPlan { source, size, headers: headers() });
    if let Some(location) = blob.location.as_deref() {
        let passes = request.site.proxy_rules_for(&repository.name);
        if passes.is_some_and(|rules| rules.allows_url(location)) {
            let digest = Some(blob.digest);
            return Ok(passed(ProxySource::Url { url: location.to_owned(), digest }));
        }
        return Ok(sent(RedirectTarget::Elsewhere, checked(location.to_string())));
    }
    Ok(match request.site.locate(request.method, &repository.name, &key, size)? {
        ObjectSource::File(file) => {
            Decision::from(FilePlan { file, size, headers: headers(), if_missing: IfMissing::StorageFault })
        }
        ObjectSource::Redirect(location) => sent(RedirectTarget::Bucket, location),
        ObjectSource::Proxy(origin) => passed(ProxySource::Object(origin, key)),
        ObjectSource::Missing => return Err(no_blob(&repository.name, Some(blob.digest))),
    })
}

/// The headers that identify a blob, for caches too.
fn identity(blob: &Blob, cache: &'static str) -> Headers {
    let (digest, etag) = digest_headers(&blob.digest);
    let mut headers = Headers::new();
    headers.insert(header::ETAG, etag);
    headers.insert(CONTENT_DIGEST, digest);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers
}
