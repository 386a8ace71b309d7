//! Answers a request.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use hyper::header;
use hyper::{Method, Request, StatusCode};

use crate::auth::{self, AccessPolicy, Peer, View, Visitor};
use crate::catalog::Catalog;
use crate::content::{ContentPlan, Opened};
use crate::error::{ApiError, ApiErrorCode};
use crate::fetched::Fetched;
use crate::http::{forwarded, host, query};
use crate::metrics::RedirectTarget;
use crate::origin::BaseUrl;
use crate::response::Response;
use crate::route::{self, Api, Route};
use crate::site::{Site, Snapshot};
use crate::state::ServerState;

mod crane;
mod decision;
mod feed;
mod health;
mod listing;
mod page;
mod reply;
mod site_request;
mod token;
mod v1;
mod v2;

use decision::Decision;
pub(crate) use health::answer_operator;
use health::{Audience, metadata, ready, revision};
use reply::{IMMUTABLE, IMMUTABLE_FOR_ONE, fail, marked, only_read, redirect, text, without_bytes};
pub(crate) use site_request::Tracked;
use site_request::{Notes, SiteRequest};

/// What must be waited for before a request can be answered.
pub(crate) enum Pending {
    /// The identity of the visitor. It may take the slow hash of a password.
    Visitor(AccessPolicy),
    /// The content of the answer.
    Content(ContentPlan, Option<Fetched>, Visitor),
}

impl Pending {
    /// What is waited for first, in a word.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Pending::Visitor(_) => "login",
            Pending::Content(ContentPlan::File(_), ..) => "file",
            Pending::Content(ContentPlan::Proxy(_), ..) => "origin",
        }
    }
}

/// An answer from memory.
pub(crate) struct FromMemory {
    pub(crate) response: Response,
    /// What the request was for.
    pub(crate) fetched: Option<Fetched>,
    /// Where it redirects to, and the bytes that were counted for that.
    pub(crate) redirected: Option<(RedirectTarget, u64)>,
}

/// Answers a request from memory. Fails if something must be waited for: the content of a layer, or the visitor of a site
/// that has an access policy.
#[expect(
    clippy::result_large_err,
    reason = "the error is moved once; a box would cost each waiting request an allocation"
)]
pub(crate) fn answer_from_memory<B>(
    state: &ServerState,
    request: &Request<B>,
    tracked: Tracked,
    remote: SocketAddr,
) -> Result<FromMemory, Pending> {
    let snapshot = state.current.load();
    let mut question = Question { state, snapshot: &snapshot, request, tracked, is_forwarded_tls: false };
    let site = question.site();
    let mut visitor = Visitor::Anonymous;
    if let Some(access) = site.map(|site| &site.access).filter(|access| access.admits_anyone()) {
        match auth::identify_at_once(access, request.headers(), SystemTime::now()) {
            Some(found) => visitor = found,
            None => return Err(Pending::Visitor(access.clone())),
        }
        question.is_forwarded_tls = forwarded::is_tls(&state.trusted_proxies, remote, request.headers());
    }
    match question.decide(site, &visitor) {
        (Decision::Ready(mut response), notes) => {
            finish(request, &visitor, &mut response);
            let Notes { fetched, redirected } = notes;
            Ok(FromMemory { response, fetched: fetched.into_inner(), redirected: redirected.into_inner() })
        }
        (Decision::Wait(plan), notes) => Err(Pending::Content(plan, notes.fetched.into_inner(), visitor)),
    }
}

/// The site whose answer to a request depends only on the request's bytes, the snapshot and the second: it admits
/// everybody. `None` if the answer may depend on more. Only content of the v2 API counts, since nothing else is asked for so
/// often.
pub(crate) fn repeatable_site<'s, B>(
    state: &ServerState,
    snapshot: &'s Snapshot,
    request: &Request<B>,
) -> Option<&'s Site> {
    if !state.trusted_proxies.is_empty() || route::api(request.uri().path()) != Api::V2 {
        return None;
    }
    snapshot.site_for_host(host::requested(request)).filter(|site| !site.access.admits_anyone())
}

/// Answers a request that [`answer_from_memory`] could not answer, and returns what it was for.
pub(crate) async fn answer<B>(
    pending: Pending,
    state: &ServerState,
    request: &Request<B>,
    peer: &Peer<'_>,
    tracked: Tracked,
) -> (Response, Option<Fetched>) {
    let ServerState { client, throttle, .. } = state;
    let (decision, fetched, visitor) = match pending {
        Pending::Content(plan, fetched, visitor) => (Decision::Wait(plan), fetched, visitor),
        Pending::Visitor(access) => {
            let visitor = auth::identify(&access, throttle, peer, request.headers()).await;
            // Loaded after the wait, so that no old snapshot stays in memory meanwhile.
            let snapshot = state.current.load();
            let is_forwarded_tls = peer.is_forwarded_tls;
            let question = Question { state, snapshot: &snapshot, request, tracked, is_forwarded_tls };
            let (decision, notes) = question.decide(question.site(), &visitor);
            (decision, notes.fetched.into_inner(), visitor)
        }
    };
    let (method, headers) = (request.method(), request.headers());
    let mut response = match decision {
        Decision::Ready(response) => response,
        Decision::Wait(ContentPlan::File(plan)) => opened(plan.open(method, headers).await, request),
        Decision::Wait(ContentPlan::Proxy(plan)) => {
            opened(plan.open(client, method, headers, peer.in_flight).await, request)
        }
    };
    finish(request, &visitor, &mut response);
    (response, fetched)
}

/// Completes an answer with what all answers have in common.
fn finish<B>(request: &Request<B>, visitor: &Visitor, response: &mut Response) {
    if visitor.sees_protected() && response.headers.get(&header::CACHE_CONTROL) == Some(&IMMUTABLE) {
        // A shared cache must not give a protected manifest to other clients.
        response.headers.insert(header::CACHE_CONTROL, IMMUTABLE_FOR_ONE);
    }
    if request.method() == Method::HEAD {
        without_bytes(response);
    }
}

/// The inputs of a decision.
struct Question<'a, B> {
    state: &'a ServerState,
    snapshot: &'a Snapshot,
    request: &'a Request<B>,
    tracked: Tracked,
    /// Whether a trusted proxy says that the client has used TLS.
    is_forwarded_tls: bool,
}

impl<'a, B> Question<'a, B> {
    fn site(&self) -> Option<&'a Site> {
        self.snapshot.site_for_host(host::requested(self.request))
    }

    fn decide(&self, site: Option<&Site>, visitor: &Visitor) -> (Decision, Notes) {
        let notes = Notes::default();
        (decide(self, site, visitor, &notes), notes)
    }
}

fn decide<B>(question: &Question<'_, B>, site: Option<&Site>, visitor: &Visitor, notes: &Notes) -> Decision {
    let Question { state, snapshot, request, tracked, is_forwarded_tls } = *question;
    let uri = request.uri();
    let Some(path) = query::decode(uri.path()) else {
        let failure = ApiError::new(ApiErrorCode::BadRequest, "the path has invalid percent-encoding");
        return fail(route::api(uri.path()), &failure).into();
    };
    let route = route::parse(&path);
    let api = route.api();
    match route {
        Route::Health => return only_read(request, api, || text(StatusCode::OK, "ok\n")).into(),
        Route::Ready => {
            return only_read(request, api, || ready(state, snapshot, Audience::Everybody)).into();
        }
        _ => {}
    }
    let Some(site) = site else {
        // Clients interpret the code: UNSUPPORTED would make them believe that this is a registry of another API. The host may
        // be that of a vendor who cannot be served: a 404 would say that its images are gone.
        let failure = match snapshot.may_be_refused(host::requested(request)) {
            false => ApiError::new(ApiErrorCode::NameUnknown, "there is no registry at this host"),
            true => ApiError::new(ApiErrorCode::Unavailable, "there is no registry at this host at present"),
        };
        return match api {
            Api::Plain => page::no_registry(request.headers(), &failure),
            Api::V1 | Api::V2 => fail(api, &failure),
        }
        .into();
    };
    if let Route::Metadata = route {
        return only_read(request, api, || metadata(site)).into();
    }
    let Some(catalog) = &site.catalog else {
        let message = "this registry has not loaded its metadata yet; try again later";
        return fail(api, &ApiError::new(ApiErrorCode::Unavailable, message)).into();
    };
    let own;
    let view = match visitor {
        Visitor::Customer(visit) => Some(visit.view(&route, catalog)),
        Visitor::Entitled(entitlements) => Some(entitlements.view(&route, catalog)),
        _ => None,
    };
    let catalog: &Catalog = match (view, visitor) {
        (Some(View::Whole), _) | (None, Visitor::User(_)) => catalog.whole(),
        (Some(View::Own(view)), _) => {
            own = view;
            &own
        }
        (None, Visitor::TokenBearer(granted)) if granted.allow(&route, catalog.whole()) => catalog.whole(),
        (Some(View::Public) | None, _) => catalog,
    };
    if let Visitor::Throttled(wait) = visitor {
        return wait_first(api, *wait).into();
    }
    if route == Route::Token
        && let Some(response) = token::answer(&site.access, visitor, uri.query())
    {
        return only_read(request, api, || response).into();
    }
    let site_request = SiteRequest {
        site,
        catalog,
        secure: match &state.public_url {
            Some(url) => url.is_https(),
            None => state.is_secure() || is_forwarded_tls,
        },
        public_host: state.public_url.as_ref().filter(|_| snapshot.sites.len() == 1).map(BaseUrl::host),
        visitor,
        method: request.method(),
        uri,
        headers: request.headers(),
        tracked,
        notes,
    };
    let refusal = match visitor {
        Visitor::BadCredentials => Some("the user name, the password or the token is wrong"),
        Visitor::RefusedKey(reason) => Some(reason.as_str()),
        _ => None,
    };
    if let Some(reason) = refusal {
        let failure = ApiError::new(ApiErrorCode::Unauthorized, reason);
        return match route {
            Route::Page if site.access.checks_passwords() => page::challenge(&site_request, &failure),
            _ => site_request.challenge(api, &failure, None, Some("invalid_token")),
        }
        .into();
    }
    match route {
        Route::V2(route) => v2::answer(&site_request, route),
        Route::V1(route) => v1::answer(&site_request, route),
        Route::Page => only_read(request, api, || page::answer(&site_request)).into(),
        Route::Feed => only_read(request, api, || feed::answer(&site_request)).into(),
        Route::Crane { v2 } => only_read(request, api, || crane::answer(&site_request, v2)).into(),
        Route::Revision => only_read(request, api, || revision(catalog)).into(),
        Route::Unknown(Api::Plain) => page::not_found(&site_request, NOTHING).into(),
        Route::Health | Route::Ready | Route::Metadata | Route::Token | Route::Unknown(_) => {
            fail(api, &ApiError::new(ApiErrorCode::NotFound, NOTHING)).into()
        }
    }
}

/// The message for a path that means nothing.
const NOTHING: &str = "there is nothing at this path";

/// The answer to an address that has sent too many wrong passwords or tokens.
fn wait_first(api: Api, wait: Duration) -> Response {
    let message = "too many wrong passwords or tokens came from your address; try again later";
    let mut response = fail(api, &ApiError::new(ApiErrorCode::TooManyRequests, message));
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers.insert(header::RETRY_AFTER, seconds.into());
    response
}

fn opened<B>(opened: Opened, request: &Request<B>) -> Response {
    let path = request.uri().path();
    let api = route::api(&query::decode(path).unwrap_or_default());
    match opened {
        Opened::Answer(response) => *response,
        Opened::Redirect(location) => {
            let status = if api == Api::V2 { StatusCode::TEMPORARY_REDIRECT } else { StatusCode::FOUND };
            marked(api, redirect(status, location))
        }
        Opened::Error(failure) => fail(api, &failure),
        Opened::RangeBeyondEnd(length) => {
            let mut response =
                fail(api, &ApiError::new(ApiErrorCode::RangeInvalid, "the range begins beyond the end"));
            response.headers.insert(header::CONTENT_RANGE, length);
            response
        }
    }
}
