//! From a request to its answer, and what is noted on the way.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};

use super::Client;
use crate::access::Record;
use crate::answer::{Noted, answer, answer_at_once};
use crate::auth::Peer;
use crate::body::Body;
use crate::forwarded::{self, Remote};
use crate::metrics::{Asked, Fetched};
use crate::response::Response;
use crate::{headers, host, route};

/// An answer on its way. Nearly all are there at once, and nothing is kept of their request.
pub(super) enum Responding {
    /// Nothing once it was given away.
    There(Option<Response>),
    Waits(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl Future for Responding {
    type Output = Result<hyper::Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Responding::There(response) => {
                let response = response.take().expect("a future that is done is asked no more");
                Poll::Ready(Ok(response.into()))
            }
            Responding::Waits(waits) => waits.as_mut().poll(cx).map(|response| Ok(response.into())),
        }
    }
}

/// Answers a request.
pub(super) fn respond(client: &Arc<Client>, request: Request<Incoming>) -> Responding {
    if !request.body().is_end_stream() {
        client.pace.has_body();
    }
    let (note, noted) = Note::begin(Arc::clone(client), &request, Instant::now());
    match answer_at_once(&client.shared, &request, noted) {
        Ok((response, fetched)) => Responding::There(Some(note.end(request, response, fetched))),
        Err(waits) => Responding::Waits(Box::pin(async move {
            let Client { shared, presented, .. } = &*note.begun.client;
            let peer = Peer { address: note.remote.ip(), presented: presented.as_ref() };
            let (response, fetched) = answer(waits, shared, &request, &peer, noted).await;
            note.end(request, response, fetched)
        })),
    }
}

/// Answers a request without a body, if that can be done at once.
pub(super) fn respond_at_once(client: &Arc<Client>, request: Request<()>, now: Instant) -> Option<Response> {
    let (note, noted) = Note::begin(Arc::clone(client), &request, now);
    let (response, fetched) = answer_at_once(&client.shared, &request, noted).ok()?;
    Some(note.end(request, response, fetched))
}

/// What is noted of a request while it is answered.
struct Note {
    started: Instant,
    begun: Begun,
    remote: Remote,
    record: Option<Box<Record>>,
}

impl Note {
    fn begin<B>(client: Arc<Client>, request: &Request<B>, started: Instant) -> (Self, Noted) {
        let remote = forwarded::client(&client.shared.trusted_proxies, client.remote, request.headers());
        let record = Record::begin(request, remote, started);
        let noted = if record.is_some() { Noted::All } else { Noted::Counted };
        (Self { started, begun: Begun::new(client), remote, record }, noted)
    }

    /// The answer is there, and its request is let go of.
    fn end<B>(self, request: Request<B>, mut response: Response, fetched: Option<Fetched>) -> Response {
        let Self { started, begun, remote, mut record } = self;
        let shared = &begun.client.shared;
        let status = response.status;
        shared.metrics.answered(route::api(request.uri().path()), status, started.elapsed());
        let good = status.is_success() || status.is_redirection();
        if let Some(record) = &mut record {
            record.answered(status, fetched.clone());
        }
        if let Some(fetched) = fetched.filter(|fetched| good && fetched.what.counts()) {
            let host = || Some((host::requested(&request)?.into(), shared.is_secure()));
            shared.tally.take(Asked {
                fetched,
                got: request.method() == Method::GET && status != StatusCode::NOT_MODIFIED,
                client: remote.ip(),
                user_agent: request.headers().get(USER_AGENT).and_then(user_agent),
                host: if shared.tally.notifier.is_some() { host() } else { None },
            });
        }
        response.body.record(record, begun);
        headers::keep(request.into_parts().0.headers);
        response
    }
}

/// The beginning of what a client calls itself, as a text of its own: the header's is a piece of all that was read of the
/// connection, and keeps that.
fn user_agent(value: &HeaderValue) -> Option<Box<str>> {
    /// More than tells one client from another, and no more than may wait to be counted a thousand times.
    const MOST: usize = 256;
    // It is ASCII if it is text, so that it can be cut anywhere.
    value.to_str().ok().map(|text| text[..text.len().min(MOST)].into())
}

/// A request that is being answered, until this is dropped.
pub(crate) struct Begun {
    pub(crate) client: Arc<Client>,
}

impl Begun {
    fn new(client: Arc<Client>) -> Self {
        client.pace.begin();
        Self { client }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.client.pace.end();
    }
}
