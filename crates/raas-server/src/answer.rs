//! From a request to its answer.

use std::cell::Cell;
use std::time::Duration;

use hyper::header;
use hyper::{Method, Request, StatusCode};

use crate::auth::{self, Gate, Peer, Visitor};
use crate::error::{Code, Failure};
use crate::file::Opened;
use crate::headers::Headers;
use crate::metrics::Fetched;
use crate::response::Response;
use crate::route::{self, Api, Route};
use crate::shared::Shared;
use crate::site::{Site, Snapshot};
use crate::{file, host, proxy, query};

mod asked;
mod crane;
mod health;
mod listing;
mod page;
mod reply;
mod token;
mod v1;
mod v2;

use asked::Asked;
pub(crate) use asked::Noted;
pub(crate) use health::answer_operator;
use health::{ready, revision};
use reply::{IMMUTABLE, IMMUTABLE_FOR_ONE, fail, marked, only_read, redirect, text, without_bytes};

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
    fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Decision::Ready(response) => &mut response.headers,
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
        && response.headers.get(&header::CACHE_CONTROL) == Some(&IMMUTABLE)
    {
        // A cache between us must not give it to others.
        response.headers.insert(header::CACHE_CONTROL, IMMUTABLE_FOR_ONE);
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
    response.headers.insert(header::RETRY_AFTER, seconds.into());
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
            response.headers.insert(header::CONTENT_RANGE, length);
            response
        }
    }
}
