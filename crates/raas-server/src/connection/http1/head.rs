//! Writes the head of an answer.

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::{Method, StatusCode};

use crate::http::headers::Headers;

/// Writes a head with exactly the bytes that hyper would write. `length` is the number of bytes that follow the head,
/// unless the headers have it. `is_last` announces the end of the connection.
pub(super) fn write(
    out: &mut Vec<u8>,
    method: &Method,
    status: StatusCode,
    headers: &Headers,
    length: Option<u64>,
    is_last: bool,
    now: Instant,
) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        let reason = status.canonical_reason().unwrap_or("<none>");
        for piece in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
    }
    for (name, value) in headers.iter() {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    // The headers of an answer to HEAD have the length already, and a 304 has none.
    if let Some(length) = length
        && method != Method::HEAD
        && status != StatusCode::NOT_MODIFIED
    {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if is_last {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"date: ");
    write_date(out, now);
    out.extend_from_slice(b"\r\n\r\n");
}

thread_local! {
    /// The last date, and until when it is valid.
    static LAST: RefCell<(Option<Instant>, String)> = RefCell::default();
}

/// Until when the date in the last head of this thread is valid.
pub(super) fn date_ends() -> Option<Instant> {
    LAST.with_borrow(|(until, _)| *until)
}

/// Writes the date. It is formatted once a second.
fn write_date(out: &mut Vec<u8>, now: Instant) {
    LAST.with_borrow_mut(|(until, text)| {
        if until.is_none_or(|until| now >= until) {
            let left;
            (*text, left) = date(SystemTime::now());
            *until = Some(now + left);
        }
        out.extend_from_slice(text.as_bytes());
    });
}

/// A time as text, and how long the text is valid.
fn date(now: SystemTime) -> (String, Duration) {
    const SECOND: Duration = Duration::from_secs(1);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let over = Duration::from_nanos(since.subsec_nanos().into());
    (httpdate::fmt_http_date(UNIX_EPOCH + (since - over)), SECOND - over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_valid_for_the_rest_of_its_second() {
        let at = |milliseconds| date(UNIX_EPOCH + Duration::from_millis(milliseconds));
        let left = Duration::from_millis;
        assert_eq!(at(0), ("Thu, 01 Jan 1970 00:00:00 GMT".into(), left(1000)));
        assert_eq!(at(784_111_777_900), ("Sun, 06 Nov 1994 08:49:37 GMT".into(), left(100)));
    }

    #[test]
    fn the_date_advances() {
        let written = |now| {
            let mut out = Vec::new();
            write_date(&mut out, now);
            httpdate::parse_http_date(std::str::from_utf8(&out).unwrap()).unwrap()
        };
        let (begin, before) = (Instant::now(), SystemTime::now());
        let first = written(begin);
        assert!(first <= before && before < first + Duration::from_secs(2));
        // The clock is read again.
        let later = written(begin + Duration::from_secs(2));
        assert!(later >= first);
    }
}
