//! The fast path: answers requests that arrive whole and that memory can answer, which nearly all do.
//!
//! The connection needs no buffer of its own for them. Every other request goes to hyper, with all bytes that were read
//! of it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::sleep_until;

use super::super::write_timeout::Plain;
use super::super::{respond_from_memory, respond_repeatably};
use super::buffered::BufferedStream;
use super::idle::IdleTimer;
use super::interrupts::Interrupts;
use super::prepared::{self, Found, PlaceIndex};
use super::{head, request, waiting};
use crate::body::Body;
use crate::in_flight::ClientConnection;
use crate::response::Response;
use crate::shutdown::ShutdownWatch;

/// The longest request of the fast path, in bytes.
const MAX: usize = 8 * 1024;

/// The longest body that is copied behind its head, so that both take one write, in bytes.
const MAX_COPIED: usize = 16 * 1024;

thread_local! {
    /// The read buffer that all connections of a thread share. The next request overwrites a request that was dropped.
    static REQUESTS: RefCell<BytesMut> = RefCell::default();
    /// The empty write buffer of the last answer.
    static ANSWER: Cell<Vec<u8>> = Cell::default();
}

/// Why the fast path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// The client closed the connection, or the server stops.
    Closed,
    /// No request came within the time limit.
    TimedOut,
    /// Something else than a plain request came. It was put back.
    NotPlain,
}

/// What comes next on a connection.
enum Arrival {
    Read(Bytes),
    Exit(Exit),
}

/// Answers requests until one comes that the fast path cannot answer.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Plain + Unpin>(
    stream: &mut BufferedStream<S>,
    client: &Arc<ClientConnection>,
    idle: &mut IdleTimer,
    shutdown: &mut ShutdownWatch,
) -> Exit {
    let is_stopping = shutdown.flag();
    // Whether the server stops and waits only for the first request of the connection.
    let mut waits_for_first = false;
    let (timer, requested) = (pin!(sleep_until(idle.until().into())), pin!(shutdown.requested()));
    let mut interrupts = Interrupts::new(Arc::clone(&is_stopping), requested, timer);
    let mut place = PlaceIndex::default();
    loop {
        let next = std::future::poll_fn(|cx| {
            // Before the shutdown, so that a request that has arrived is answered.
            if let Poll::Ready(next) = poll_read(stream, cx) {
                return Poll::Ready(next);
            }
            if !waits_for_first && interrupts.poll_shutdown(cx) {
                if client.progress.has_begun() {
                    return Poll::Ready(Arrival::Exit(Exit::Closed));
                }
                waits_for_first = true;
                interrupts.set_timer(idle.until().min(Instant::now() + client.state.first_request).into());
            }
            while interrupts.poll_timer(cx) {
                if waits_for_first {
                    return Poll::Ready(Arrival::Exit(Exit::Closed));
                }
                // Requests that were answered meanwhile have moved the deadline without setting the timer.
                if Instant::now() >= idle.until() {
                    return Poll::Ready(Arrival::Exit(Exit::TimedOut));
                }
                interrupts.set_timer(idle.until().into());
            }
            interrupts.armed();
            Poll::Pending
        });
        let read = match next.await {
            Arrival::Read(read) => read,
            Arrival::Exit(exit) => return exit,
        };
        let (now, is_last) = (Instant::now(), is_stopping.load(Ordering::Acquire));
        let Some(mut answer) = Answer::to(&read, &mut place, client, now, is_last) else {
            // A copy: a client that waits, or sends the rest of its head slowly, must not keep the thread's buffer alive.
            let read = Bytes::copy_from_slice(&read);
            if stream.socket().is_some()
                && let Some(request) = request::parse(&read)
            {
                drop(read);
                // Boxed, so that an idle connection takes no memory for it.
                let answered = Box::pin(waiting::answer(stream, client, request, now, &is_stopping)).await;
                if answered.is_err() || is_stopping.load(Ordering::Acquire) {
                    return Exit::Closed;
                }
                idle.answered(&client.progress, Instant::now());
                continue;
            }
            stream.put_back(read);
            client.progress.part_of_head();
            return Exit::NotPlain;
        };
        drop(read);
        let mut has_waited = false;
        let written = {
            let mut writing = pin!(answer.write(stream));
            let wait = std::future::poll_fn(|cx| {
                let written = writing.as_mut().poll(cx);
                has_waited |= written.is_pending();
                written
            });
            wait.await
        };
        if written.is_err() || is_last {
            return Exit::Closed;
        }
        answer.forget();
        // A client that received the answer slowly has its time from now on.
        idle.answered(&client.progress, if has_waited { Instant::now() } else { now });
    }
}

/// Reads what has arrived.
fn poll_read(stream: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<Arrival> {
    REQUESTS.with_borrow_mut(|room| {
        room.reserve(MAX);
        let read = std::task::ready!(pin!(stream.read_buf(room)).poll(cx));
        Poll::Ready(match read {
            Ok(1..) => Arrival::Read(room.split().freeze()),
            // Closed, or broken.
            Ok(0) | Err(_) => Arrival::Exit(Exit::Closed),
        })
    })
}

/// An answer that is ready to be written.
struct Answer {
    /// The head, with the body if that is short.
    begin: Vec<u8>,
    /// The body if it is long.
    rest: Bytes,
    /// Keeps the request in flight until the answer was written.
    _in_flight: Body,
}

impl Answer {
    /// The answer to a request with these bytes, if the fast path can answer it. `last` is the place of the last request.
    fn to(
        read: &Bytes,
        last: &mut PlaceIndex,
        client: &Arc<ClientConnection>,
        now: Instant,
        is_last: bool,
    ) -> Option<Self> {
        let mut begin = ANSWER.take();
        // The last answer has another head.
        let found =
            if is_last { Found::Nothing } else { prepared::find(read, last, client, now, &mut begin) };
        let place = match found {
            Found::Answer(body) => return Some(Self { begin, rest: Bytes::new(), _in_flight: body }),
            Found::Place(place) => Some(place),
            Found::Nothing => None,
        };
        // It is there again for the next answer if this one is not for the fast path.
        ANSWER.set(begin);
        let request = request::parse(read)?;
        let method = request.method().clone();
        let (response, repetition) = match place {
            Some(_) => respond_repeatably(client, request, now)?,
            None => (respond_from_memory(client, request, now)?, None),
        };
        let Response { status, headers, mut body } = response;
        let (mut begin, mut rest) = (ANSWER.take(), body.take());
        head::write(&mut begin, &method, status, &headers, Some(rest.len() as u64), is_last, now);
        if rest.len() <= MAX_COPIED {
            begin.extend_from_slice(&rest);
            if let (Some(place), Some(repetition)) = (place, repetition) {
                prepared::keep(place, read, &begin, rest.len(), repetition);
            }
            rest.clear();
        }
        Some(Self { begin, rest, _in_flight: body })
    }

    async fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.rest.is_empty() {
            stream.write_all(&self.begin).await?;
        } else {
            stream.write_all_buf(&mut Buf::chain(self.begin.as_slice(), &mut self.rest)).await?;
        }
        stream.flush().await
    }

    /// Gives the buffer of this answer to the next one.
    fn forget(mut self) {
        self.begin.clear();
        ANSWER.set(self.begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_written_whole_through_a_narrow_stream() {
        for length in [0, 1, MAX_COPIED, 5 * MAX_COPIED] {
            let (mut ours, mut theirs) = tokio::io::duplex(1000);
            let (begin, rest) = (b"head".to_vec(), Bytes::from(vec![b'x'; length]));
            let mut answer = Answer { begin, rest, _in_flight: Body::empty() };
            let sent = tokio::spawn(async move { answer.write(&mut ours).await });
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).await.unwrap();
            sent.await.unwrap().unwrap();
            assert_eq!(got.len(), 4 + length);
            assert!(got.starts_with(b"head") && got[4..].iter().all(|byte| *byte == b'x'));
        }
    }

    #[tokio::test]
    async fn the_shared_buffer_never_overwrites_a_request_in_use() {
        let (mut one, mut ones) = tokio::io::duplex(MAX);
        let (mut two, mut twos) = tokio::io::duplex(MAX);
        let mut kept = Vec::new();
        for n in 0..100 {
            let request = format!("{n:1000}");
            ones.write_all(request.as_bytes()).await.unwrap();
            twos.write_all(b"other").await.unwrap();
            for stream in [&mut one, &mut two] {
                let Arrival::Read(read) = std::future::poll_fn(|cx| poll_read(stream, cx)).await else {
                    panic!("something was written");
                };
                kept.push(read);
            }
            assert_eq!((&kept[2 * n][..], &kept[2 * n + 1][..]), (request.as_bytes(), &b"other"[..]));
        }
        assert!(kept.iter().step_by(2).enumerate().all(|(n, read)| *read == format!("{n:1000}")));
        drop(ones);
        let end = std::future::poll_fn(|cx| poll_read(&mut one, cx)).await;
        assert!(matches!(end, Arrival::Exit(Exit::Closed)));
    }
}
