//! Docker's v2 API and OCI distribution-spec 1.1, pull and discovery.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use raas_types::{Digest, DigestError, RepositoryName};

use super::reply::{IMMUTABLE, NO_CACHE, fail, reads, refuse, reply};
use super::{Asked, Decision, listing};
use crate::auth::Visitor;
use crate::body::Body;
use crate::catalog::{Manifest, Repository};
use crate::error::{Code, Failure};
use crate::headers::Headers;
use crate::metrics::What;
use crate::negotiate::{accepts_index, has_already};
use crate::response::Response;
use crate::route::{Api, V2};

mod blob;
mod legacy;

use blob::blob;
use legacy::legacy;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Says what API answered, as every answer does.
pub(super) fn mark(headers: &mut Headers) {
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
            let (tag, tagged) = found;
            let answered = chosen(repository, tagged, asked.headers);
            let mut response = manifest(answered, NO_CACHE, asked.headers);
            if tagged.is_index() {
                response.headers.insert(header::VARY, HeaderValue::from_static("Accept"));
            }
            asked.fetched(&repository.name, What::tag(tag.clone(), tagged, Arc::clone(answered)));
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
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    Response { status: StatusCode::OK, headers, body: Body::from(manifest.bytes()) }
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
