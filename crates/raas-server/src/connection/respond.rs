//! Answers a request, and reports it to the metrics, the pull counters, the access log and the traces.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};

use crate::access_log::{AccessLogLine, LoggedRequest};
use crate::answer::{FromMemory, Pending, Tracked, answer, answer_from_memory, repeatable_site};
use crate::auth::Peer;
use crate::body::Body;
use crate::fetched::{Countable, CountableRequest, Fetched};
use crate::http::forwarded::{self, Remote};
use crate::http::{headers, host};
use crate::in_flight::{ClientConnection, InFlight};
use crate::response::Response;
use crate::route;

mod repetition;
mod slow_request;

pub(super) use repetition::Repetition;
use slow_request::SlowRequest;

/// An answer in progress. Nearly all are ready at once, without a boxed future.
pub(super) enum Answering {
    /// None after it was returned.
    Ready(Option<Response>),
    Pending(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl Future for Answering {
    type Output = Result<hyper::Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Answering::Ready(response) => {
                let response = response.take().expect("a future is not polled after it is ready");
                Poll::Ready(Ok(response.into()))
            }
            Answering::Pending(pending) => pending.as_mut().poll(cx).map(|response| Ok(response.into())),
        }
    }
}

/// Answers a request that hyper has read.
pub(super) fn respond(client: &Arc<ClientConnection>, request: Request<Incoming>) -> Answering {
    if !request.body().is_end_stream() {
        client.progress.has_body();
    }
    let (report, tracked) = RequestReport::begin(Arc::clone(client), &request, Instant::now());
    match answer_from_memory(&client.state, &request, tracked, client.remote) {
        Ok(FromMemory { response, fetched, .. }) => {
            Answering::Ready(Some(report.end(request, response, fetched, None)))
        }
        Err(pending) => Answering::Pending(Box::pin(report.wait(pending, request, tracked))),
    }
}

/// Answers a request without a body, and waits for what memory does not have.
pub(super) async fn respond_in_time(
    client: &Arc<ClientConnection>,
    request: Request<()>,
    now: Instant,
) -> Response {
    let (report, tracked) = RequestReport::begin(Arc::clone(client), &request, now);
    match answer_from_memory(&client.state, &request, tracked, client.remote) {
        Ok(FromMemory { response, fetched, .. }) => report.end(request, response, fetched, None),
        Err(pending) => report.wait(pending, request, tracked).await,
    }
}

/// Answers a request without a body, if memory can answer it.
pub(super) fn respond_from_memory(
    client: &Arc<ClientConnection>,
    request: Request<()>,
    now: Instant,
) -> Option<Response> {
    let (report, tracked) = RequestReport::begin(Arc::clone(client), &request, now);
    let FromMemory { response, fetched, .. } =
        answer_from_memory(&client.state, &request, tracked, client.remote).ok()?;
    Some(report.end(request, response, fetched, None))
}

/// Like [`respond_from_memory`]. The second value tells how to report the same answer again, if it depends only on the
/// request's bytes, on the snapshot and on the second: a signed URL does on the last.
pub(super) fn respond_repeatably(
    client: &Arc<ClientConnection>,
    request: Request<()>,
    now: Instant,
) -> Option<(Response, Option<Repetition>)> {
    let state = &client.state;
    let snapshot = state.current.load_full();
    let (report, tracked) = RequestReport::begin(Arc::clone(client), &request, now);
    // A trace is about one request.
    let site = repeatable_site(state, &snapshot, &request).filter(|_| state.traces.is_none());
    let FromMemory { response, fetched, redirected } =
        answer_from_memory(state, &request, tracked, client.remote).ok()?;
    let status = response.status;
    let Some(site) = site.filter(|_| matches!(status, StatusCode::OK | StatusCode::TEMPORARY_REDIRECT))
    else {
        return Some((report.end(request, response, fetched, None), None));
    };
    let countable = report.countable(&request, &response, fetched.clone());
    let response = report.end(request, response, fetched, None);
    let repetition = Repetition {
        snapshot: Arc::downgrade(&snapshot),
        status,
        countable: countable.map(Arc::new),
        redirected: redirected.map(|(target, bytes)| (Arc::clone(&site.redirected), target, bytes)),
        logged: response.body.log_line().map(|line| Arc::clone(&line.request)),
    };
    // A snapshot that was replaced never returns, so the answer is from this one if it is still the current one.
    let is_current = repetition.is_of(state);
    Some((response, is_current.then_some(repetition)))
}

/// Tells the traces of a slow request whose connection ends before the answer begins: this is dropped then.
struct Unanswered<'a, B> {
    report: &'a RequestReport,
    request: &'a Request<B>,
    waited_for: &'static str,
    is_answered: bool,
}

impl<B> Unanswered<'_, B> {
    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl<B> Drop for Unanswered<'_, B> {
    fn drop(&mut self) {
        let RequestReport { started, in_flight, .. } = self.report;
        if let Some(traces) = in_flight.client.state.traces.as_ref().filter(|_| !self.is_answered)
            && traces.is_slow(started.elapsed())
        {
            let (client, took, waited_for) = (&*in_flight.client, started.elapsed(), Some(self.waited_for));
            SlowRequest { request: self.request, client, took, waited_for }.abandoned(traces);
        }
    }
}

/// What is known of a request while it is answered.
struct RequestReport {
    started: Instant,
    in_flight: InFlight,
    remote: Remote,
    logged: Option<LoggedRequest>,
}

impl RequestReport {
    fn begin<B>(client: Arc<ClientConnection>, request: &Request<B>, started: Instant) -> (Self, Tracked) {
        let remote = forwarded::client(&client.state.trusted_proxies, client.remote, request.headers());
        let logged = LoggedRequest::of(request);
        let is_told = logged.is_some() || client.state.traces.is_some();
        let tracked = if is_told { Tracked::All } else { Tracked::Counted };
        (Self { started, in_flight: InFlight::begin(client), remote, logged }, tracked)
    }

    /// Waits for what an answer needs besides the memory.
    async fn wait<B>(self, pending: Pending, request: Request<B>, tracked: Tracked) -> Response {
        let ClientConnection { state, certificates, progress, remote } = &*self.in_flight.client;
        let is_forwarded_tls = forwarded::is_tls(&state.trusted_proxies, *remote, request.headers());
        let certificates = certificates.as_ref();
        let in_flight = progress.in_flight();
        let peer = Peer { address: self.remote.ip(), certificates, is_forwarded_tls, in_flight };
        let waited_for = pending.what();
        let unanswered = Unanswered { report: &self, request: &request, waited_for, is_answered: false };
        let (response, fetched) = answer(pending, state, &request, &peer, tracked).await;
        unanswered.answered();
        self.end(request, response, fetched, Some(waited_for))
    }

    /// Reports the answer, and recycles the memory of the request's headers. `waited_for` is what the answer was waited for.
    fn end<B>(
        mut self,
        request: Request<B>,
        mut response: Response,
        fetched: Option<Fetched>,
        waited_for: Option<&'static str>,
    ) -> Response {
        let logged = self.logged.take();
        let Self { started, in_flight, remote, .. } = &self;
        let state = &in_flight.client.state;
        let status = response.status;
        let took = started.elapsed();
        state.metrics.answered(route::api(request.uri().path()), status, took);
        if let Some(traces) = &state.traces
            && traces.is_slow(took)
        {
            let (client, request) = (&*in_flight.client, &request);
            SlowRequest { request, client, took, waited_for }.answered(status, fetched.as_ref(), traces);
        }
        let log_line = logged.map(|request| {
            let request = request.answered(status, fetched.clone());
            AccessLogLine { request, remote: *remote, started: *started }
        });
        if let Some(what) = self.countable(&request, &response, fetched) {
            state.pull_queue.push(CountableRequest { client: remote.ip(), what: Arc::new(what) });
        }
        let Self { in_flight, .. } = self;
        response.body.record(log_line, in_flight);
        headers::recycle(request.into_parts().0.headers);
        response
    }

    /// What the counters of pulls get to know of a request.
    fn countable<B>(
        &self,
        request: &Request<B>,
        response: &Response,
        fetched: Option<Fetched>,
    ) -> Option<Countable> {
        let (state, status) = (&self.in_flight.client.state, response.status);
        let is_success = status.is_success() || status.is_redirection();
        let fetched = fetched.filter(|fetched| is_success && fetched.item.is_countable())?;
        let host = || Some((host::requested(request)?.into(), state.is_secure()));
        Some(Countable {
            fetched,
            got: request.method() == Method::GET && status != StatusCode::NOT_MODIFIED,
            user_agent: request.headers().get(USER_AGENT).and_then(user_agent),
            host: if state.pull_queue.notifier.is_some() { host() } else { None },
        })
    }
}

/// The beginning of the `User-Agent` as a text of its own. The header's value is a slice of the read buffer and would
/// keep all of it alive.
fn user_agent(value: &HeaderValue) -> Option<Box<str>> {
    /// Long enough to tell clients apart, and short enough to wait in the pull queue thousands of times.
    const MAX: usize = 256;
    // `to_str` returns only ASCII, so the text can be cut anywhere.
    value.to_str().ok().map(|text| text[..text.len().min(MAX)].into())
}
