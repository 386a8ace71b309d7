//! Docker's v2 API: the pull and discovery parts of OCI distribution-spec 1.1.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use raas_types::{Digest, DigestError, RepositoryName};

use super::reply::{IMMUTABLE, NO_CACHE, fail, mark, reads, refuse, reply};
use super::{Decision, SiteRequest, listing};
use crate::auth::{Scope, Visitor};
use crate::body::Body;
use crate::catalog::{Manifest, Repository};
use crate::error::{ApiError, ApiErrorCode};
use crate::fetched::FetchedItem;
use crate::http::headers::Headers;
use crate::http::negotiate::{accepts_index, has_already};
use crate::response::Response;
use crate::route::{Api, V2};

mod blob;
mod legacy;

use blob::blob;
use legacy::legacy;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Tells clients to ask for atomic signatures. Source: OpenShift's registry; containers/image.
const SUPPORTS_SIGNATURES: HeaderName = HeaderName::from_static("x-registry-supports-signatures");

pub(super) fn answer(request: &SiteRequest<'_>, route: V2<'_>) -> Decision {
    if !reads(request.method) {
        return refuse(Api::V2).into();
    }
    let unauthorized = |scope: Option<Scope<'_>>, error: Option<&str>| {
        let mut failure =
            ApiError::new(ApiErrorCode::Unauthorized, "get a token first, with or without a password");
        add_certificate(request, &mut failure);
        request.challenge(Api::V2, &failure, scope, error).into()
    };
    // Each client asks for signatures that is told of them, so a site without any says nothing.
    let tells = |mut decision: Decision| {
        if request.catalog.is_signed() {
            decision.headers_mut().insert(SUPPORTS_SIGNATURES, HeaderValue::from_static("1"));
        }
        decision
    };
    // Clients log in only after a challenge here. A client with an entitlement needs no login.
    if route == V2::Base
        && request.challenge_reason() == Some(None)
        && !matches!(request.visitor, Visitor::Entitled(_))
    {
        return tells(unauthorized(None, None));
    }
    // A client would take a shorter list for the whole one. A guest gets it, having chosen not to log in.
    if route == V2::Catalog
        && let Some(error) = request.challenge_reason()
        && !request.sees_whole_catalog()
    {
        return unauthorized(Some(Scope::Catalog), error);
    }
    let name = route.name().map(Scope::Repository);
    match (decide(request, &route), request.challenge_reason_for(route.name())) {
        // The answer must not tell a missing repository from a protected one.
        (Err(failure), Some(error)) if failure.code == ApiErrorCode::NameUnknown => unauthorized(name, error),
        // Artifacts may be attached before anything else is in a repository, so this list is empty and not missing.
        (Err(failure), None)
            if failure.code == ApiErrorCode::NameUnknown
                && let V2::Referrers(name, digest) = &route
                && let Ok(name) = name.parse() =>
        {
            finish(no_referrers(request, &name, digest).map(Decision::from))
        }
        // The answer gives the reason for missing and for protected repositories alike, so it tells them apart no more
        // than a 404.
        (Err(mut failure), None) if failure.code == ApiErrorCode::NameUnknown => {
            add_certificate(request, &mut failure);
            fail(Api::V2, &failure).into()
        }
        (decided, _) if matches!(route, V2::Base | V2::Signatures(..)) => tells(finish(decided)),
        (decided, _) => finish(decided),
    }
}

/// Adds why the client's certificate is not accepted, if it has shown one.
fn add_certificate(request: &SiteRequest<'_>, failure: &mut ApiError) {
    if let Visitor::Uncertified(reason) = request.visitor {
        failure.message.push_str("; the client certificate is not accepted here: ");
        failure.message.push_str(reason);
    }
}

fn finish(decided: Result<Decision, ApiError>) -> Decision {
    match decided {
        Ok(mut decision) => {
            mark(Api::V2, decision.headers_mut());
            decision
        }
        Err(failure) => fail(Api::V2, &failure).into(),
    }
}

fn decide(request: &SiteRequest<'_>, route: &V2<'_>) -> Result<Decision, ApiError> {
    let catalog = request.catalog;
    if let Some(decision) = legacy(request, route) {
        return decision;
    }
    let repository = |name: &str| catalog.repository(name).ok_or_else(|| no_repository(name));
    Ok(match route {
        V2::Base => reply(StatusCode::OK, "application/json", "{}").into(),
        V2::Catalog => listing::catalog(catalog, request.uri.query())?.into(),
        V2::Tags(name) => {
            let repository = repository(name)?;
            request.set_fetched(&repository.name, FetchedItem::Tags);
            listing::tags(repository, request.uri.query())?.into()
        }
        V2::Tag(name, tag) => {
            let repository = repository(name)?;
            let found = repository.tagged(tag).ok_or_else(|| no_manifest(&repository.name, tag))?;
            let (tag, tagged) = found;
            let answered = chosen(repository, tagged, request.headers);
            let mut response = manifest(answered, NO_CACHE, request.headers);
            if repository.notes.has_deprecated()
                && let Some(number) = repository.number_of(tag.as_str())
                && let Some(deprecated) = repository.notes.deprecated(number)
            {
                response.headers.insert(header::WARNING, deprecated.warning.clone());
            }
            if tagged.is_index() {
                response.headers.insert(header::VARY, HeaderValue::from_static("Accept"));
            }
            request
                .set_fetched(&repository.name, FetchedItem::tag(tag.clone(), tagged, Arc::clone(answered)));
            response.into()
        }
        V2::Manifest(name, digest) => {
            let repository = repository(name)?;
            let digest = known(digest)?;
            let found = digest.as_ref().and_then(|digest| repository.manifest(digest));
            let unknown =
                || no_manifest(&repository.name, &digest.map_or("that digest".into(), |d| d.to_string()));
            let found = found.ok_or_else(unknown)?;
            let mut response = manifest(found, IMMUTABLE, request.headers);
            if repository.notes.has_deprecated()
                && let Some(warning) = repository.notes.warning_of(&found.digest)
            {
                response.headers.insert(header::WARNING, warning.clone());
                // The bytes never change, but whether they are deprecated does.
                response.headers.insert(header::CACHE_CONTROL, NO_CACHE);
            }
            let what =
                FetchedItem::Digest { repository: Arc::clone(repository), manifest: Arc::clone(found) };
            request.set_fetched(&repository.name, what);
            response.into()
        }
        V2::Blob(name, digest) => {
            let repository = repository(name)?;
            let digest = known(digest)?;
            let found = digest.as_ref().and_then(|digest| repository.blob(digest));
            if let Some(blob) = found {
                request.set_fetched(&repository.name, FetchedItem::Blob(blob.digest));
            }
            blob(request, repository, found.ok_or_else(|| no_blob(&repository.name, digest))?)?
        }
        V2::Referrers(name, digest) => {
            let (repository, digest) = (repository(name)?, known(digest)?);
            request.set_fetched(&repository.name, FetchedItem::Referrers(digest));
            listing::referrers(repository, digest, request.uri.query())?.into()
        }
        V2::Signatures(name, digest) => {
            let (repository, digest) = (repository(name)?, known(digest)?);
            let list = digest.as_ref().and_then(|digest| repository.signatures(digest));
            let list = list.cloned().unwrap_or_else(|| NO_SIGNATURES.into());
            let mut response = reply(StatusCode::OK, "application/json", list);
            response.headers.insert(header::CACHE_CONTROL, NO_CACHE);
            response.into()
        }
        V2::Upload => {
            return Err(ApiError::new(ApiErrorCode::UploadUnknown, "this registry has no uploads"));
        }
    })
}

/// The answer for a manifest without signatures.
const NO_SIGNATURES: &str = r#"{"signatures":[]}"#;

/// The list of referrers in a repository whose referrers are not known, or that does not exist.
///
/// Source: OCI distribution-spec 1.1, "Listing Referrers"; its conformance tests ask for an unknown repository.
fn no_referrers(
    request: &SiteRequest<'_>,
    repository: &RepositoryName,
    digest: &Result<Digest, DigestError>,
) -> Result<Response, ApiError> {
    known(digest)?;
    listing::referrers(&Repository::empty(repository.clone()), None, request.uri.query())
}

/// The digest, or `None` for an algorithm that raas does not compute, which no content has.
fn known(digest: &Result<Digest, DigestError>) -> Result<Option<Digest>, ApiError> {
    match digest {
        Ok(digest) => Ok(Some(*digest)),
        Err(DigestError::Unsupported(_)) => Ok(None),
        Err(error @ DigestError::Malformed(_)) => {
            Err(ApiError::new(ApiErrorCode::DigestInvalid, error.to_string()))
        }
    }
}

/// The manifest to answer for a tag: an index, or its linux/amd64 manifest for a client that does not know indexes.
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

/// The manifest's bytes, or 304 if the client has them already.
fn manifest(manifest: &Manifest, cache: HeaderValue, request: &HeaderMap) -> Response {
    let mut headers = Headers::new();
    let (digest, etag) = manifest.digest_headers();
    let has_already = has_already(request, etag.as_bytes());
    headers.insert(CONTENT_DIGEST, digest);
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, cache);
    if has_already {
        return Response { status: StatusCode::NOT_MODIFIED, headers, body: Body::empty() };
    }
    headers.insert(header::CONTENT_TYPE, manifest.content_type());
    Response { status: StatusCode::OK, headers, body: Body::from(manifest.bytes()) }
}

/// The error for a repository that does not exist, or for a name that is invalid. A repository that the visitor may not
/// see does not exist.
fn no_repository(name: &str) -> ApiError {
    match name.parse::<RepositoryName>() {
        Ok(name) => ApiError::new(ApiErrorCode::NameUnknown, "repository name not known to registry")
            .detail("name", name.as_str()),
        Err(error) => ApiError::new(ApiErrorCode::NameInvalid, error.to_string()),
    }
}

fn no_manifest(repository: &RepositoryName, reference: &str) -> ApiError {
    let shown: String = reference.chars().take(200).collect();
    ApiError::new(
        ApiErrorCode::ManifestUnknown,
        format!("repository `{repository}` has no manifest `{shown}`"),
    )
    .detail("reference", shown)
}

fn no_blob(repository: &RepositoryName, digest: Option<Digest>) -> ApiError {
    let failure =
        ApiError::new(ApiErrorCode::BlobUnknown, format!("repository `{repository}` has no such blob"));
    match digest {
        Some(digest) => failure.detail("digest", digest.to_string()),
        None => failure,
    }
}
