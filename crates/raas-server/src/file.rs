//! Answers whose bytes are in a file of the bucket.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::below::Below;
use crate::body::Body;
use crate::error::{Code, Failure};
use crate::headers::Headers;
use crate::part;
use crate::response::Response;

/// A file to answer with.
pub(crate) struct Plan {
    pub(crate) file: Below,
    /// The length that the document gives.
    pub(crate) size: Option<u64>,
    /// The answer for the whole file, but for its length.
    pub(crate) headers: Headers,
    pub(crate) otherwise: Otherwise,
}

/// What to answer if the file is not there.
pub(crate) enum Otherwise {
    /// It was promised, so this is the registry's fault.
    Fault,
    /// The client finds it there.
    Elsewhere(HeaderValue),
    /// Nobody promised it.
    Unknown(Failure),
}

/// What came of a plan.
pub(crate) enum Opened {
    /// The file, or the part that was asked for.
    File(Box<Response>),
    /// Not here; the client finds it there.
    Elsewhere(HeaderValue),
    /// Not to be had.
    Failed(Failure),
    /// The part that was asked for is beyond the file's end. The header says how long the file is.
    Beyond(HeaderValue),
}

impl Plan {
    /// Opens the file, and answers it or the part of it that the request asks for.
    pub(crate) async fn open(self, method: &Method, request: &HeaderMap) -> Opened {
        let Plan { file, size, headers, otherwise } = self;
        let opening = spawn_blocking(move || {
            let opened = file.open();
            (file, opened)
        });
        let (below, opened) = match opening.await {
            Ok(opened) => opened,
            Err(_) => return Opened::Failed(Failure::new(Code::Unknown, "the server is stopping")),
        };
        let fault = match opened {
            Ok((file, length)) if size.is_none_or(|size| size == length) => {
                return answer(file, below.shown(), length, headers, method, request);
            }
            Ok((_, length)) => format!("it has {length} bytes instead of {}", size.unwrap_or_default()),
            Err(error) => match (error.kind(), otherwise) {
                (io::ErrorKind::NotFound, Otherwise::Elsewhere(location)) => {
                    return Opened::Elsewhere(location);
                }
                (io::ErrorKind::NotFound, Otherwise::Unknown(failure)) => return Opened::Failed(failure),
                _ => error.to_string(),
            },
        };
        // The document promises it, so this is the registry's fault and not the client's, who may try again.
        tracing::error!(
            path = below.shown(),
            fault,
            "a published object is not in the bucket as it should be"
        );
        Opened::Failed(Failure::new(Code::Unknown, "the object is published but cannot be read from storage"))
    }
}

fn answer(
    file: File,
    path: String,
    length: u64,
    mut headers: Headers,
    method: &Method,
    request: &HeaderMap,
) -> Opened {
    let part = match part::asked_for(method, request, &mut headers, length) {
        Ok(part) => part,
        Err(length) => return Opened::Beyond(length),
    };
    let body = Body::file(Stream::new(file, path, part.start, part.length));
    Opened::File(Box::new(Response { status: part.status, headers, body }))
}

/// A file's bytes, read piece by piece as the client takes them, so that no
/// more than two pieces of it are in memory.
pub(crate) struct Stream {
    file: Arc<File>,
    path: String,
    start: u64,
    left: u64,
    state: State,
}

enum State {
    /// Nothing was asked for yet.
    Fresh,
    /// The next piece is on its way.
    Reading(JoinHandle<io::Result<Vec<u8>>>),
    /// All is read, or nothing more can be.
    Over,
}

impl Stream {
    /// How many bytes are read at once: few enough for memory, many enough to make little of each read's cost.
    const PIECE: u64 = 64 * 1024;

    fn new(file: File, path: String, start: u64, left: u64) -> Self {
        Self { file: Arc::new(file), path, start, left, state: State::Fresh }
    }

    /// How many bytes are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Fresh => self.read(Some(self.start)),
                State::Reading(task) => {
                    let read =
                        ready!(Pin::new(task).poll(cx)).unwrap_or_else(|error| Err(io::Error::other(error)));
                    return Poll::Ready(Some(self.take(read)));
                }
            }
        }
    }

    /// Begins to read the next piece, if there is one.
    fn read(&mut self, seek: Option<u64>) {
        if self.left == 0 {
            self.state = State::Over;
            return;
        }
        let file = Arc::clone(&self.file);
        let length = self.left.min(Self::PIECE);
        self.state = State::Reading(spawn_blocking(move || {
            let mut file = file.as_ref();
            if let Some(start) = seek.filter(|start| *start > 0) {
                file.seek(SeekFrom::Start(start))?;
            }
            let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            file.take(length).read_to_end(&mut piece)?;
            Ok(piece)
        }));
    }

    fn take(&mut self, read: io::Result<Vec<u8>>) -> io::Result<Bytes> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter");
        let piece = read.and_then(|piece| if piece.is_empty() { Err(ended()) } else { Ok(piece) });
        match piece {
            Ok(piece) => {
                self.left -= piece.len() as u64;
                // The next is read while this one is sent.
                self.read(None);
                Ok(piece.into())
            }
            Err(error) => {
                // The connection breaks, so that the client sees that the bytes are not all there.
                tracing::error!(path = self.path, %error, "an object broke off while it was sent");
                self.state = State::Over;
                Err(error)
            }
        }
    }
}
