//! Which part of an object a client gets, told the same wherever the bytes come from.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};

use crate::http::headers::Headers;
use crate::http::range::{self, RequestedRange};

/// A part of an object, or all of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    /// Where it begins.
    pub(crate) start: u64,
    /// How many bytes it has.
    pub(crate) length: u64,
    /// The answer's status.
    pub(crate) status: StatusCode,
}

/// The whole of an object of this length, told in the answer's headers.
pub(crate) fn whole(headers: &mut Headers, length: u64) -> ByteRange {
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.remove(&header::CONTENT_RANGE);
    ByteRange { start: 0, length, status: StatusCode::OK }
}

/// The part that a request asks for of an object of this length, told in the answer's headers, which have its
/// entity tag already.
///
/// # Errors
/// It begins beyond the end. The value tells how long the object is.
pub(crate) fn requested(
    method: &Method,
    request: &HeaderMap,
    headers: &mut Headers,
    length: u64,
) -> Result<ByteRange, HeaderValue> {
    // Source: RFC 9110, section 14.2: ranges are defined for GET only.
    let asked = request.get(header::RANGE).filter(|_| method == Method::GET && is_current(request, headers));
    match range::parse(asked.map(HeaderValue::as_bytes), length) {
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
    HeaderValue::try_from(text).expect("numbers and a few signs are visible ASCII")
}

/// Whether the part that a client has is of the content that it would get the rest of.
///
/// Source: RFC 9110, section 13.1.5: the comparison is strong, and dates are no validators here.
fn is_current(request: &HeaderMap, headers: &Headers) -> bool {
    request.get(header::IF_RANGE).is_none_or(|tag| headers.get(&header::ETAG) == Some(tag))
}
