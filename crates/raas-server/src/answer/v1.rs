//! Docker's v1 API with Crane's answers, for clients before Docker 1.10 and for tools that still use it.

use std::collections::BTreeMap;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::{ImageId, ObjectKey, V1File};
use serde::Serialize;

use super::reply::{NO_CACHE, checked, fail, mark, reads, redirect, refuse, reply, text};
use super::{Decision, SiteRequest};
use crate::body::Body;
use crate::catalog::{V1Repository, V1Source};
use crate::content::{FilePlan, IfMissing, ProxyPlan, ProxySource};
use crate::error::{ApiError, ApiErrorCode};
use crate::http::headers::Headers;
use crate::http::query;
use crate::metrics::RedirectTarget;
use crate::response::Response;
use crate::route::{Api, V1};
use crate::site::CraneRules;
use crate::site::ObjectSource;

const STANDALONE: HeaderName = HeaderName::from_static("x-docker-registry-standalone");
const ENDPOINTS: HeaderName = HeaderName::from_static("x-docker-endpoints");
const SIZE: HeaderName = HeaderName::from_static("x-docker-size");

pub(super) fn answer(request: &SiteRequest<'_>, route: V1<'_>) -> Decision {
    // `docker login` posts here. It must succeed although there is nothing to log in to.
    let login = route == V1::Users && request.method == Method::POST;
    if !reads(request.method) && !login {
        return refuse(Api::V1).into();
    }
    match decide(request, route) {
        Ok(mut decision) => {
            mark(Api::V1, decision.headers_mut());
            decision
        }
        Err(failure) => fail(Api::V1, &failure).into(),
    }
}

fn decide(request: &SiteRequest<'_>, route: V1<'_>) -> Result<Decision, ApiError> {
    let catalog = request.catalog;
    let not_found = |what| ApiError::new(ApiErrorCode::NotFound, what);
    let repository = |name: &str| catalog.v1.get(name).ok_or_else(|| not_found("no such repository"));
    Ok(match route {
        V1::Ping => {
            let mut response = json(&true);
            response.headers.insert(STANDALONE, HeaderValue::from_static("True"));
            response.into()
        }
        V1::Users if request.method == Method::POST => text(StatusCode::CREATED, "User Created").into(),
        V1::Users => text(StatusCode::OK, "OK").into(),
        V1::Search => search(request).into(),
        V1::Images(name) => images(request, repository(name)?).into(),
        V1::Tags(name) => {
            let tags: BTreeMap<&str, String> =
                repository(name)?.tags.iter().map(|(tag, id)| (tag.as_str(), id.to_string())).collect();
            json(&tags).into()
        }
        V1::Tag(name, tag) => {
            let id = repository(name)?.tag(tag).ok_or_else(|| not_found("no such tag"))?;
            json(&id.to_string()).into()
        }
        V1::File(id, file) => image_file(request, id, file)?,
    })
}

fn images(request: &SiteRequest<'_>, repository: &V1Repository) -> Response {
    #[derive(Serialize)]
    struct Image {
        id: ImageId,
    }
    let images: Vec<Image> = repository.images().map(|(id, _)| Image { id: *id }).collect();
    let mut response = json(&images);
    // The host where the client finds the images: this server, by the name that the client used.
    let endpoint = request.site.crane.as_ref().and_then(CraneRules::endpoint);
    if let Some(host) = endpoint.or_else(|| HeaderValue::from_str(request.host()?).ok()) {
        response.headers.insert(ENDPOINTS, host);
    }
    response
}

/// A file of an image: from the bucket, or from the location of a masked image.
fn image_file(request: &SiteRequest<'_>, id: ImageId, file: V1File) -> Result<Decision, ApiError> {
    let found = request.catalog.v1_image(&id);
    let (repository, image) = found.ok_or_else(|| ApiError::new(ApiErrorCode::NotFound, "no such image"))?;
    let key = ObjectKey::V1(repository.name.clone(), id, file);
    let mut headers = Headers::new();
    // Both values are constants of the key.
    headers.insert(header::CONTENT_TYPE, checked(key.content_type().to_owned()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(key.cache_control()));
    if let (V1File::Json, Some(size)) = (file, image.size) {
        headers.insert(SIZE, size.into());
    }
    let size = image.size.filter(|_| file == V1File::Layer);
    let known = size.filter(|_| request.method == Method::HEAD);
    if let Some(folders) = request.site.crane.as_ref().and_then(|rules| rules.content.as_ref())
        && !matches!(image.source, V1Source::Elsewhere(_))
    {
        let file = folders.v1(&repository.id, &format!("{id}/{}", file.name()));
        let if_missing = IfMissing::NotPublished(ApiError::new(ApiErrorCode::NotFound, "no such image"));
        return Ok(Decision::from(FilePlan { file, size, headers, if_missing }));
    }
    let sent = |target: RedirectTarget, location: HeaderValue| {
        if request.method == Method::GET {
            request.count_redirect(target, size.unwrap_or(0));
        }
        redirect(StatusCode::FOUND, location).into()
    };
    let if_missing = match &image.source {
        V1Source::Bucket => None,
        V1Source::BucketOr(url) => {
            Some(request.location(format!("{url}/{id}/{}", file.name()), size.unwrap_or(0)))
        }
        V1Source::Elsewhere(folder) => {
            let url = format!("{folder}/{}", file.name());
            let rules = request.site.proxy_rules_for(&repository.name).filter(|rules| rules.allows_url(&url));
            if rules.is_some() && known.is_none() {
                let source = ProxySource::Url { url, digest: None };
                return Ok(Decision::from(ProxyPlan { source, size, headers }));
            }
            let location = request.location(url, size.unwrap_or(0));
            let elsewhere = || sent(RedirectTarget::Elsewhere, location);
            return Ok(known.map_or_else(elsewhere, |size| from_document(headers, size)));
        }
    };
    Ok(match (request.site.locate(request.method, &repository.name, &key, size)?, if_missing, known) {
        (ObjectSource::File(file), if_missing, _) => {
            let if_missing = if_missing.map_or(IfMissing::StorageFault, IfMissing::Redirect);
            Decision::from(FilePlan { file, size, headers, if_missing })
        }
        // The document says where its publisher put the file, so a remote bucket is not asked for it.
        (_, Some(location), _) => sent(RedirectTarget::Elsewhere, location),
        (_, None, Some(size)) => from_document(headers, size),
        (ObjectSource::Redirect(location), ..) => sent(RedirectTarget::Bucket, location),
        (ObjectSource::Proxy(origin), ..) => {
            let source = ProxySource::Object(origin, key);
            Decision::from(ProxyPlan { source, size, headers })
        }
        (ObjectSource::Missing, ..) => return Err(ApiError::new(ApiErrorCode::NotFound, "no such image")),
    })
}

/// The answer to a HEAD whose values are all in the document.
fn from_document(mut headers: Headers, size: u64) -> Decision {
    headers.insert(header::CONTENT_LENGTH, size.into());
    Response { status: StatusCode::OK, headers, body: Body::empty() }.into()
}

/// The repositories of both APIs whose name contains the query, up to the client's limit.
///
/// Source: Docker Hub's API 1, "Search". docker sends its `--limit` as `n`.
fn search(request: &SiteRequest<'_>) -> Response {
    #[derive(Serialize)]
    struct Found<'a> {
        query: &'a str,
        num_results: usize,
        results: Vec<Entry<'a>>,
    }
    #[derive(Serialize)]
    struct Entry<'a> {
        name: &'a str,
        description: &'static str,
        is_official: bool,
        is_automated: bool,
        is_trusted: bool,
        star_count: u32,
    }
    let query = query::parameter(request.uri.query(), "q").flatten().unwrap_or_default();
    let words = query.to_ascii_lowercase();
    let most = query::parameter(request.uri.query(), "n").flatten().and_then(|n| n.parse().ok());
    let catalog = request.catalog;
    let mut names: Vec<&str> =
        catalog.names_after(None).chain(catalog.v1.keys().map(|name| name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| name.contains(&words));
    let num_results = names.len();
    let results: Vec<Entry<'_>> = names
        .into_iter()
        .take(most.unwrap_or(usize::MAX))
        .map(|name| Entry {
            name,
            description: "",
            is_official: false,
            is_automated: false,
            is_trusted: false,
            star_count: 0,
        })
        .collect();
    json(&Found { query: &query, num_results, results })
}

fn json(value: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(value).expect("text, lists and maps of text have a JSON form");
    let mut response = reply(StatusCode::OK, "application/json", bytes);
    response.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    response
}
