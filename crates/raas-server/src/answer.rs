//! From a request to its answer.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use raas_types::RepositoryName;

use crate::Response;
use crate::auth::{self, Peer, Visitor};
use crate::body::Body;
use crate::catalog::Catalog;
use crate::error::{Code, Failure};
use crate::file::Opened;
use crate::headers::{self, NO_BYTES};
use crate::metrics::{self, Fetched, Metrics, To, What};
use crate::range::{self, Span};
use crate::route::{self, Api, Route};
use crate::shared::Shared;
use crate::site::{Site, Snapshot};
use crate::{file, host, proxy, query};

mod crane;
mod listing;
mod page;
mod token;
mod v1;
mod v2;

/// `Cache-Control` of what never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// The same of what one user may see.
const IMMUTABLE_FOR_ONE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
/// `Cache-Control` of what may change at any time: to be asked again, and told by its entity tag.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// `Cache-Control` of errors and of redirects, which may be another answer a moment later.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer, or what is to be opened for it.
enum Decision {
    Ready(Response),
    File(file::Plan),
    PassOn(proxy::Plan),
}

impl Decision {
    /// The headers that the answer begins with.
    fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Decision::Ready(response) => response.headers_mut(),
            Decision::File(plan) => &mut plan.headers,
            Decision::PassOn(plan) => &mut plan.headers,
        }
    }
}

impl From<Response> for Decision {
    fn from(response: Response) -> Self {
        Decision::Ready(response)
    }
}

/// What the answers of a site need of a request.
struct Asked<'a> {
    site: &'a Site,
    catalog: &'a Catalog,
    metrics: &'a Metrics,
    secure: bool,
    visitor: &'a Visitor,
    host: Option<&'a str>,
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    /// What it turns out to be for.
    fetched: &'a Cell<Option<Fetched>>,
}

impl Asked<'_> {
    /// A URL that a document names and that was checked when it was loaded, as the client is sent to it.
    fn location(&self, url: String, size: u64) -> HeaderValue {
        match &self.site.crane {
            // The rules' texts were checked when they were read, and are no part of a header by themselves.
            Some(rules) => checked(rules.location(url, size)),
            None => checked(url),
        }
    }

    /// Whether somebody asks who may be a user, and has not said so; what is wrong if so, in the words of RFC 6750.
    fn may_be_user(&self) -> Option<Option<&'static str>> {
        match self.visitor {
            Visitor::Stranger | Visitor::Uncertified(_) if self.site.gate.asks() => Some(None),
            // Tokens of others are for what they name: there may be another one for this.
            Visitor::Holder(_) => Some(Some("insufficient_scope")),
            _ => None,
        }
    }

    /// The answer that asks who is there.
    fn challenge(&self, api: Api, failure: &Failure, scope: Option<&str>, error: Option<&str>) -> Response {
        let mut response = fail(api, failure);
        let host = self.host.unwrap_or("localhost");
        let value = self.site.gate.challenge(host, scope, self.secure, error);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        response
    }

    /// Notes what the request is for, for the access log and for what is counted.
    fn fetched(&self, repository: &RepositoryName, what: What) {
        let (vendor, repository) = (self.site.vendor.clone(), repository.clone());
        self.fetched.set(Some(Fetched { vendor, repository, what }));
    }

    /// Counts that the client is sent for an object of this size, or for the part of it that it asks for.
    fn redirected(&self, to: To, size: u64) {
        let asked = self.headers.get(header::RANGE);
        let bytes = match range::parse(asked.map(HeaderValue::as_bytes), size) {
            Span::Whole => size,
            Span::Part { length, .. } => length,
            Span::Unsatisfiable => 0,
        };
        self.metrics.redirected(self.site.vendor.as_str(), to, bytes);
    }
}

/// Answers a request of whoever looks after the server: what is counted, and whether it is well.
pub(crate) fn answer_operator<B>(shared: &Shared, request: &Request<B>) -> Response {
    let api = Api::Plain;
    let snapshot = shared.current.load();
    let mut response = match request.uri().path() {
        "/metrics" => only_read(request, api, || {
            reply(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                metrics::render(shared, &snapshot),
            )
        }),
        "/-/healthz" => only_read(request, api, || text(StatusCode::OK, "ok\n")),
        "/-/readyz" => only_read(request, api, || ready(&snapshot)),
        _ => fail(api, &Failure::new(Code::NotFound, "there is nothing at this path")),
    };
    if request.method() == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

/// Answers a request, and says what it was for.
pub(crate) async fn answer<B>(
    shared: &Shared,
    request: &Request<B>,
    peer: &Peer<'_>,
) -> (Response, Option<Fetched>) {
    let Shared { current, client, throttle, .. } = shared;
    // In statements of their own, so that the snapshot is let go before anything is waited for.
    let gate = host::pick(&current.load(), host::requested(request))
        .map(|site| &site.gate)
        .filter(|gate| gate.opens())
        .cloned();
    let visitor = match &gate {
        Some(gate) => Box::pin(auth::visitor(gate, throttle, peer, request.headers())).await,
        None => Visitor::Stranger,
    };
    let (decision, fetched) = {
        let fetched = Cell::default();
        (decide(&current.load(), shared, &visitor, request, &fetched), fetched.take())
    };
    let (method, headers) = (request.method(), request.headers());
    // What is waited for is in boxes of its own, so that all other requests do not carry its size along.
    let mut response = match decision {
        Decision::Ready(response) => response,
        Decision::File(plan) => opened(Box::pin(plan.open(method, headers)).await, request),
        Decision::PassOn(plan) => opened(Box::pin(plan.open(client, method, headers)).await, request),
    };
    if matches!(visitor, Visitor::User | Visitor::Holder(_))
        && response.headers().get(header::CACHE_CONTROL) == Some(&IMMUTABLE)
    {
        // A cache between us must not give it to others.
        response.headers_mut().insert(header::CACHE_CONTROL, IMMUTABLE_FOR_ONE);
    }
    if request.method() == Method::HEAD {
        // The headers of a GET, its length above all, and no bytes. Source: RFC 9110, section 9.3.2.
        *response.body_mut() = Body::empty();
    }
    (response, fetched)
}

fn decide<B>(
    snapshot: &Snapshot,
    shared: &Shared,
    visitor: &Visitor,
    request: &Request<B>,
    fetched: &Cell<Option<Fetched>>,
) -> Decision {
    let uri = request.uri();
    let Some(path) = query::decode(uri.path()) else {
        let failure = Failure::new(Code::BadRequest, "the path's percent-encoding is not that of a name");
        return fail(route::api(uri.path()), &failure).into();
    };
    let route = route::parse(&path);
    let api = route.api();
    match route {
        Route::Health => return only_read(request, api, || text(StatusCode::OK, "ok\n")).into(),
        Route::Ready => return only_read(request, api, || ready(snapshot)).into(),
        _ => {}
    }
    let host = host::requested(request);
    let Some(site) = host::pick(snapshot, host) else {
        // In v2 no repository's name is known at such a host. Clients take the code for what it says, and one that
        // reads UNSUPPORTED takes the registry for one of another API.
        return fail(api, &Failure::new(Code::NameUnknown, "there is no registry at this host")).into();
    };
    let Some(catalog) = &site.catalog else {
        let message = "this registry has not loaded what it publishes yet; try again later";
        return fail(api, &Failure::new(Code::Unavailable, message)).into();
    };
    let catalog = match visitor {
        Visitor::User => catalog.whole(),
        Visitor::Holder(granted) if granted.opens(&route, catalog.whole()) => catalog.whole(),
        _ => catalog,
    };
    if let Visitor::Guesser(wait) = visitor {
        return wait_first(api, *wait).into();
    }
    if let (Route::Token, Some(users)) = (&route, &site.gate.users) {
        return only_read(request, api, || token::answer(users, visitor)).into();
    }
    let asked = Asked {
        site,
        catalog,
        metrics: &shared.metrics,
        secure: shared.is_secure(),
        visitor,
        host,
        method: request.method(),
        uri,
        headers: request.headers(),
        fetched,
    };
    if *visitor == Visitor::Impostor {
        let failure = Failure::new(Code::Unauthorized, "the user name, the password or the token is wrong");
        return asked.challenge(api, &failure, None, Some("invalid_token")).into();
    }
    match route {
        Route::V2(route) => v2::answer(&asked, route),
        Route::V1(route) => v1::answer(&asked, route),
        Route::Page => only_read(request, api, || page::answer(&asked)).into(),
        Route::Crane { v2 } => only_read(request, api, || crane::answer(&asked, v2)).into(),
        Route::Revision => only_read(request, api, || revision(catalog)).into(),
        Route::Health | Route::Ready | Route::Token | Route::Unknown(_) => {
            fail(api, &Failure::new(Code::NotFound, "there is nothing at this path")).into()
        }
    }
}

/// The answer to an address that was wrong too often.
fn wait_first(api: Api, wait: Duration) -> Response {
    let message = "too many wrong passwords or tokens came from your address; try again later";
    let mut response = fail(api, &Failure::new(Code::TooManyRequests, message));
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

fn opened<B>(opened: Opened, request: &Request<B>) -> Response {
    let path = request.uri().path();
    let api = route::api(&query::decode(path).unwrap_or_default());
    match opened {
        Opened::File(response) => *response,
        Opened::Elsewhere(location) => marked(api, redirect(StatusCode::FOUND, location)),
        Opened::Failed(failure) => fail(api, &failure),
        Opened::Beyond(length) => {
            let mut response =
                fail(api, &Failure::new(Code::RangeInvalid, "the range begins beyond the end"));
            response.headers_mut().insert(header::CONTENT_RANGE, length);
            response
        }
    }
}

fn revision(catalog: &Catalog) -> Response {
    reply(StatusCode::OK, "text/plain; charset=utf-8", catalog.revision.clone())
}

/// Whether there is something to answer from. It tells how many sites are well, and not which there are.
///
/// A site whose bucket has something that is not taken serves the last good one, and that is ready: who is asked
/// here decides whether clients are sent, and they are better sent.
fn ready(snapshot: &Snapshot) -> Response {
    let sites = snapshot.sites.len();
    let loaded = snapshot.sites.iter().filter(|site| site.catalog.is_some()).count();
    let healths = || snapshot.sites.iter().filter_map(|site| site.health.as_ref());
    let behind = healths().filter(|health| !health.is_current()).count();
    let refusals: u64 = healths().map(|health| health.refusals()).sum();
    let (status, word) = if sites > 0 && loaded == 0 {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    } else {
        (StatusCode::OK, "ok")
    };
    if behind == 0 && loaded == sites && refusals == 0 {
        return text(status, format!("{word}\n"));
    }
    text(
        status,
        format!(
            "{word}\n{loaded} of {sites} sites loaded, {behind} behind their bucket, {refusals} snapshots refused\n"
        ),
    )
}

/// The answer, if the method only reads.
fn only_read<B>(request: &Request<B>, api: Api, answer: impl FnOnce() -> Response) -> Response {
    if reads(request.method()) { answer() } else { refuse(api) }
}

fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The answer to a method that writes.
fn refuse(api: Api) -> Response {
    let message = "this registry is only read from; images are published to it with `raas push`";
    let mut response = fail(api, &Failure::new(Code::Unsupported, message));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// An error in an API's form.
fn fail(api: Api, failure: &Failure) -> Response {
    let status = failure.code.status();
    let mut response = match api {
        Api::V2 => reply(status, "application/json", failure.json()),
        Api::V1 | Api::Plain => text(status, format!("{}\n", failure.message)),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    marked(api, response)
}

/// The answer with what every answer of its API says of the registry.
fn marked(api: Api, mut response: Response) -> Response {
    match api {
        Api::V1 => v1::mark(response.headers_mut()),
        Api::V2 => v2::mark(response.headers_mut()),
        Api::Plain => {}
    }
    response
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response {
    reply(status, "text/plain; charset=utf-8", text)
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let bytes = body.into();
    let mut headers = headers::empty();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn redirect(status: StatusCode, location: HeaderValue) -> Response {
    let mut headers = headers::empty();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CONTENT_LENGTH, NO_BYTES);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A text that was checked when it was loaded, as a header.
fn checked(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("a URL was checked to be visible ASCII when it was loaded")
}
