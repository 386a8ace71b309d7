//! Answers whose bytes the server takes from a bucket and passes on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::{Digest, ObjectKey, Sha256};
use tokio::time::{Instant, Sleep, sleep};

use crate::body::Body;
use crate::client::Client;
use crate::error::{Code, Failure};
use crate::file::Opened;
use crate::headers::Headers;
use crate::origin::Origin;
use crate::part::{self, Part, number_text};
use crate::response::Response;

/// Something to pass on.
pub(crate) struct Plan {
    pub(crate) source: Source,
    /// The length that the document gives.
    pub(crate) size: Option<u64>,
    /// The answer for the whole object, but for its length.
    pub(crate) headers: Headers,
}

/// Where it is taken from.
pub(crate) enum Source {
    /// A bucket.
    Object(Origin, ObjectKey),
    /// Where a masked layer is, which may send the server on; and what it must be.
    Url { url: String, digest: Option<Digest> },
}

impl Source {
    /// What the log calls it. Neither text has a secret: a location is what any client is told.
    fn shown(&self) -> String {
        match self {
            Source::Object(origin, key) => format!("{}/{key}", origin.shown()),
            Source::Url { url, .. } => url.split('?').next().unwrap_or_default().to_owned(),
        }
    }

    async fn ask(
        &self,
        client: &Client,
        method: &Method,
        size: Option<u64>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<hyper::Response<Incoming>, String> {
        /// How often it may be sent on: a registry sends to its storage, and that nowhere.
        const MOST: u32 = 3;
        let mut url = match self {
            Source::Object(origin, key) => {
                origin.url(method, key, size).map_err(|error| error.to_string())?
            }
            Source::Url { url, .. } => url.clone(),
        };
        for _ in 0..=MOST {
            let answer = client.ask(method, &url, headers).await.map_err(|error| error.to_string())?;
            if matches!(self, Source::Object(..)) || !answer.status().is_redirection() {
                return Ok(answer);
            }
            let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            url = to.and_then(|to| sent_on(&url, to)).ok_or("it sends on to nowhere")?;
        }
        Err("it sends on again and again".into())
    }
}

/// The URL that an answer from this one sends on to; nothing for one that is none, or gives up TLS.
fn sent_on(from: &str, to: &str) -> Option<String> {
    let uri: hyper::Uri = to.parse().ok()?;
    match uri.scheme_str() {
        Some("https") => Some(to.to_owned()),
        Some("http") if from.starts_with("http:") => Some(to.to_owned()),
        Some(_) => None,
        // Source: RFC 9110, section 10.2.2: relative to what was asked for. Only of the host's own paths.
        None if to.starts_with('/') && !to.starts_with("//") => {
            let path = from.find("://")? + 3;
            let end = from[path..].find(['/', '?']).map_or(from.len(), |at| path + at);
            Some(format!("{}{to}", &from[..end]))
        }
        None => None,
    }
}

impl Plan {
    /// Asks for the object, or for the part of it that the client asks for, and answers with what comes.
    pub(crate) async fn open(self, client: &Client, method: &Method, request: &HeaderMap) -> Opened {
        let Plan { source, size, mut headers } = self;
        // Of an object of unknown length, which is small, always the whole is answered.
        let mut part = None;
        if let Some(size) = size {
            match part::asked_for(method, request, &mut headers, size) {
                Ok(asked) => part = Some(asked),
                Err(length) => return Opened::Beyond(length),
            }
        }
        let failed = |code: Code, fault: &str| {
            tracing::error!(object = source.shown(), fault, "a published object cannot be passed on");
            let message = match code {
                Code::Unavailable => "the storage of this registry does not answer; try again later",
                _ => "the object is published but cannot be read from storage",
            };
            Opened::Failed(Failure::new(code, message))
        };
        let range = part.as_ref().filter(|part| part.status == StatusCode::PARTIAL_CONTENT).map(range);
        let answer = match source.ask(client, method, size, range.as_slice()).await {
            Ok(answer) => answer,
            Err(fault) => return failed(Code::Unavailable, &fault),
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
            // Others' bytes are looked at; those of the vendor's own bucket were when they were stored.
            let expected = match &source {
                Source::Url { digest, .. } if part.status == StatusCode::OK => *digest,
                _ => None,
            };
            Body::passed_on(Stream::new(incoming, part.length, source.shown(), expected))
        };
        Opened::File(Box::new(Response { status: part.status, headers, body }))
    }
}

fn range(part: &Part) -> (HeaderName, HeaderValue) {
    (header::RANGE, number_text(format!("bytes={}-{}", part.start, part.start + part.length - 1)))
}

/// Whether a service answers with the very range that the client will be told.
fn is_range(answered: &HeaderMap, told: &Headers) -> bool {
    answered.get(header::CONTENT_RANGE) == told.get(&header::CONTENT_RANGE)
}

/// An object's bytes as they come. The next are taken when the client has taken these, so that memory is bounded by
/// the connections' buffers.
pub(crate) struct Stream {
    incoming: Incoming,
    left: u64,
    what: String,
    /// When a service that is waited for is given up; nothing while the client is what takes its time.
    patience: Option<Pin<Box<Sleep>>>,
    /// What has come so far, and what all of it must be.
    check: Option<(Sha256, Digest)>,
    over: bool,
}

/// How long a service may be silent in the middle of an object.
const PATIENCE: Duration = Duration::from_secs(60);

impl Stream {
    fn new(incoming: Incoming, left: u64, what: String, expected: Option<Digest>) -> Self {
        let check = expected.map(|digest| (Sha256::default(), digest));
        Self { incoming, left, what, patience: None, check, over: false }
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
                    if let Some((found, _)) = &mut self.check {
                        found.update(&bytes);
                    }
                    // Before the last piece goes out, so that a client never has all of what is not it.
                    if self.left == 0
                        && let Some((found, expected)) = self.check.take()
                        && found.finish() != expected
                    {
                        let error = io::Error::new(io::ErrorKind::InvalidData, "it is not of its digest");
                        return self.broke(error);
                    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_sent_on_by_whole_urls_and_paths_and_never_out_of_tls() {
        let table = [
            ("https://a/x", "https://b/y", Some("https://b/y")),
            ("https://a/x", "http://b/y", None),
            ("http://a/x", "http://b/y", Some("http://b/y")),
            ("http://a:1/x/z?q", "/y", Some("http://a:1/y")),
            ("https://a", "/y", Some("https://a/y")),
            ("https://a/x", "//b/y", None),
            ("https://a/x", "y", None),
            ("https://a/x", "file:///etc/passwd", None),
        ];
        for (from, to, expected) in table {
            assert_eq!(sent_on(from, to).as_deref(), expected, "{from} {to}");
        }
    }
}
