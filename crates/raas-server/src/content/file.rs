//! Content from a file of a bucket that is a folder.

use std::fs::File;
use std::io;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use tokio::task::spawn_blocking;

use super::Opened;
use crate::body::{Body, FileStream};
use crate::error::{ApiError, ApiErrorCode};
use crate::files::ConfinedFile;
use crate::http::byte_range;
use crate::http::headers::Headers;
use crate::response::Response;

/// A file to answer with.
pub(crate) struct FilePlan {
    pub(crate) file: ConfinedFile,
    /// The length according to the document, in bytes.
    pub(crate) size: Option<u64>,
    /// The headers of an answer with the whole file, without its length.
    pub(crate) headers: Headers,
    pub(crate) if_missing: IfMissing,
}

/// The answer if the file does not exist.
pub(crate) enum IfMissing {
    /// An internal error: the document promises the file.
    StorageFault,
    /// A redirect to this URL.
    Redirect(HeaderValue),
    /// The document does not promise the file.
    NotPublished {
        /// The error.
        absent: ApiError,
        /// A redirect to this URL, if not even the folder of all files exists: to Crane such a folder is not
        /// configured.
        without_folder: Option<HeaderValue>,
    },
}

impl FilePlan {
    /// Opens the file, and answers with it or with the range that the request names.
    pub(crate) async fn open(self, method: &Method, request: &HeaderMap) -> Opened {
        let FilePlan { file, size, headers, if_missing } = self;
        let opening = spawn_blocking(move || {
            let opened = file.open();
            let is_missing = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            let has_folder = !is_missing || file.folder.is_dir();
            (file, opened, has_folder)
        });
        let (confined, opened, has_folder) = match opening.await {
            Ok(opened) => opened,
            Err(_) => return Opened::Error(ApiError::new(ApiErrorCode::Unknown, "the server is stopping")),
        };
        let fault = match opened {
            Ok((file, length)) if size.is_none_or(|size| size == length) => {
                return answer(file, confined.display_name(), length, headers, method, request);
            }
            Ok((_, length)) => {
                format!("the object has {length} bytes instead of {}", size.unwrap_or_default())
            }
            Err(error) => match (error.kind(), if_missing) {
                (io::ErrorKind::NotFound, IfMissing::Redirect(location)) => {
                    return Opened::Redirect(location);
                }
                (io::ErrorKind::NotFound, IfMissing::NotPublished { absent, without_folder }) => {
                    return match without_folder.filter(|_| !has_folder) {
                        Some(location) => Opened::Redirect(location),
                        None => Opened::Error(absent),
                    };
                }
                _ => error.to_string(),
            },
        };
        // The document promises the file. The fault is the registry's, and the client may try again.
        tracing::error!(
            path = confined.display_name(),
            fault,
            "a published object is missing from the bucket or damaged"
        );
        Opened::Error(ApiError::new(
            ApiErrorCode::Unknown,
            "the object is published but cannot be read from storage",
        ))
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
    let part = match byte_range::requested(method, request, &mut headers, length) {
        Ok(part) => part,
        Err(length) => return Opened::RangeBeyondEnd(length),
    };
    let body = Body::file(FileStream::new(file, path, part.start, part.length));
    Opened::Answer(Box::new(Response { status: part.status, headers, body }))
}
