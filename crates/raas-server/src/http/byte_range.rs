//! The range of an object that a client gets. It is decided in the same way for files and for fetched objects.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};

use crate::http::headers::Headers;
use crate::http::range::{self, RequestedRange};

/// A range of an object, or the whole object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    /// The first byte.
    pub(crate) start: u64,
    /// The number of bytes.
    pub(crate) length: u64,
    /// The status of the answer.
    pub(crate) status: StatusCode,
}

/// The whole object. Sets the headers of the answer.
pub(crate) fn whole(headers: &mut Headers, length: u64) -> ByteRange {
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.remove(&header::CONTENT_RANGE);
    ByteRange { start: 0, length, status: StatusCode::OK }
}

/// The range that a request names, of an object with this length. Sets the headers of the answer, which must have their
/// entity tag already.
///
/// # Errors
/// The range begins beyond the end. The value is the `Content-Range` that gives the length.
pub(crate) fn requested(
    method: &Method,
    request: &HeaderMap,
    headers: &mut Headers,
    length: u64,
) -> Result<ByteRange, HeaderValue> {
    // Ranges are defined for GET only. Source: RFC 9110, section 14.2.
    let range_header =
        request.get(header::RANGE).filter(|_| method == Method::GET && is_current(request, headers));
    match range::parse(range_header.map(HeaderValue::as_bytes), length) {
        RequestedRange::Whole => Ok(whole(headers, length)),
        RequestedRange::Part { start, length: part } => {
            let range = format!("bytes {start}-{}/{length}", start + part - 1);
            whole(headers, part);
            headers.insert(header::CONTENT_RANGE, number_text(range));
            Ok(ByteRange { start, length: part, status: StatusCode::PARTIAL_CONTENT })
        }
        RequestedRange::Unsatisfiable => Err(number_text(format!("bytes */{length}"))),
    }
}

pub(crate) fn number_text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("numbers and punctuation are visible ASCII")
}

/// Whether `If-Range` allows a range: the bytes that the client has must be of the same content.
///
/// Source: RFC 9110, section 13.1.5. The comparison is strong, and dates never match here.
fn is_current(request: &HeaderMap, headers: &Headers) -> bool {
    request.get(header::IF_RANGE).is_none_or(|tag| headers.get(&header::ETAG) == Some(tag))
}
