//! Host names.

use std::borrow::Cow;

use hyper::header::{HOST, HeaderMap};
use hyper::{Request, Uri};
pub(crate) use raas_types::HostName;

/// The host in a request, with its port, as the client sent it: the authority of the URI, or the `Host` header. None if
/// there are several `Host` headers, which is an error.
///
/// Source: RFC 9112, section 3.2.2 (absolute-form) and section 3.2 (`Host`).
pub(crate) fn requested<B>(request: &Request<B>) -> Option<&str> {
    from_parts(request.uri(), request.headers())
}

pub(crate) fn from_parts<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    if let Some(authority) = uri.authority() {
        return Some(authority.as_str());
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

/// Lower case. Most clients send lower case, which is not copied.
pub(crate) fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// A host without its port and without a dot at the end. None if the port is invalid.
pub(crate) fn without_port(host: &str) -> Option<&str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) => return None,
        None => host,
    };
    Some(name.strip_suffix('.').unwrap_or(name))
}

/// The vendor's label in `<vendor>.localhost`.
///
/// Names below `localhost` resolve to this machine. Source: RFC 6761, section 6.3.
pub(crate) fn vendor_label(name: &str) -> Option<&str> {
    let (label, rest) = name.split_once('.')?;
    (rest == "localhost").then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_before_localhost_is_the_vendor() {
        let table = [
            ("acme.localhost", Some("acme")),
            ("acme.localhost:5000", Some("acme")),
            ("ACME.LocalHost.", Some("acme")),
            ("acme.localhost:", Some("acme")),
            ("acme.localhost:5000x", None),
            ("localhost:5000", None),
            ("acme.example.com", None),
            ("x.acme.localhost", None),
            ("127.0.0.1:5000", None),
            ("[::1]:5000", None),
            ("user@acme.localhost:5000", Some("user@acme")),
            ("", None),
        ];
        for (host, label) in table {
            let name = without_port(host).map(lower);
            assert_eq!(name.as_deref().and_then(vendor_label), label, "{host}");
        }
    }

    #[test]
    fn the_authority_of_an_absolute_uri_wins() {
        let request = Request::get("http://a.localhost/v2/").header(HOST, "b.localhost").body(()).unwrap();
        assert_eq!(requested(&request), Some("a.localhost"));
        let request = Request::get("/v2/").header(HOST, "b.localhost").body(()).unwrap();
        assert_eq!(requested(&request), Some("b.localhost"));
        let two = Request::get("/").header(HOST, "a.localhost").header(HOST, "b.localhost").body(()).unwrap();
        assert_eq!(requested(&two), None);
    }
}
