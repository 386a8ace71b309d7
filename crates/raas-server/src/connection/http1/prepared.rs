//! The answers of this second, ready to be sent again.
//!
//! When a release comes out, many clients of a kind send the very same bytes. Within a second, the answer to the same
//! bytes is the same too, with its date: it is sent again without parsing the request. It is kept when a request comes
//! for the second time in a row at its place, so that requests that come once cost a hash only.
//!
//! Each thread of the server has its own few answers. An answer is not sent again once another snapshot is served.

use std::cell::RefCell;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::super::Repetition;
use super::head;
use crate::body::Body;
use crate::in_flight::ClientConnection;

/// The number of places. With its request, an answer takes about 24 KiB at most.
const PLACES: usize = 64;

/// The longest request that is looked up, in bytes. Those of container clients have 200 to 500.
const MAX_REQUEST: usize = 2 * 1024;

thread_local! {
    static PREPARED: RefCell<Prepared> = RefCell::new(Prepared::new());
}

struct Prepared {
    places: Vec<Place>,
    /// When the second of the answers ends. Answers of earlier seconds are gone.
    until: Option<Instant>,
    /// Clients choose their requests, and must not know which of them share a place.
    hasher: RandomState,
}

#[derive(Default)]
struct Place {
    /// The hash of the last request that belongs here.
    last: u64,
    answer: Option<PreparedAnswer>,
}

struct PreparedAnswer {
    request: Box<[u8]>,
    /// The head and the body.
    bytes: Box<[u8]>,
    body_length: usize,
    /// When the second of its date ends.
    until: Instant,
    repetition: Repetition,
}

/// The place of a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PlaceIndex(usize);

/// What is known about a request.
pub(super) enum Found {
    /// The answer, in the buffer. The request is in flight until the body is dropped.
    Answer(Body),
    /// It has come twice, and its answer may be kept at this place.
    Place(PlaceIndex),
    Nothing,
}

impl Prepared {
    fn new() -> Self {
        let places = std::iter::repeat_with(Place::default).take(PLACES).collect();
        Self { places, until: None, hasher: RandomState::new() }
    }
}

impl Place {
    /// Appends the answer to these bytes to `out`, if it is here.
    fn answer(
        &self,
        read: &[u8],
        client: &Arc<ClientConnection>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Body> {
        let answer = self.answer.as_ref().filter(|answer| {
            now < answer.until && *answer.request == *read && answer.repetition.is_of(&client.state)
        })?;
        out.extend_from_slice(&answer.bytes);
        let mut body = answer.repetition.report(client, now);
        body.count(answer.body_length as u64);
        Some(body)
    }
}

/// Looks for the answer to these bytes, and appends it to `out`. `last` is the place of the connection's last request,
/// which is often the same: then no hash is needed.
pub(super) fn find(
    read: &[u8],
    last: &mut PlaceIndex,
    client: &Arc<ClientConnection>,
    now: Instant,
    out: &mut Vec<u8>,
) -> Found {
    if read.len() > MAX_REQUEST {
        return Found::Nothing;
    }
    PREPARED.with_borrow_mut(|Prepared { places, hasher, .. }| {
        if let Some(body) = places[last.0].answer(read, client, now, out) {
            return Found::Answer(body);
        }
        let hash = hasher.hash_one(read);
        *last = PlaceIndex(hash as usize % PLACES);
        let place = &mut places[last.0];
        if place.last != hash {
            place.last = hash;
            return Found::Nothing;
        }
        match place.answer(read, client, now, out) {
            Some(body) => Found::Answer(body),
            None => Found::Place(*last),
        }
    })
}

/// Keeps the answer to these bytes, which this thread has just written.
pub(super) fn keep(
    PlaceIndex(at): PlaceIndex,
    read: &[u8],
    bytes: &[u8],
    body_length: usize,
    repetition: Repetition,
) {
    let Some(until) = head::date_ends() else { return };
    let answer = PreparedAnswer { request: read.into(), bytes: bytes.into(), body_length, until, repetition };
    PREPARED.with_borrow_mut(|prepared| {
        if prepared.until.replace(until) != Some(until) {
            // They may keep the memory of an earlier snapshot.
            prepared.places.iter_mut().for_each(|place| place.answer = None);
        }
        prepared.places[at].answer = Some(answer);
    });
}
