//! Parts of URLs that a registry sends.

use raas_base::redact;
use raas_http::http::Uri;

/// The host of a URL, with the port if it is not the scheme's.
pub(super) fn host_of(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else { return String::new() };
    let host = uri.host().unwrap_or_default();
    let usual = if is_https(url) { 443 } else { 80 };
    match uri.port_u16() {
        Some(port) if port != usual => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}

/// Whether a URL is one of https.
fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|begin| begin.eq_ignore_ascii_case("https://"))
}

/// Whether a registry with TLS names a token server without TLS. Such a token server gets no password.
pub(super) fn drops_tls(registry: &str, token_server: &str) -> bool {
    is_https(registry) && !is_https(token_server)
}

/// Whether two URLs have the same scheme, host and port, so that the one may see the login of the other.
pub(super) fn same_origin(one: &str, other: &str) -> bool {
    is_https(one) == is_https(other) && host_of(one).eq_ignore_ascii_case(&host_of(other))
}

/// A URL as people may see it, without its query: that may be the signature of a presigned URL.
pub(super) fn shown(url: &str) -> String {
    redact::url(url)
}

/// The path and query of the next page in a `Link` header, if there is a next page.
///
/// Only these parts are used: behind a proxy, registries write links with inner host names, and a link to another host
/// must not take the login there. Source: RFC 8288; OCI distribution-spec 1.1, "Listing Tags".
pub(super) fn next_page<'a>(current: &str, links: impl Iterator<Item = &'a str>) -> Option<String> {
    for link in links {
        for part in link.split(',') {
            let Some((target, parameters)) =
                part.trim().strip_prefix('<').and_then(|rest| rest.split_once('>'))
            else {
                continue;
            };
            let is_next = parameters.split(';').any(|parameter| {
                let parameter = parameter.trim().to_ascii_lowercase();
                matches!(parameter.as_str(), "rel=next" | "rel=\"next\"")
            });
            if is_next {
                return local_path(current, target);
            }
        }
    }
    None
}

/// The path and query that a target means, which may be absolute or relative to the current path. The host of a target is
/// left out.
pub(super) fn local_path(current: &str, target: &str) -> Option<String> {
    if target.contains("://") {
        return Some(target.parse::<Uri>().ok()?.path_and_query()?.to_string());
    }
    if target.starts_with("//") {
        return None;
    }
    if target.starts_with('/') {
        return Some(target.to_owned());
    }
    let path = current.split('?').next().unwrap_or_default();
    if target.starts_with('?') {
        return Some(format!("{path}{target}"));
    }
    let (folder, _) = path.rsplit_once('/')?;
    Some(format!("{folder}/{target}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_a_path_of_the_same_registry() {
        let table = [
            ("</v2/a/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=b&n=2")),
            (
                "<http://inner:24817/v2/a/tags/list?n=2&last=b>; rel=\"next\"",
                Some("/v2/a/tags/list?n=2&last=b"),
            ),
            ("<list?last=b>; rel=next", Some("/v2/a/tags/list?last=b")),
            ("<?last=b>;rel=\"next\"", Some("/v2/a/tags/list?last=b")),
            ("</p>; rel=\"prev\", </v2/x>; rel=\"next\"", Some("/v2/x")),
            ("</p>; rel=\"prev\"", None),
            ("<//evil.org/x>; rel=\"next\"", None),
            ("nonsense", None),
        ];
        for (link, expected) in table {
            let found = next_page("/v2/a/tags/list?n=2", [link].into_iter());
            assert_eq!(found.as_deref(), expected, "{link}");
        }
    }

    #[test]
    fn a_token_server_without_tls_gets_no_password_of_a_registry_with_tls() {
        for (registry, token_server, drops) in [
            ("https://r.example.com", "http://auth.example.com/token", true),
            ("https://r.example.com", "HTTP://r.example.com/token", true),
            ("https://r.example.com", "auth.example.com/token", true),
            ("HTTPS://r.example.com", "https://auth.example.com/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", false),
        ] {
            assert_eq!(drops_tls(registry, token_server), drops, "{registry} {token_server}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert!(same_origin("https://x.org/a", "HTTPS://X.org:443/b"));
        for other in ["http://x.org/a", "https://x.org:444/a", "https://cdn.x.org/a"] {
            assert!(!same_origin("https://x.org/a", other), "{other}");
        }
        assert_eq!(host_of("https://[::1]:5000/x"), "[::1]:5000");
    }
}
