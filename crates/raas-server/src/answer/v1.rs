//! Docker's v1 API with Crane's answers, for clients before Docker 1.10 and for tools that still use it.

use std::collections::BTreeMap;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::{ImageId, ObjectKey, V1File};
use serde::Serialize;

use super::listing::{DEFAULT, NextPage, Page};
use super::reply::{NO_CACHE, checked, fail, mark, reads, redirect, refuse, reply, text};
use super::{Decision, SiteRequest};
use crate::body::Body;
use crate::catalog::{Catalog, V1Repository, V1Source};
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
        V1::Users => json(&"OK").into(),
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
        let name = file.name();
        let file = folders.v1(&repository.id, &format!("{id}/{name}"));
        let absent = ApiError::new(ApiErrorCode::NotFound, "no such image");
        let instead = match &image.source {
            V1Source::BucketOr(url) => Some(format!("{url}/{id}/{name}")),
            _ => None,
        };
        let without_folder = instead.map(|url| request.location(url, size.unwrap_or(0)));
        let if_missing = IfMissing::NotPublished { absent, without_folder };
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
    let text = query::parameter(request.uri.query(), "q").flatten().unwrap_or_default();
    let words = text.to_ascii_lowercase();
    // A limit that is no number does not limit, as in Crane.
    let page = Page::read(request.uri.query(), DEFAULT).unwrap_or(Page { n: DEFAULT, last: None });
    let mut results = Vec::new();
    let (mut num_results, mut more) = (0, false);
    for name in all_names(request.catalog).filter(|name| name.contains(&words)) {
        num_results += 1;
        if page.last.as_deref().is_some_and(|last| name <= last) {
            continue;
        }
        more = results.len() == page.n;
        if more {
            continue;
        }
        results.push(Entry {
            name,
            description: "",
            is_official: false,
            is_automated: false,
            is_trusted: false,
            star_count: 0,
        });
    }
    let last = results.last().map(|entry| entry.name).filter(|_| more);
    let mut response = json(&Found { query: &text, num_results, results });
    if let Some(last) = last {
        let path = format!("/v1/search?q={}", query::encode(&text));
        response.headers.insert(header::LINK, NextPage { n: page.n, last }.link(&path));
    }
    response
}

/// The names of the repositories of both APIs, in order and each once.
fn all_names(catalog: &Catalog) -> impl Iterator<Item = &str> {
    let mut v2 = catalog.names_after(None).peekable();
    let mut v1 = catalog.v1.keys().map(|name| name.as_str()).peekable();
    std::iter::from_fn(move || match (v2.peek(), v1.peek()) {
        (Some(a), Some(b)) if a == b => {
            v1.next();
            v2.next()
        }
        (Some(a), Some(b)) if b < a => v1.next(),
        (Some(_), _) => v2.next(),
        (None, _) => v1.next(),
    })
}

fn json(value: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(value).expect("text, lists and maps of text have a JSON form");
    let mut response = reply(StatusCode::OK, "application/json", bytes);
    response.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    response
}
