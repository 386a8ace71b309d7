//! Repositories of documents that raas did not write.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use raas_types::{RepositoryName, Tag, media_type};

use super::super::reply::{NO_CACHE, redirect};
use super::super::{Decision, SiteRequest};
use super::{CONTENT_DIGEST, known, no_blob, no_manifest, no_referrers, no_repository};
use crate::catalog::{AcceptedSchemas, digest_headers};
use crate::content::{FilePlan, IfMissing};
use crate::error::ApiError;
use crate::fetched::FetchedItem;
use crate::http::headers::Headers;
use crate::http::negotiate::names;
use crate::response::Response;
use crate::route::V2;

/// The answer for a repository of a document that raas did not write: a redirect, as Crane's. `None` if the catalog has
/// the repository from another document, or not at all.
pub(super) fn legacy(request: &SiteRequest<'_>, route: &V2<'_>) -> Option<Result<Decision, ApiError>> {
    let found = |name: &str| {
        let known = request.catalog.repository(name).is_some();
        request.catalog.legacy(name).filter(|_| !known)
    };
    let reads = || AcceptedSchemas {
        lists: names(request.headers, media_type::DOCKER_LIST),
        schema2: names(request.headers, media_type::DOCKER_MANIFEST),
    };
    let unknown_tag = |repository: &RepositoryName, tag: &str| no_manifest(repository, tag);
    // The path within the repository, its media type, and the error if a content folder does not have the file.
    let (repository, rest, kind, absent) = match route {
        V2::Base | V2::Catalog | V2::Upload | V2::Signatures(..) => return None,
        V2::Tags(name) => {
            let repository = found(name)?;
            request.set_fetched(&repository.name, FetchedItem::Tags);
            (repository, "tags/list".to_owned(), "application/json", no_repository(name))
        }
        V2::Tag(name, tag) => {
            let repository = found(name)?;
            // Only a valid tag may become part of a URL.
            let Ok(tag) = tag.parse::<Tag>() else { return Some(Err(unknown_tag(&repository.name, tag))) };
            let rest = repository.manifest(tag.as_str(), reads());
            let kind = manifest_kind(&rest);
            let absent = unknown_tag(&repository.name, tag.as_str());
            request.set_fetched(&repository.name, FetchedItem::Legacy(tag));
            (repository, rest, kind, absent)
        }
        V2::Manifest(name, digest) | V2::Blob(name, digest) => {
            let (repository, blob) = (found(name)?, matches!(route, V2::Blob(..)));
            match known(digest) {
                Ok(Some(digest)) if blob => {
                    request.set_fetched(&repository.name, FetchedItem::Blob(digest));
                    if let Some(url) = repository.elsewhere(&digest) {
                        return Some(Ok(sent(request.location(url.to_owned(), 0)).into()));
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
        // The document does not know referrers.
        V2::Referrers(name, digest) => {
            let repository = found(name)?;
            return Some(no_referrers(request, &repository.name, digest).map(Decision::from));
        }
    };
    if let Some(folders) = request.site.crane.as_ref().and_then(|rules| rules.content.as_ref()) {
        let mut headers = Headers::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, NO_CACHE);
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        if let V2::Manifest(_, Ok(digest)) | V2::Blob(_, Ok(digest)) = route {
            let (digest, etag) = digest_headers(digest);
            headers.insert(CONTENT_DIGEST, digest);
            headers.insert(header::ETAG, etag);
        }
        let without_folder = Some(request.location(repository.url(&rest), 0));
        let file = folders.v2(&repository.id, &rest);
        let if_missing = IfMissing::NotPublished { absent, without_folder };
        return Some(Ok(Decision::from(FilePlan { file, size: None, headers, if_missing })));
    }
    Some(Ok(sent(request.location(repository.url(&rest), 0)).into()))
}

fn sent(location: HeaderValue) -> Response {
    let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, location);
    response.headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// The media type for a manifest's path, as Crane decides it.
fn manifest_kind(rest: &str) -> &'static str {
    match rest.split('/').nth(1) {
        Some("list") => media_type::DOCKER_LIST,
        Some("2") => media_type::DOCKER_MANIFEST,
        _ => "application/json",
    }
}
