//! Lists of repositories, tags and referrers.

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use raas_types::{Digest, media_type};
use serde::Serialize;

use super::reply::{NO_CACHE, reply};
use crate::catalog::{Catalog, Repository};
use crate::error::{ApiError, ApiErrorCode};
use crate::http::query;
use crate::response::Response;

/// One page of the repositories by name.
///
/// Source: the catalog of CNCF distribution's API. OCI distribution-spec 1.1 reserves its name.
pub(super) fn catalog(catalog: &Catalog, query: Option<&str>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct List<'a> {
        repositories: Vec<&'a str>,
    }
    let page = Page::read(query, DEFAULT)?;
    let names = catalog.names_after(page.last.as_deref());
    let (repositories, next) = page.cut(names);
    Ok(list(&List { repositories }, "/v2/_catalog", next))
}

/// One page of the tags of a repository in order.
///
/// Source: OCI distribution-spec 1.1, "Listing Tags".
pub(super) fn tags(repository: &Repository, query: Option<&str>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct List<'a> {
        name: &'a str,
        tags: Vec<&'a str>,
    }
    let page = Page::read(query, DEFAULT_TAGS)?;
    let all = repository.tags_after(page.last.as_deref()).map(|tag| tag.as_str());
    let (tags, next) = page.cut(all);
    let name = repository.name.as_str();
    Ok(list(&List { name, tags }, &format!("/v2/{name}/tags/list"), next))
}

/// The manifests that refer to `subject`, or one page of them. The index is empty for an unknown digest, because a
/// referrer may exist before its subject does.
///
/// Source: OCI distribution-spec 1.1, "Listing Referrers": "the response MUST include a Link" to the next page.
pub(super) fn referrers(
    repository: &Repository,
    subject: Option<Digest>,
    query: Option<&str>,
) -> Result<Response, ApiError> {
    /// The size of a page in bytes, unless its first entry alone is longer. Clients accept indexes of 4 MiB.
    const MAX_BYTES: usize = 3 * 1024 * 1024;
    /// The number of entries of a page.
    const MAX: usize = 1000;
    // A value that is empty or cannot be decoded does not filter.
    let wanted =
        query::parameter(query, "artifactType").map(Option::unwrap_or_default).filter(|t| !t.is_empty());
    let last = match query::parameter(query, "last") {
        None => None,
        Some(last) => Some(last.and_then(|last| last.parse::<Digest>().ok()).ok_or_else(|| {
            ApiError::new(ApiErrorCode::PaginationNumberInvalid, "`last` is not a digest of a manifest")
        })?),
    };
    let mut index = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":["#, media_type::OCI_INDEX);
    let (mut count, mut end, mut more) = (0, None, false);
    let all = subject.into_iter().flat_map(|subject| repository.referrers(subject, last));
    for (manifest, referrer) in all {
        if wanted.is_some() && referrer.artifact_type.as_deref() != wanted.as_deref() {
            continue;
        }
        if count > 0 && (count == MAX || index.len() + referrer.descriptor.len() > MAX_BYTES) {
            more = true;
            break;
        }
        if count > 0 {
            index.push(',');
        }
        index.push_str(&referrer.descriptor);
        (count, end) = (count + 1, Some(manifest.digest));
    }
    index.push_str("]}");
    let mut response = reply(StatusCode::OK, media_type::OCI_INDEX, index);
    response.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    if let (true, Some(subject), Some(end)) = (more, subject, end) {
        let filter = wanted.as_deref().map(|wanted| format!("&artifactType={}", query::encode(wanted)));
        let (name, filter) = (repository.name.as_str(), filter.unwrap_or_default());
        let next = format!("/v2/{name}/referrers/{subject}?last={end}{filter}");
        response.headers.insert(header::LINK, link(&next));
    }
    if wanted.is_some() {
        const APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
        response.headers.insert(APPLIED, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// The number of entries of a page if the client does not name one.
pub(super) const DEFAULT: usize = 1000;

/// The same for tags. A repository has more tags than a registry has repositories, and they are shorter.
const DEFAULT_TAGS: usize = 10_000;

/// The largest number of entries that a client may name.
const MAX: usize = 10_000;

/// The page of a list that a request asks for.
pub(super) struct Page {
    /// The maximal number of entries.
    pub(super) n: usize,
    /// Only entries after this one.
    pub(super) last: Option<String>,
}

impl Page {
    /// Reads the page from a query. `default` is the number of entries without `n`.
    pub(super) fn read(query: Option<&str>, default: usize) -> Result<Self, ApiError> {
        let invalid = |what: &str| ApiError::new(ApiErrorCode::PaginationNumberInvalid, what);
        let n = match query::parameter(query, "n") {
            None => default,
            Some(Some(n)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
                // A number that does not fit is larger than any list.
                n.parse().unwrap_or(MAX).min(MAX)
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
        let page: Vec<&str> = all.by_ref().take(self.n).collect();
        let more = !page.is_empty() && all.next().is_some();
        let next = page.last().filter(|_| more).map(|last| NextPage { n: self.n, last });
        (page, next)
    }
}

/// How to ask for the next page.
pub(super) struct NextPage<'a> {
    pub(super) n: usize,
    pub(super) last: &'a str,
}

impl NextPage<'_> {
    /// The `Link` of the page. `path` may have a query.
    ///
    /// Source: RFC 8288, section 3.
    pub(super) fn link(&self, path: &str) -> HeaderValue {
        let separator = if path.contains('?') { '&' } else { '?' };
        link(&format!("{path}{separator}n={}&last={}", self.n, query::encode(self.last)))
    }
}

fn link(target: &str) -> HeaderValue {
    let link = HeaderValue::try_from(format!("<{target}>; rel=\"next\""));
    link.expect("names, digests and percent-encoded text are visible ASCII")
}

fn list(list: &impl Serialize, path: &str, next: Option<NextPage<'_>>) -> Response {
    let mut response = reply(StatusCode::OK, "application/json", json(list));
    response.headers.insert(header::CACHE_CONTROL, NO_CACHE);
    if let Some(next) = next {
        response.headers.insert(header::LINK, next.link(path));
    }
    response
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("lists of text have a JSON form")
}
