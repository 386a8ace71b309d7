//! The head of an answer, as it is written.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{Method, StatusCode};

use crate::headers::Headers;

/// Writes an answer's head, in just the bytes that hyper writes for it. The client is told if it is the last.
pub(super) fn write(
    out: &mut Vec<u8>,
    method: &Method,
    status: StatusCode,
    headers: &Headers,
    length: usize,
    is_last: bool,
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
    // The answer to a HEAD says for itself how long that to a GET is, and a 304 does not.
    if method != Method::HEAD && status != StatusCode::NOT_MODIFIED {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if is_last {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"date: ");
    write_date(out, SystemTime::now());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Writes the time, which is made into text once a second.
fn write_date(out: &mut Vec<u8>, now: SystemTime) {
    thread_local! {
        /// The last second that was written, and how.
        static LAST: RefCell<(u64, String)> = RefCell::default();
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now || text.is_empty() {
            (*second, *text) = (now, httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now)));
        }
        out.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_each_answer() {
        let date = |seconds: u64| {
            let mut out = Vec::new();
            write_date(&mut out, UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 999));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        // A clock that is set back.
        assert_eq!(date(784_111_776), "Sun, 06 Nov 1994 08:49:36 GMT");
    }
}
