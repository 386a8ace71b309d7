//! Docker's v2 API and OCI distribution-spec 1.1, pull and discovery.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::{Digest, DigestError, ObjectKey, RepositoryName, Tag, media_type};

use super::{Asked, Decision, IMMUTABLE, NO_CACHE, checked, fail, listing, reads, redirect, refuse, reply};
use crate::Response;
use crate::body::Body;
use crate::catalog::{Blob, Manifest, Reads, Repository, digest_headers};
use crate::error::{Code, Failure};
use crate::metrics::{Pull, To};
use crate::negotiate::{accepts_index, has_already, names};
use crate::route::{Api, V2};
use crate::site::Place;
use crate::{file, headers, proxy};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Says what API answered, as every answer does.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
}

pub(super) fn answer(asked: &Asked<'_>, route: V2<'_>) -> Decision {
    if !reads(asked.method) {
        return refuse(Api::V2).into();
    }
    let unauthorized = |scope: Option<&str>| {
        let failure = Failure::new(Code::Unauthorized, "ask for a token first, with a password or without");
        super::challenge(fail(Api::V2, &failure), asked.host, scope, asked.secure).into()
    };
    // That is how a client finds out that it may log in; the specification has no other way.
    if asked.may_be_user() && route == V2::Base {
        return unauthorized(None);
    }
    let name = route.name();
    match decide(asked, route) {
        // Whether there is no such repository, or one that users see, is not told.
        Err(failure) if failure.code == Code::NameUnknown && asked.may_be_user() => unauthorized(name),
        Ok(mut decision) => {
            mark(decision.headers_mut());
            decision
        }
        Err(failure) => fail(Api::V2, &failure).into(),
    }
}

fn decide(asked: &Asked<'_>, route: V2<'_>) -> Result<Decision, Failure> {
    let catalog = asked.catalog;
    if let Some(decision) = legacy(asked, &route) {
        return decision;
    }
    let repository = |name: &str| catalog.repository(name).ok_or_else(|| no_repository(name));
    Ok(match route {
        V2::Base => reply(StatusCode::OK, "application/json", "{}").into(),
        V2::Catalog => listing::catalog(catalog, asked.uri.query())?.into(),
        V2::Tags(name) => listing::tags(repository(name)?, asked.uri.query())?.into(),
        V2::Tag(name, tag) => {
            let repository = repository(name)?;
            let tagged = repository.tag(tag).ok_or_else(|| no_manifest(&repository.name, tag))?;
            let response = by_tag(repository, tagged, asked.headers);
            count(asked, repository, &response, || Some(Pull::by_tag(tag, tagged)));
            response.into()
        }
        V2::Manifest(name, digest) => {
            let repository = repository(name)?;
            let digest = known(digest)?;
            let found = digest.as_ref().and_then(|digest| repository.manifest(digest));
            let unknown =
                || no_manifest(&repository.name, &digest.map_or("that digest".into(), |d| d.to_string()));
            let found = found.ok_or_else(unknown)?;
            let response = manifest(found, IMMUTABLE, asked.headers);
            count(asked, repository, &response, || Pull::by_digest(repository, found));
            response.into()
        }
        V2::Blob(name, digest) => {
            let repository = repository(name)?;
            let digest = known(digest)?;
            let found = digest.as_ref().and_then(|digest| repository.blob(digest));
            blob(asked, repository, found.ok_or_else(|| no_blob(&repository.name, digest))?)?
        }
        V2::Referrers(name, digest) => {
            listing::referrers(repository(name)?, known(digest)?, asked.uri.query()).into()
        }
        V2::Upload => return Err(Failure::new(Code::UploadUnknown, "there are no uploads to this registry")),
    })
}

/// The answer for a repository of a document that raas did not write: where Crane would send the client.
fn legacy(asked: &Asked<'_>, route: &V2<'_>) -> Option<Result<Decision, Failure>> {
    let found = |name: &str| {
        let known = asked.catalog.repository(name).is_some();
        asked.catalog.legacy(name).filter(|_| !known)
    };
    let reads = || Reads {
        lists: names(asked.headers, media_type::DOCKER_LIST),
        schema2: names(asked.headers, media_type::DOCKER_MANIFEST),
    };
    let location = match route {
        V2::Base | V2::Catalog | V2::Upload => return None,
        V2::Tags(name) => found(name)?.url("tags/list"),
        V2::Tag(name, tag) => {
            let repository = found(name)?;
            // What goes into the URL is a tag, and nothing else.
            let Ok(tag) = tag.parse::<Tag>() else { return Some(Err(no_manifest(&repository.name, tag))) };
            repository.manifest(tag.as_str(), reads())
        }
        V2::Manifest(name, digest) | V2::Blob(name, digest) => {
            let (repository, blob) = (found(name)?, matches!(route, V2::Blob(..)));
            match known(digest.clone()) {
                Ok(Some(digest)) if blob => repository.url(&format!("blobs/{digest}")),
                Ok(Some(digest)) => repository.manifest(&digest.to_string(), reads()),
                Ok(None) if blob => return Some(Err(no_blob(&repository.name, None))),
                Ok(None) => return Some(Err(no_manifest(&repository.name, "that digest"))),
                Err(failure) => return Some(Err(failure)),
            }
        }
        // Nothing is known of attachments, which an empty index says.
        V2::Referrers(name, digest) => {
            let repository = found(name)?;
            let index = || listing::referrers(&Repository::empty(repository.name.clone()), None, None);
            return Some(known(digest.clone()).map(|_| index().into()));
        }
    };
    let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, checked(location));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Some(Ok(response.into()))
}

/// A digest that raas can have: `None` for one of an algorithm that it does not compute, which nothing has.
fn known(digest: Result<Digest, DigestError>) -> Result<Option<Digest>, Failure> {
    match digest {
        Ok(digest) => Ok(Some(digest)),
        Err(DigestError::Unsupported(_)) => Ok(None),
        Err(error @ DigestError::Malformed(_)) => Err(Failure::new(Code::DigestInvalid, error.to_string())),
    }
}

/// Counts a manifest that was given to somebody who pulls.
fn count<'a>(
    asked: &Asked<'_>,
    repository: &Repository,
    response: &Response,
    pull: impl FnOnce() -> Option<Pull<'a>>,
) {
    if asked.method == Method::GET
        && response.status() == StatusCode::OK
        && let Some(pull) = pull()
    {
        asked.metrics.pull(asked.site.vendor.as_str(), repository.name.as_str(), &pull);
    }
}

fn by_tag(repository: &Repository, tagged: &Manifest, headers: &HeaderMap) -> Response {
    if !tagged.is_index() {
        return manifest(tagged, NO_CACHE, headers);
    }
    let simple = tagged.amd64().and_then(|digest| repository.manifest(&digest));
    let chosen = match simple {
        Some(simple) if !accepts_index(headers, tagged.media_type()) => simple,
        _ => tagged,
    };
    let mut response = manifest(chosen, NO_CACHE, headers);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// The manifest's bytes, or 304 if the client has them.
fn manifest(manifest: &Manifest, cache: HeaderValue, request: &HeaderMap) -> Response {
    let mut headers = headers::empty();
    let (digest, etag) = manifest.digest_headers();
    let has_already = has_already(request, etag.as_bytes());
    headers.insert(CONTENT_DIGEST, digest);
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, cache);
    let mut response = if has_already {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        headers.insert(header::CONTENT_TYPE, manifest.content_type.clone());
        headers.insert(header::CONTENT_LENGTH, manifest.len().into());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        Response::new(Body::from(manifest.bytes()))
    };
    *response.headers_mut() = headers;
    response
}

fn blob(asked: &Asked<'_>, repository: &Repository, blob: &Blob) -> Result<Decision, Failure> {
    let (digest, etag) = digest_headers(&blob.digest);
    let has_already = has_already(asked.headers, etag.as_bytes());
    let sent = |to: To, location: HeaderValue| {
        asked.redirected(to, blob.size);
        let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, location);
        response.headers_mut().insert(CONTENT_DIGEST, digest.clone());
        Decision::from(response)
    };
    let gets = asked.method == Method::GET && !has_already;
    if let Some(location) = &blob.location
        && gets
    {
        return Ok(sent(To::Elsewhere, checked(location.to_string())));
    }
    let key = ObjectKey::Blob(repository.name.clone(), blob.digest);
    let size = Some(blob.size);
    let place = if gets { Some(asked.site.bucket.place(asked.method, &key, size)?) } else { None };
    if let Some(Place::Elsewhere(location)) = place {
        return Ok(sent(To::Bucket, location));
    }
    let mut headers = headers::empty();
    headers.insert(header::ETAG, etag);
    headers.insert(CONTENT_DIGEST, digest);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(key.cache_control()));
    if has_already {
        return Ok(without_body(StatusCode::NOT_MODIFIED, headers));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    Ok(match place {
        Some(Place::File(path)) => Decision::File(file::Plan { path, size, headers, otherwise: None }),
        Some(Place::Passed(origin)) => Decision::PassOn(proxy::Plan { origin, key, size, headers }),
        // HEAD, from what the document says, wherever the bytes are: a URL that is signed for GET does not answer it.
        Some(Place::Elsewhere(_)) | None => {
            headers.insert(header::CONTENT_LENGTH, blob.size.into());
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            without_body(StatusCode::OK, headers)
        }
    })
}

fn without_body(status: StatusCode, headers: HeaderMap) -> Decision {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.into()
}

/// A repository that is not there, told from a name that none can have. One that nobody may see is not there.
fn no_repository(name: &str) -> Failure {
    match name.parse::<RepositoryName>() {
        Ok(name) => Failure::new(Code::NameUnknown, "repository name not known to registry")
            .detail("name", name.as_str()),
        Err(error) => Failure::new(Code::NameInvalid, error.to_string()),
    }
}

fn no_manifest(repository: &RepositoryName, reference: &str) -> Failure {
    let shown: String = reference.chars().take(200).collect();
    Failure::new(Code::ManifestUnknown, format!("repository `{repository}` has no manifest `{shown}`"))
        .detail("reference", shown)
}

fn no_blob(repository: &RepositoryName, digest: Option<Digest>) -> Failure {
    let failure = Failure::new(Code::BlobUnknown, format!("repository `{repository}` has no such blob"));
    match digest {
        Some(digest) => failure.detail("digest", digest.to_string()),
        None => failure,
    }
}
