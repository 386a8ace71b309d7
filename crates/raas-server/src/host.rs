//! Which site a request is for.

use hyper::header::{HOST, HeaderMap};
use hyper::{Request, Uri};

use crate::site::{Site, Snapshot};

/// The host that a request names, with its port: the URI's authority if it has one, else the `Host` header.
///
/// Source: RFC 9112, section 3.2.2 (absolute-form) and section 3.2 (several `Host` headers are an error, and no
/// host here). It is text as the client sent it.
pub(crate) fn requested<B>(request: &Request<B>) -> Option<&str> {
    from_parts(request.uri(), request.headers())
}

fn from_parts<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    if let Some(authority) = uri.authority() {
        return Some(authority.as_str());
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

/// The site for a host. `<vendor>.localhost` with any port picks the vendor's, and no other: a site that is alone
/// for a while must not answer for one that is not there. Any other host is answered by a site that is alone.
pub(crate) fn pick<'a>(snapshot: &'a Snapshot, host: Option<&str>) -> Option<&'a Site> {
    match (host.and_then(vendor_label), snapshot.sites.as_slice()) {
        (Some(label), sites) => sites.iter().find(|site| site.vendor.as_str().eq_ignore_ascii_case(label)),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

/// The vendor's label in `<vendor>.localhost[:port]`.
///
/// Source: RFC 6761, section 6.3: names below `localhost` resolve to this machine. A name may end in a dot.
fn vendor_label(host: &str) -> Option<&str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) => return None,
        None => host,
    };
    let (label, rest) = name.split_once('.')?;
    let rest = rest.strip_suffix('.').unwrap_or(rest);
    rest.eq_ignore_ascii_case("localhost").then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_before_localhost_is_the_vendor() {
        let table = [
            ("acme.localhost", Some("acme")),
            ("acme.localhost:5000", Some("acme")),
            ("ACME.LocalHost.", Some("ACME")),
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
            assert_eq!(vendor_label(host), label, "{host}");
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
