//! From a request to its answer.

use std::cell::Cell;
use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use raas_types::RepositoryName;

use crate::Response;
use crate::auth::{self, Gate, Peer, Visitor};
use crate::catalog::Catalog;
use crate::error::{Code, Failure};
use crate::file::Opened;
use crate::metrics::{self, Fetched, To, What};
use crate::range::{self, Span};
use crate::route::{self, Api, Route};
use crate::shared::Shared;
use crate::site::{Site, Snapshot};
use crate::{file, host, proxy, query};

mod crane;
mod listing;
mod page;
mod reply;
mod token;
mod v1;
mod v2;

use reply::{
    IMMUTABLE, IMMUTABLE_FOR_ONE, checked, fail, marked, only_read, redirect, reply, text, without_bytes,
};

/// Which requests are noted, with what they were for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Those that can change what is counted.
    Counted,
    /// All, for the access log.
    All,
}

/// An answer, or what is to be opened for it.
enum Decision {
    Ready(Response),
    Open(Opening),
}

/// What has an answer's bytes. In boxes, so that answers that are ready, which are nearly all, do not carry their size.
pub(crate) enum Opening {
    File(Box<file::Plan>),
    PassOn(Box<proxy::Plan>),
}

impl Decision {
    /// The headers that the answer begins with.
    fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Decision::Ready(response) => response.headers_mut(),
            Decision::Open(Opening::File(plan)) => &mut plan.headers,
            Decision::Open(Opening::PassOn(plan)) => &mut plan.headers,
        }
    }
}

impl From<Response> for Decision {
    fn from(response: Response) -> Self {
        Decision::Ready(response)
    }
}

impl From<file::Plan> for Decision {
    fn from(plan: file::Plan) -> Self {
        Decision::Open(Opening::File(Box::new(plan)))
    }
}

impl From<proxy::Plan> for Decision {
    fn from(plan: proxy::Plan) -> Self {
        Decision::Open(Opening::PassOn(Box::new(plan)))
    }
}

/// What the answers of a site need of a request.
struct Asked<'a> {
    site: &'a Site,
    catalog: &'a Catalog,
    secure: bool,
    visitor: &'a Visitor,
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    noted: Noted,
    /// What it turns out to be for.
    fetched: &'a Cell<Option<Fetched>>,
}

impl<'a> Asked<'a> {
    /// The host that the client names.
    fn host(&self) -> Option<&'a str> {
        host::from_parts(self.uri, self.headers)
    }

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
        let host = self.host().unwrap_or("localhost");
        let value = self.site.gate.challenge(host, scope, self.secure, error);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        response
    }

    /// Notes what the request is for, for the access log and for what is counted.
    fn fetched(&self, repository: &RepositoryName, what: What) {
        if self.noted == Noted::Counted && !what.counts() {
            return;
        }
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
        self.site.redirected.add(to, bytes);
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
        without_bytes(&mut response);
    }
    response
}

/// What has to be waited for until a request can be answered.
pub(crate) enum Waits {
    /// Whoever says who asks.
    Gate(Gate),
    /// What has the bytes.
    Bytes(Opening, Option<Fetched>),
}

/// Answers a request, and says what it was for, if that needs nothing but what is in memory: of a site that lets
/// everybody in, which nearly all do, that is all but the bytes of layers.
pub(crate) fn answer_at_once<B>(
    shared: &Shared,
    request: &Request<B>,
    noted: Noted,
) -> Result<(Response, Option<Fetched>), Waits> {
    let snapshot = shared.current.load();
    let question = Question { shared, snapshot: &snapshot, request, noted };
    let site = question.site();
    if let Some(gate) = site.map(|site| &site.gate).filter(|gate| gate.opens()) {
        return Err(Waits::Gate(gate.clone()));
    }
    match question.decide(site, &Visitor::Stranger) {
        (Decision::Ready(mut response), fetched) => {
            finish(request, &Visitor::Stranger, &mut response);
            Ok((response, fetched))
        }
        (Decision::Open(opening), fetched) => Err(Waits::Bytes(opening, fetched)),
    }
}

/// Answers a request, and says what it was for, once what has to be waited for is there.
pub(crate) async fn answer<B>(
    waits: Waits,
    shared: &Shared,
    request: &Request<B>,
    peer: &Peer<'_>,
    noted: Noted,
) -> (Response, Option<Fetched>) {
    let Shared { client, throttle, .. } = shared;
    let (decision, fetched, visitor) = match waits {
        Waits::Bytes(opening, fetched) => (Decision::Open(opening), fetched, Visitor::Stranger),
        Waits::Gate(gate) => {
            let visitor = auth::visitor(&gate, throttle, peer, request.headers()).await;
            // After what was waited for, so that no snapshot is kept meanwhile.
            let snapshot = shared.current.load();
            let question = Question { shared, snapshot: &snapshot, request, noted };
            let (decision, fetched) = question.decide(question.site(), &visitor);
            (decision, fetched, visitor)
        }
    };
    let (method, headers) = (request.method(), request.headers());
    let mut response = match decision {
        Decision::Ready(response) => response,
        Decision::Open(Opening::File(plan)) => opened(plan.open(method, headers).await, request),
        Decision::Open(Opening::PassOn(plan)) => opened(plan.open(client, method, headers).await, request),
    };
    finish(request, &visitor, &mut response);
    (response, fetched)
}

/// What all answers have in common.
fn finish<B>(request: &Request<B>, visitor: &Visitor, response: &mut Response) {
    if matches!(visitor, Visitor::User | Visitor::Holder(_))
        && response.headers().get(header::CACHE_CONTROL) == Some(&IMMUTABLE)
    {
        // A cache between us must not give it to others.
        response.headers_mut().insert(header::CACHE_CONTROL, IMMUTABLE_FOR_ONE);
    }
    if request.method() == Method::HEAD {
        without_bytes(response);
    }
}

/// What a request is decided from.
struct Question<'a, B> {
    shared: &'a Shared,
    snapshot: &'a Snapshot,
    request: &'a Request<B>,
    noted: Noted,
}

impl<'a, B> Question<'a, B> {
    fn site(&self) -> Option<&'a Site> {
        host::pick(self.snapshot, host::requested(self.request))
    }

    fn decide(&self, site: Option<&Site>, visitor: &Visitor) -> (Decision, Option<Fetched>) {
        let fetched = Cell::default();
        (decide(self, site, visitor, &fetched), fetched.take())
    }
}

fn decide<B>(
    question: &Question<'_, B>,
    site: Option<&Site>,
    visitor: &Visitor,
    fetched: &Cell<Option<Fetched>>,
) -> Decision {
    let Question { shared, snapshot, request, noted } = *question;
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
    let Some(site) = site else {
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
        secure: shared.is_secure(),
        visitor,
        method: request.method(),
        uri,
        headers: request.headers(),
        noted,
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
