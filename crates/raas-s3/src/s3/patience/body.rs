//! Bodies of requests and answers that note when bytes pass.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::{Exchange, Progress};

/// How many bytes are handed over at once. A part of many megabytes would otherwise be one step.
const PIECE: usize = 64 << 10;

type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request, in small pieces. Each piece is progress.
pub(super) fn sent(body: SdkBody, progress: &Arc<Progress>) -> SdkBody {
    if body.content_length() == Some(0) {
        return body;
    }
    SdkBody::from_body_1_x(Sent { body, rest: Bytes::new(), progress: progress.clone() })
}

struct Sent {
    body: SdkBody,
    rest: Bytes,
    progress: Arc<Progress>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        self.progress.advance();
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = Body::size_hint(&self.body);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// The body of an answer. It fails if no byte comes while somebody waits for it.
pub(super) fn received(body: SdkBody, exchange: &Arc<Exchange>) -> SdkBody {
    if body.content_length() == Some(0) {
        return body;
    }
    SdkBody::from_body_1_x(Received { body, exchange: exchange.clone(), waiting: None })
}

struct Received {
    body: SdkBody,
    exchange: Arc<Exchange>,
    waiting: Option<Waiting>,
}

/// A wait for the next bytes.
struct Waiting {
    since: Instant,
    said: bool,
    timer: Pin<Box<Sleep>>,
}

impl Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.waiting = None;
            return Poll::Ready(frame);
        }
        let Self { exchange, waiting, .. } = &mut *self;
        let limit = exchange.patience.stall.min(exchange.waits.left(&exchange.operation, &exchange.patience));
        let waiting = waiting.get_or_insert_with(|| {
            let timer = Box::pin(tokio::time::sleep(exchange.patience.quiet.min(limit)));
            Waiting { since: Instant::now(), said: false, timer }
        });
        ready!(waiting.timer.as_mut().poll(context));
        let now = waiting.since.elapsed();
        if waiting.said || now >= limit {
            self.waiting = None;
            let stalled = self.exchange.stalled(limit);
            return Poll::Ready(Some(Err(stalled.into())));
        }
        waiting.said = true;
        exchange.say_waiting(now);
        waiting.timer.as_mut().reset((waiting.since + limit).into());
        ready!(waiting.timer.as_mut().poll(context));
        // The timer has ended already, so it wakes nobody any more: the task must be polled again.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_body_goes_in_pieces_and_each_is_progress() {
        let progress = Arc::new(Progress::new());
        let bytes = Bytes::from(vec![7; 3 * PIECE + 1]);
        let mut body = sent(SdkBody::from(bytes.clone()), &progress);
        assert_eq!(body.content_length(), Some(bytes.len() as u64));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut lengths = Vec::new();
        let mut left = bytes.len() as u64;
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
            let data = frame.unwrap().into_data().unwrap();
            left -= data.len() as u64;
            assert_eq!(Body::size_hint(&body).exact(), Some(left));
            lengths.push(data.len());
        }
        assert_eq!(lengths, [PIECE, PIECE, PIECE, 1]);
        assert!(progress.last() >= progress.begun);
        assert_eq!(sent(SdkBody::empty(), &progress).content_length(), Some(0));
    }
}
