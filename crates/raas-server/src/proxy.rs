//! Answers whose bytes the server takes from a bucket and passes on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::ObjectKey;
use tokio::time::{Instant, Sleep, sleep};

use crate::Response;
use crate::body::Body;
use crate::client::Client;
use crate::error::{Code, Failure};
use crate::file::Opened;
use crate::origin::Origin;
use crate::part::{self, Part, number_text};

/// An object to pass on.
pub(crate) struct Plan {
    pub(crate) origin: Origin,
    pub(crate) key: ObjectKey,
    /// The length that the document gives.
    pub(crate) size: Option<u64>,
    /// The answer for the whole object, but for its length.
    pub(crate) headers: HeaderMap,
}

impl Plan {
    /// Asks for the object, or for the part of it that the client asks for, and answers with what comes.
    pub(crate) async fn open(self, client: &Client, method: &Method, request: &HeaderMap) -> Opened {
        let Plan { origin, key, size, mut headers } = self;
        // Of an object of unknown length, which is small, always the whole is answered.
        let mut part = None;
        if let Some(size) = size {
            match part::asked_for(method, request, &mut headers, size) {
                Ok(asked) => part = Some(asked),
                Err(length) => return Opened::Beyond(length),
            }
        }
        let failed = |code: Code, fault: &str| {
            tracing::error!(bucket = origin.shown(), %key, fault, "a published object cannot be passed on");
            let message = match code {
                Code::Unavailable => "the storage of this registry does not answer; try again later",
                _ => "the object is published but cannot be read from storage",
            };
            Opened::Failed(Failure::new(code, message))
        };
        let url = match origin.url(method, &key, size) {
            Ok(url) => url,
            Err(error) => return failed(Code::Unavailable, &error.to_string()),
        };
        let range = part.as_ref().filter(|part| part.status == StatusCode::PARTIAL_CONTENT).map(range);
        let answer = match client.ask(method, &url, range.as_slice()).await {
            Ok(answer) => answer,
            Err(error) => return failed(Code::Unavailable, &error.to_string()),
        };
        let (head, incoming) = answer.into_parts();
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
        let part = match (head.status, part, length) {
            (StatusCode::PARTIAL_CONTENT, Some(part), Some(length))
                if part.length == length && is_range(&head.headers, &headers) =>
            {
                part
            }
            // The whole, asked for or not: a service may know no ranges.
            (StatusCode::OK, part, Some(length)) if size.is_none_or(|size| size == length) => match part {
                Some(part) if part.status == StatusCode::OK => part,
                _ => part::whole(&mut headers, length),
            },
            (status @ (StatusCode::OK | StatusCode::PARTIAL_CONTENT), ..) => {
                let length =
                    length.map_or("an unknown number of".to_owned(), |length: u64| length.to_string());
                return failed(Code::Unknown, &format!("{status} with {length} bytes"));
            }
            (StatusCode::NOT_FOUND, ..) => return failed(Code::Unknown, "it is not there"),
            (status, ..) => return failed(Code::Unavailable, &format!("the service answers {status}")),
        };
        let body = if method == Method::HEAD {
            Body::empty()
        } else {
            Body::passed_on(Stream::new(incoming, part.length, format!("{}/{key}", origin.shown())))
        };
        let mut response = Response::new(body);
        *response.status_mut() = part.status;
        *response.headers_mut() = headers;
        Opened::File(Box::new(response))
    }
}

fn range(part: &Part) -> (HeaderName, HeaderValue) {
    (header::RANGE, number_text(format!("bytes={}-{}", part.start, part.start + part.length - 1)))
}

/// Whether a service answers with the very range that the client will be told.
fn is_range(answered: &HeaderMap, told: &HeaderMap) -> bool {
    answered.get(header::CONTENT_RANGE) == told.get(header::CONTENT_RANGE)
}

/// An object's bytes as they come. The next are taken when the client has taken these, so that memory is bounded by
/// the connections' buffers.
pub(crate) struct Stream {
    incoming: Incoming,
    left: u64,
    what: String,
    /// When a service that is waited for is given up; nothing while the client is what takes its time.
    patience: Option<Pin<Box<Sleep>>>,
    over: bool,
}

/// How long a service may be silent in the middle of an object.
const PATIENCE: Duration = Duration::from_secs(60);

impl Stream {
    fn new(incoming: Incoming, left: u64, what: String) -> Self {
        Self { incoming, left, what, patience: None, over: false }
    }

    /// How many bytes are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if self.over || self.left == 0 {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.patience = None;
                    // Trailers tell a client nothing that it was promised.
                    let Ok(mut bytes) = frame.into_data() else { continue };
                    bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.left -= bytes.len() as u64;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Poll::Ready(Some(Err(error))) => return self.broke(io::Error::other(error)),
                Poll::Ready(None) => return self.broke(io::ErrorKind::UnexpectedEof.into()),
                Poll::Pending => {}
            }
            let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
            if patience.deadline() > Instant::now() && patience.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            return self.broke(io::ErrorKind::TimedOut.into());
        }
    }

    /// The connection breaks, so that the client sees that the bytes are not all there.
    fn broke(&mut self, error: io::Error) -> Poll<Option<io::Result<Bytes>>> {
        tracing::error!(object = self.what, %error, "an object broke off while it was passed on");
        self.over = true;
        Poll::Ready(Some(Err(error)))
    }
}
