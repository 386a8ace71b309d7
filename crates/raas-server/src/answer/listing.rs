//! Lists of repositories, tags and referrers.

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use raas_types::{Descriptor, Digest, media_type};
use serde::Serialize;

use super::reply::{NO_CACHE, reply};
use crate::catalog::{Catalog, Repository};
use crate::error::{ApiError, ApiErrorCode};
use crate::http::query;
use crate::response::Response;

/// All repositories by name, or one page of them.
///
/// Source: the catalog of CNCF distribution's API. OCI distribution-spec 1.1 reserves its name.
pub(super) fn catalog(catalog: &Catalog, query: Option<&str>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct List<'a> {
        repositories: Vec<&'a str>,
    }
    let page = Page::read(query)?;
    let names = catalog.names_after(page.last.as_deref());
    let (repositories, next) = page.cut(names);
    Ok(list(&List { repositories }, "/v2/_catalog", next))
}

/// All tags of a repository in order, or one page of them.
///
/// Source: OCI distribution-spec 1.1, "Listing Tags".
pub(super) fn tags(repository: &Repository, query: Option<&str>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct List<'a> {
        name: &'a str,
        tags: Vec<&'a str>,
    }
    let page = Page::read(query)?;
    let all = repository.tags_after(page.last.as_deref()).map(|tag| tag.as_str());
    let (tags, next) = page.cut(all);
    let name = repository.name.as_str();
    Ok(list(&List { name, tags }, &format!("/v2/{name}/tags/list"), next))
}

/// The manifests that refer to `subject`. The index is empty for an unknown digest, because a referrer may exist before
/// its subject does.
///
/// Source: OCI distribution-spec 1.1, "Listing Referrers".
pub(super) fn referrers(repository: &Repository, subject: Option<Digest>, query: Option<&str>) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Index<'a> {
        schema_version: u8,
        media_type: &'static str,
        manifests: Vec<&'a Descriptor>,
    }
    // A value that is empty or cannot be decoded does not filter.
    let wanted =
        query::parameter(query, "artifactType").map(Option::unwrap_or_default).filter(|t| !t.is_empty());
    let all = subject.into_iter().flat_map(|subject| repository.referrers(subject)).map(|r| &r.descriptor);
    let manifests =
        all.filter(|d| wanted.is_none() || d.artifact_type.as_deref() == wanted.as_deref()).collect();
    let index = Index { schema_version: 2, media_type: media_type::OCI_INDEX, manifests };
    let mut response = reply(StatusCode::OK, media_type::OCI_INDEX, json(&index));
    response.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    if wanted.is_some() {
        const APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
        response.headers.insert(APPLIED, HeaderValue::from_static("artifactType"));
    }
    response
}

/// The page of a list that a request asks for.
struct Page {
    /// The maximal number of entries.
    n: Option<usize>,
    /// Only entries after this one.
    last: Option<String>,
}

impl Page {
    fn read(query: Option<&str>) -> Result<Self, ApiError> {
        let invalid = |what: &str| ApiError::new(ApiErrorCode::PaginationNumberInvalid, what);
        let n = match query::parameter(query, "n") {
            None => None,
            Some(Some(n)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
                // A number that does not fit is larger than any list.
                Some(n.parse().unwrap_or(usize::MAX))
            }
            Some(_) => return Err(invalid("`n` is not a number")),
        };
        let last = match query::parameter(query, "last") {
            None => None,
            Some(Some(last)) => Some(last.into_owned()),
            Some(None) => return Err(invalid("`last` has invalid percent-encoding")),
        };
        Ok(Self { n, last: last.filter(|last| !last.is_empty()) })
    }

    /// Cuts the page from the entries after `last`, and returns how to ask for the next page if more entries follow.
    fn cut<'a>(&self, mut all: impl Iterator<Item = &'a str>) -> (Vec<&'a str>, Option<NextPage<'a>>) {
        let Some(n) = self.n else { return (all.collect(), None) };
        let page: Vec<&str> = all.by_ref().take(n).collect();
        let more = !page.is_empty() && all.next().is_some();
        let next = page.last().filter(|_| more).map(|last| NextPage { n, last });
        (page, next)
    }
}

/// How to ask for the next page.
struct NextPage<'a> {
    n: usize,
    last: &'a str,
}

fn list(list: &impl Serialize, path: &str, next: Option<NextPage<'_>>) -> Response {
    let mut response = reply(StatusCode::OK, "application/json", json(list));
    response.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    if let Some(NextPage { n, last }) = next {
        // Source: RFC 8288, section 3.
        let link = format!("<{path}?n={n}&last={}>; rel=\"next\"", query::encode(last));
        let link = HeaderValue::try_from(link).expect("names and percent-encoded text are visible ASCII");
        response.headers.insert(header::LINK, link);
    }
    response
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("lists of text have a JSON form")
}
