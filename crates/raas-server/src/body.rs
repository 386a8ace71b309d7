//! The bytes of an answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::access_log::AccessLogLine;
use crate::in_flight::InFlight;

mod file;
mod proxy;

pub(crate) use file::{FilePart, FileStream};
pub(crate) use proxy::ProxyStream;

/// The body of an answer. When it is dropped, the answer is complete or aborted, and the access log gets its line.
pub(crate) struct Body {
    content: Content,
    /// The bytes that were sent.
    sent: u64,
    log_line: Option<Box<AccessLogLine>>,
    request: Option<InFlight>,
}

enum Content {
    Empty,
    Memory(Bytes),
    File(Box<FileStream>),
    Proxied(Box<ProxyStream>),
}

impl Body {
    fn new(content: Content) -> Self {
        Self { content, sent: 0, log_line: None, request: None }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Content::Empty)
    }

    pub(crate) fn file(stream: FileStream) -> Self {
        Self::new(Content::File(Box::new(stream)))
    }

    pub(crate) fn proxied(stream: ProxyStream) -> Self {
        Self::new(Content::Proxied(Box::new(stream)))
    }

    /// The line that the log gets when the body is dropped.
    pub(crate) fn log_line(&self) -> Option<&AccessLogLine> {
        self.log_line.as_deref()
    }

    /// Ties the body to its request: when the body is dropped, its bytes are counted and the log line is written.
    pub(crate) fn record(&mut self, log_line: Option<AccessLogLine>, request: InFlight) {
        self.log_line = log_line.map(Box::new);
        self.request = Some(request);
    }

    /// Whether the bytes come piece by piece.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.content, Content::File(_) | Content::Proxied(_))
    }

    /// Takes the file of a body of which nothing was sent, for a sender that reads it itself.
    pub(crate) fn take_file(&mut self) -> Option<FilePart> {
        match std::mem::replace(&mut self.content, Content::Empty) {
            Content::File(stream) => Some(stream.into_part()),
            other => {
                self.content = other;
                None
            }
        }
    }

    /// Counts bytes that were sent of a file that was taken.
    pub(crate) fn count(&mut self, bytes: u64) {
        self.sent += bytes;
        if let Some(request) = &self.request {
            request.client.progress.moved();
        }
    }

    /// Takes the bytes of a body in memory, and counts them as sent. The body must not be a stream.
    pub(crate) fn take(&mut self) -> Bytes {
        let bytes = match std::mem::replace(&mut self.content, Content::Empty) {
            Content::Empty => Bytes::new(),
            Content::Memory(bytes) => bytes,
            Content::File(_) | Content::Proxied(_) => unreachable!("only a body in memory is taken"),
        };
        self.sent += bytes.len() as u64;
        bytes
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(if bytes.is_empty() { Content::Empty } else { Content::Memory(bytes) })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        let piece = match &mut body.content {
            Content::Empty => return Poll::Ready(None),
            Content::Memory(bytes) => {
                let bytes = std::mem::take(bytes);
                body.content = Content::Empty;
                Some(Ok(bytes))
            }
            Content::File(stream) => match stream.poll_piece(cx, file_piece(body.request.as_ref())) {
                Poll::Ready(piece) => piece,
                Poll::Pending => return Poll::Pending,
            },
            Content::Proxied(stream) => match stream.poll_piece(cx) {
                Poll::Ready(piece) => piece,
                Poll::Pending => return Poll::Pending,
            },
        };
        if let Some(Ok(bytes)) = &piece {
            body.sent += bytes.len() as u64;
            if let Some(request) = &body.request {
                request.client.progress.moved();
            }
        }
        Poll::Ready(piece.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.content {
            Content::Empty => 0,
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(stream) => stream.left(),
            Content::Proxied(stream) => stream.left(),
        })
    }
}

/// The size of the next piece of a file. The answers in flight of a connection share a budget, so that many of them
/// take not much more memory than a few.
fn file_piece(request: Option<&InFlight>) -> u64 {
    /// The bytes of all pieces of a connection. Each answer has two in memory.
    const BUDGET: u64 = 512 * 1024;
    /// Smaller pieces would cost too many reads.
    const MIN: u64 = 8 * 1024;
    let in_flight = request.map_or(1, |request| request.client.progress.in_flight().max(1));
    (BUDGET / (2 * in_flight)).clamp(MIN, FileStream::PIECE)
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(request) = &self.request {
            request.client.state.metrics.sent(self.sent);
        }
        if let Some(log_line) = self.log_line.take() {
            log_line.write(self.sent);
        }
    }
}
