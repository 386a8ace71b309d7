//! Following redirects, safely.

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, LOCATION};
use hyper::{Method, StatusCode, Uri};
use url::Url;

/// Where a redirect leads.
pub(crate) enum Next {
    /// The answer is no redirect.
    None,
    /// To this URL.
    To(Uri),
    /// Nowhere that may be followed, and why.
    Refused(&'static str),
}

/// Where an answer leads.
pub(crate) fn next(from: &Uri, status: StatusCode, headers: &HeaderMap) -> Next {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Next::None;
    }
    let Some(location) = headers.get(LOCATION) else { return Next::None };
    let absolute = location.to_str().ok().and_then(|location| {
        let to = Url::parse(&from.to_string()).ok()?.join(location).ok()?;
        matches!(to.scheme(), "http" | "https").then(|| to.as_str().parse::<Uri>().ok()).flatten()
    });
    match absolute {
        None => Next::Refused("it redirects to something that is no http or https URL"),
        Some(to) if from.scheme_str() == Some("https") && to.scheme_str() == Some("http") => {
            Next::Refused("it redirects from https to http, where anybody on the way can change what is sent")
        }
        Some(to) => Next::To(to),
    }
}

/// Removes the headers that hold credentials, if the second URL has another scheme, host or port.
pub(crate) fn strip(headers: &mut HeaderMap, from: &Uri, to: &Uri) {
    let origin = |uri: &Uri| (uri.scheme_str().map(str::to_owned), uri.host().map(str::to_owned), port(uri));
    if origin(from) != origin(to) {
        headers.remove(AUTHORIZATION);
        headers.remove(COOKIE);
    }
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 })
}

/// The method of the request to the new place. Source: RFC 9110, section 15.4.
pub(crate) fn method(status: StatusCode, method: &Method) -> Method {
    let changes = status == StatusCode::SEE_OTHER
        || (matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND) && *method == Method::POST);
    if changes && *method != Method::HEAD { Method::GET } else { method.clone() }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn redirects_lead_to_absolute_urls_and_never_from_https_to_http() {
        let table = [
            ("https://x.org:1/a/b?c", "https://y.org/z?w", Ok("https://y.org/z?w")),
            ("https://x.org:1/a/b?c", "/z", Ok("https://x.org:1/z")),
            ("https://x.org:1/a/b?c", "z", Ok("https://x.org:1/a/z")),
            ("https://x.org:1/a/b?c", "//y.org/z", Ok("https://y.org/z")),
            ("http://x.org/", "https://x.org/", Ok("https://x.org/")),
            ("https://x.org/", "http://x.org/", Err("from https to http")),
            ("https://x.org/", "file:///etc/passwd", Err("no http or https URL")),
        ];
        for (from, location, expected) in table {
            let headers = [(LOCATION, HeaderValue::from_str(location).unwrap())].into_iter().collect();
            match (next(&from.parse().unwrap(), StatusCode::FOUND, &headers), expected) {
                (Next::To(to), Ok(expected)) => assert_eq!(to.to_string(), expected),
                (Next::Refused(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
                _ => panic!("{from} {location}"),
            }
        }
        assert!(matches!(next(&"http://x".parse().unwrap(), StatusCode::OK, &HeaderMap::new()), Next::None));
    }

    #[test]
    fn a_login_stays_with_its_host() {
        let table = [
            ("https://x.org/a", "https://x.org/b", true),
            ("https://x.org/a", "https://x.org:443/b", true),
            ("https://x.org/a", "https://x.org:444/b", false),
            ("https://x.org/a", "https://cdn.x.org/b", false),
            ("http://x.org/a", "https://x.org/b", false),
        ];
        for (from, to, kept) in table {
            let mut headers: HeaderMap =
                [(AUTHORIZATION, HeaderValue::from_static("x"))].into_iter().collect();
            strip(&mut headers, &from.parse().unwrap(), &to.parse().unwrap());
            assert_eq!(headers.contains_key(AUTHORIZATION), kept, "{from} {to}");
        }
    }
}
