//! Parses the plain requests that the fast path can answer.

use std::mem::MaybeUninit;

use bytes::Bytes;
use httparse::Status;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri, Version};

use crate::http::headers;

/// The maximal number of headers of a plain request.
const MAX_HEADERS: usize = 32;

/// Parses exactly one plain request. Everything else is left to hyper, which also rejects what is invalid. The target
/// and the header values are slices of the bytes, not copies.
pub(super) fn parse(read: &Bytes) -> Option<Request<()>> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let parsed = head.parse_with_uninit_headers(read, &mut room);
    if parsed != Ok(Status::Complete(read.len())) || head.version != Some(1) {
        return None;
    }
    let target = head.path.filter(|target| target.starts_with('/'))?;
    let mut request = Request::new(());
    *request.method_mut() = match head.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        _ => return None,
    };
    *request.uri_mut() = Uri::from_maybe_shared(read.slice_ref(target.as_bytes())).ok()?;
    *request.version_mut() = Version::HTTP_11;
    let mut headers = headers::take_spare_map();
    for field in head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if !is_plain(&name, field.value) {
            return None;
        }
        headers.append(name, HeaderValue::from_maybe_shared(read.slice_ref(field.value)).ok()?);
    }
    *request.headers_mut() = headers;
    Some(request)
}

/// Whether a request with this header has no body and keeps the connection open.
fn is_plain(name: &HeaderName, value: &[u8]) -> bool {
    match *name {
        // The default of HTTP/1.1.
        header::CONNECTION => value.eq_ignore_ascii_case(b"keep-alive"),
        header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::EXPECT | header::UPGRADE => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Request<()>> {
        parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_plain_request_is_parsed() {
        let request = parsed(
            "HEAD /v2/app/manifests/1?ns=x HTTP/1.1\r\nHost: a\r\nACCEPT: b\r\naccept:  c \r\nConnection: Keep-Alive\r\nX:\r\n\r\n",
        );
        let request = request.expect("it is plain");
        assert_eq!((request.method(), request.version()), (&Method::HEAD, Version::HTTP_11));
        assert_eq!(request.uri(), "/v2/app/manifests/1?ns=x");
        let headers: Vec<(&str, &[u8])> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 5] =
            [("host", b"a"), ("accept", b"b"), ("accept", b"c"), ("connection", b"Keep-Alive"), ("x", b"")];
        assert_eq!(headers, expected);
    }

    #[test]
    fn everything_else_is_left_to_hyper() {
        let whole = "GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n";
        assert!(parsed(whole).is_some());
        for end in 0..whole.len() {
            assert!(parsed(&whole[..end]).is_none(), "{end} bytes");
        }
        let header = |line: &str| whole.replace("host: a", line);
        for other in [
            format!("{whole}G"),
            format!("{whole}{whole}"),
            whole.replace("GET", "PUT"),
            whole.replace("GET", "get"),
            whole.replace("1.1", "1.0"),
            whole.replace("1.1", "2.0"),
            whole.replace("/v2/", "http://a/v2/"),
            whole.replace("/v2/", "*"),
            whole.replace("/v2/", "/v2/ x"),
            header("connection: close"),
            header("connection: keep-alive, upgrade"),
            header("content-length: 0"),
            header("content-length: 1"),
            header("transfer-encoding: chunked"),
            header("expect: 100-continue"),
            header("upgrade: h2c"),
            header("host : a"),
            header("host: a\r\n b: c"),
            header("no header"),
            header(&"a: b\r\n".repeat(MAX_HEADERS + 1)),
        ] {
            assert!(parsed(&other).is_none(), "{other:?}");
        }
    }
}
