//! Docker's v2 API and OCI distribution-spec 1.1, pull and discovery.

use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::{Digest, DigestError, ObjectKey, RepositoryName, Tag, media_type};

use super::reply::{IMMUTABLE, NO_CACHE, checked, fail, reads, redirect, refuse, reply};
use super::{Asked, Decision, listing};
use crate::Response;
use crate::auth::Visitor;
use crate::body::Body;
use crate::catalog::{Blob, Manifest, Reads, Repository, digest_header, digest_headers};
use crate::error::{Code, Failure};
use crate::file::Otherwise;
use crate::metrics::{To, What};
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
    let unauthorized = |scope: Option<&str>, error: Option<&str>| {
        let failure = Failure::new(Code::Unauthorized, "ask for a token first, with a password or without");
        asked.challenge(Api::V2, &failure, scope, error).into()
    };
    // That is how a client finds out that it may log in; the specification has no other way.
    if asked.may_be_user() == Some(None) && route == V2::Base {
        return unauthorized(None, None);
    }
    let name = route.name();
    match (decide(asked, route), asked.may_be_user()) {
        // Whether there is no such repository, or one that users see, is not told.
        (Err(failure), Some(error)) if failure.code == Code::NameUnknown => unauthorized(name, error),
        // What its certificate lacks is told whether there is such a repository or not.
        (Err(mut failure), None) if failure.code == Code::NameUnknown => {
            if let Visitor::Uncertified(reason) = asked.visitor {
                failure.message.push_str("; the client certificate is not taken here: ");
                failure.message.push_str(reason);
            }
            fail(Api::V2, &failure).into()
        }
        (decided, _) => finish(decided),
    }
}

fn finish(decided: Result<Decision, Failure>) -> Decision {
    match decided {
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
        V2::Tags(name) => {
            let repository = repository(name)?;
            asked.fetched(&repository.name, What::Tags);
            listing::tags(repository, asked.uri.query())?.into()
        }
        V2::Tag(name, tag) => {
            let repository = repository(name)?;
            let found = repository.tagged(tag).ok_or_else(|| no_manifest(&repository.name, tag))?;
            let (tag, tagged) = (found.0.clone(), Arc::clone(&found.1));
            let answered = Arc::clone(chosen(repository, &tagged, asked.headers));
            let mut response = manifest(&answered, NO_CACHE, asked.headers);
            if tagged.is_index() {
                response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
            }
            asked.fetched(&repository.name, What::Tag { tag, tagged, answered });
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
            let what = What::Digest { repository: Arc::clone(repository), manifest: Arc::clone(found) };
            asked.fetched(&repository.name, what);
            response.into()
        }
        V2::Blob(name, digest) => {
            let repository = repository(name)?;
            let digest = known(digest)?;
            let found = digest.as_ref().and_then(|digest| repository.blob(digest));
            if let Some(blob) = found {
                asked.fetched(&repository.name, What::Blob(blob.digest));
            }
            blob(asked, repository, found.ok_or_else(|| no_blob(&repository.name, digest))?)?
        }
        V2::Referrers(name, digest) => {
            let (repository, digest) = (repository(name)?, known(digest)?);
            asked.fetched(&repository.name, What::Referrers(digest));
            listing::referrers(repository, digest, asked.uri.query()).into()
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
    let unknown_tag = |repository: &RepositoryName, tag: &str| no_manifest(repository, tag);
    // Where in the repository it lies, the type of what lies there, and what to say if a folder has it not.
    let (repository, rest, kind, absent) = match route {
        V2::Base | V2::Catalog | V2::Upload => return None,
        V2::Tags(name) => {
            let repository = found(name)?;
            asked.fetched(&repository.name, What::Tags);
            (repository, "tags/list".to_owned(), "application/json", no_repository(name))
        }
        V2::Tag(name, tag) => {
            let repository = found(name)?;
            // What goes into the URL is a tag, and nothing else.
            let Ok(tag) = tag.parse::<Tag>() else { return Some(Err(unknown_tag(&repository.name, tag))) };
            let rest = repository.manifest(tag.as_str(), reads());
            let kind = manifest_kind(&rest);
            let absent = unknown_tag(&repository.name, tag.as_str());
            asked.fetched(&repository.name, What::Legacy(tag));
            (repository, rest, kind, absent)
        }
        V2::Manifest(name, digest) | V2::Blob(name, digest) => {
            let (repository, blob) = (found(name)?, matches!(route, V2::Blob(..)));
            match known(digest.clone()) {
                Ok(Some(digest)) if blob => {
                    asked.fetched(&repository.name, What::Blob(digest));
                    if let Some(url) = repository.elsewhere(&digest) {
                        return Some(Ok(sent(asked.location(url.to_owned(), 0)).into()));
                    }
                    let absent = no_blob(&repository.name, Some(digest));
                    (repository, format!("blobs/{digest}"), "application/octet-stream", absent)
                }
                Ok(Some(digest)) => {
                    let rest = repository.manifest(&digest.to_string(), reads());
                    let kind = manifest_kind(&rest);
                    (repository, rest, kind, no_manifest(&repository.name, &digest.to_string()))
                }
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
    if let Some(folders) = asked.site.crane.as_ref().and_then(|rules| rules.content.as_ref()) {
        let mut headers = headers::empty();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, NO_CACHE);
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if let V2::Manifest(_, Ok(digest)) | V2::Blob(_, Ok(digest)) = route {
            let (digest, etag) = digest_headers(digest);
            headers.insert(CONTENT_DIGEST, digest);
            headers.insert(header::ETAG, etag);
        }
        let (file, otherwise) = (folders.v2(&repository.id, &rest), Otherwise::Unknown(absent));
        return Some(Ok(Decision::from(file::Plan { file, size: None, headers, otherwise })));
    }
    Some(Ok(sent(asked.location(repository.url(&rest), 0)).into()))
}

fn sent(location: HeaderValue) -> Response {
    let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, location);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// The media type of what lies at a place of manifests, as Crane says it.
fn manifest_kind(rest: &str) -> &'static str {
    match rest.split('/').nth(1) {
        Some("list") => media_type::DOCKER_LIST,
        Some("2") => media_type::DOCKER_MANIFEST,
        _ => "application/json",
    }
}

/// A digest that raas can have: `None` for one of an algorithm that it does not compute, which nothing has.
fn known(digest: Result<Digest, DigestError>) -> Result<Option<Digest>, Failure> {
    match digest {
        Ok(digest) => Ok(Some(digest)),
        Err(DigestError::Unsupported(_)) => Ok(None),
        Err(error @ DigestError::Malformed(_)) => Err(Failure::new(Code::DigestInvalid, error.to_string())),
    }
}

/// The manifest that a client is given for a tag's.
fn chosen<'a>(
    repository: &'a Repository,
    tagged: &'a Arc<Manifest>,
    headers: &HeaderMap,
) -> &'a Arc<Manifest> {
    if !tagged.is_index() {
        return tagged;
    }
    let simple = tagged.amd64().and_then(|digest| repository.manifest(&digest));
    match simple {
        Some(simple) if !accepts_index(headers, tagged.media_type()) => simple,
        _ => tagged,
    }
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
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        Response::new(Body::from(manifest.bytes()))
    };
    *response.headers_mut() = headers;
    response
}

fn blob(asked: &Asked<'_>, repository: &Repository, blob: &Blob) -> Result<Decision, Failure> {
    let key = ObjectKey::Blob(repository.name.clone(), blob.digest);
    let size = Some(blob.size);
    let cache = HeaderValue::from_static(key.cache_control());
    let headers = || {
        let (digest, etag) = digest_headers(&blob.digest);
        let mut headers = headers::empty();
        headers.insert(header::ETAG, etag);
        headers.insert(CONTENT_DIGEST, digest);
        headers.insert(header::CACHE_CONTROL, cache.clone());
        headers
    };
    let has_already = |headers: &HeaderMap| {
        headers.get(header::ETAG).is_some_and(|etag| has_already(asked.headers, etag.as_bytes()))
    };
    // Most ask so of nothing, and an entity tag is not made for them.
    if asked.headers.contains_key(header::IF_NONE_MATCH) {
        let headers = headers();
        if has_already(&headers) {
            return Ok(without_body(StatusCode::NOT_MODIFIED, headers));
        }
    }
    let headers = || {
        let mut headers = headers();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers
    };
    if asked.method == Method::HEAD {
        // From what the document says, wherever the bytes are: a URL that is signed for GET does not answer HEAD.
        let mut headers = headers();
        headers.insert(header::CONTENT_LENGTH, blob.size.into());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        return Ok(without_body(StatusCode::OK, headers));
    }
    let sent = |to: To, location: HeaderValue| {
        asked.redirected(to, blob.size);
        let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, location);
        response.headers_mut().insert(CONTENT_DIGEST, digest_header(&blob.digest));
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
