//! Docker's v1 API, as Crane answers it: for clients before Docker 1.10, and for tools that still ask.

use std::collections::BTreeMap;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::{ImageId, ObjectKey, V1File};
use serde::Serialize;

use super::reply::{NO_CACHE, checked, fail, reads, redirect, refuse, reply, text};
use super::{Asked, Decision};
use crate::body::Body;
use crate::catalog::{V1Repository, V1Source};
use crate::crane::CraneRules;
use crate::error::{Code, Failure};
use crate::file::Otherwise;
use crate::headers::Headers;
use crate::metrics::To;
use crate::query;
use crate::response::Response;
use crate::route::{Api, V1};
use crate::site::Place;
use crate::{file, proxy};

const VERSION: HeaderName = HeaderName::from_static("x-docker-registry-version");
const CONFIG: HeaderName = HeaderName::from_static("x-docker-registry-config");
const STANDALONE: HeaderName = HeaderName::from_static("x-docker-registry-standalone");
const ENDPOINTS: HeaderName = HeaderName::from_static("x-docker-endpoints");
const SIZE: HeaderName = HeaderName::from_static("x-docker-size");

/// Says what registry answered, in Crane's words, as every answer does.
pub(super) fn mark(headers: &mut Headers) {
    headers.insert(VERSION, HeaderValue::from_static("0.6.6"));
    headers.insert(CONFIG, HeaderValue::from_static("common"));
}

pub(super) fn answer(asked: &Asked<'_>, route: V1<'_>) -> Decision {
    // The one thing that clients post: a docker that logs in. There is nothing to log in to, and nothing fails.
    let login = route == V1::Users && asked.method == Method::POST;
    if !reads(asked.method) && !login {
        return refuse(Api::V1).into();
    }
    match decide(asked, route) {
        Ok(mut decision) => {
            mark(decision.headers_mut());
            decision
        }
        Err(failure) => fail(Api::V1, &failure).into(),
    }
}

fn decide(asked: &Asked<'_>, route: V1<'_>) -> Result<Decision, Failure> {
    let catalog = asked.catalog;
    let not_found = |what| Failure::new(Code::NotFound, what);
    let repository = |name: &str| catalog.v1.get(name).ok_or_else(|| not_found("no such repository"));
    Ok(match route {
        V1::Ping => {
            let mut response = json(&true);
            response.headers.insert(STANDALONE, HeaderValue::from_static("True"));
            response.into()
        }
        V1::Users if asked.method == Method::POST => text(StatusCode::CREATED, "User Created").into(),
        V1::Users => text(StatusCode::OK, "OK").into(),
        V1::Search => search(asked).into(),
        V1::Images(name) => images(asked, repository(name)?).into(),
        V1::Tags(name) => {
            let tags: BTreeMap<&str, String> =
                repository(name)?.tags.iter().map(|(tag, id)| (tag.as_str(), id.to_string())).collect();
            json(&tags).into()
        }
        V1::Tag(name, tag) => {
            let id = repository(name)?.tag(tag).ok_or_else(|| not_found("no such tag"))?;
            json(&id.to_string()).into()
        }
        V1::File(id, file) => image_file(asked, id, file)?,
    })
}

fn images(asked: &Asked<'_>, repository: &V1Repository) -> Response {
    #[derive(Serialize)]
    struct Image {
        id: ImageId,
    }
    let images: Vec<Image> = repository.images().map(|(id, _)| Image { id: *id }).collect();
    let mut response = json(&images);
    // Where a client asks for the images: here, by the name that it knows us by.
    let endpoint = asked.site.crane.as_ref().and_then(CraneRules::endpoint);
    if let Some(host) = endpoint.or_else(|| HeaderValue::from_str(asked.host()?).ok()) {
        response.headers.insert(ENDPOINTS, host);
    }
    response
}

/// A file of an image: from the bucket, however that is had, or where the image is.
fn image_file(asked: &Asked<'_>, id: ImageId, file: V1File) -> Result<Decision, Failure> {
    let found = asked.catalog.v1_image(&id);
    let (repository, image) = found.ok_or_else(|| Failure::new(Code::NotFound, "no such image"))?;
    let key = ObjectKey::V1(repository.name.clone(), id, file);
    let mut headers = Headers::new();
    // Both are the key's to say; the media types among them are known.
    headers.insert(header::CONTENT_TYPE, checked(key.content_type().to_owned()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(key.cache_control()));
    if let (V1File::Json, Some(size)) = (file, image.size) {
        headers.insert(SIZE, size.into());
    }
    let size = image.size.filter(|_| file == V1File::Layer);
    let known = size.filter(|_| asked.method == Method::HEAD);
    if let Some(folders) = asked.site.crane.as_ref().and_then(|rules| rules.content.as_ref())
        && !matches!(image.source, V1Source::Elsewhere(_))
    {
        let file = folders.v1(&repository.id, &format!("{id}/{}", file.name()));
        let otherwise = Otherwise::Unknown(Failure::new(Code::NotFound, "no such image"));
        return Ok(Decision::from(file::Plan { file, size, headers, otherwise }));
    }
    let sent = |to: To, location: HeaderValue| {
        if asked.method == Method::GET {
            asked.redirected(to, size.unwrap_or(0));
        }
        redirect(StatusCode::FOUND, location).into()
    };
    let otherwise = match &image.source {
        V1Source::Bucket => None,
        V1Source::BucketOr(url) => {
            Some(asked.location(format!("{url}/{id}/{}", file.name()), size.unwrap_or(0)))
        }
        V1Source::Elsewhere(folder) => {
            let url = format!("{folder}/{}", file.name());
            let passing = asked.site.passes(&repository.name).filter(|passing| passing.may_ask(&url));
            if passing.is_some() && known.is_none() {
                let source = proxy::Source::Url { url, digest: None };
                return Ok(Decision::from(proxy::Plan { source, size, headers }));
            }
            let location = asked.location(url, size.unwrap_or(0));
            let elsewhere = || sent(To::Elsewhere, location);
            return Ok(known.map_or_else(elsewhere, |size| from_document(headers, size)));
        }
    };
    Ok(match (asked.site.place(asked.method, &repository.name, &key, size)?, otherwise, known) {
        (Place::File(file), otherwise, _) => {
            let otherwise = otherwise.map_or(Otherwise::Fault, Otherwise::Elsewhere);
            Decision::from(file::Plan { file, size, headers, otherwise })
        }
        // Whether a bucket elsewhere has it is not asked: the document says where its publisher put it.
        (_, Some(location), _) => sent(To::Elsewhere, location),
        (_, None, Some(size)) => from_document(headers, size),
        (Place::Elsewhere(location), ..) => sent(To::Bucket, location),
        (Place::Passed(origin), ..) => {
            let source = proxy::Source::Object(origin, key);
            Decision::from(proxy::Plan { source, size, headers })
        }
        (Place::Nowhere, ..) => return Err(Failure::new(Code::NotFound, "no such image")),
    })
}

/// The answer to HEAD for what is elsewhere, as far as the document tells it.
fn from_document(mut headers: Headers, size: u64) -> Decision {
    headers.insert(header::CONTENT_LENGTH, size.into());
    Response { status: StatusCode::OK, headers, body: Body::empty() }.into()
}

/// Repositories whose name has the words in it, of both APIs, and no more than the client wants to see.
///
/// Source: Docker Hub's API 1, "Search", which docker asks for with the number of its `--limit`.
fn search(asked: &Asked<'_>) -> Response {
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
    let query = query::parameter(asked.uri.query(), "q").flatten().unwrap_or_default();
    let words = query.to_ascii_lowercase();
    let most = query::parameter(asked.uri.query(), "n").flatten().and_then(|n| n.parse().ok());
    let catalog = asked.catalog;
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
