//! The address of a client behind proxies.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

/// No standard defines this header, and every proxy writes it. Source: MDN, "X-Forwarded-For".
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Likewise. Source: MDN, "X-Forwarded-Proto".
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remote {
    /// From the other end of the connection.
    Direct(SocketAddr),
    /// From an address that a trusted proxy names.
    Named(IpAddr),
}

impl Remote {
    pub(crate) fn ip(self) -> IpAddr {
        match self {
            Remote::Direct(address) => address.ip(),
            Remote::Named(address) => address,
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Direct(address) => address.fmt(f),
            Remote::Named(address) => address.fmt(f),
        }
    }
}

/// The address of a client: the last address on the way that is not a trusted proxy's. The client itself may have
/// invented everything before it.
///
/// `Forwarded` counts only without `X-Forwarded-For`: a proxy that writes the latter passes on a client's `Forwarded`
/// unchanged.
pub(crate) fn client(trusted: &[IpNet], remote: SocketAddr, headers: &HeaderMap) -> Remote {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address.to_canonical()));
    if trusted.is_empty() || !is_trusted(remote.ip()) {
        return Remote::Direct(remote);
    }
    let mut client = Remote::Direct(remote);
    let name = if headers.contains_key(&X_FORWARDED_FOR) { X_FORWARDED_FOR } else { FORWARDED };
    for line in headers.get_all(&name).iter().rev() {
        let Ok(line) = line.to_str() else { return client };
        for hop in line.rsplit(',') {
            let hop = if name == FORWARDED { forwarded_value(hop, "for") } else { Some(hop) };
            // Unknown, hidden or invalid: no trusted proxy knows the hops before this one.
            let Some(address) = hop.and_then(address) else { return client };
            client = Remote::Named(address);
            if !is_trusted(address) {
                return client;
            }
        }
    }
    client
}

/// Whether a trusted proxy says that the client has used TLS: `X-Forwarded-Proto`, or `proto` in `Forwarded` without
/// the former. The first proxy that a client meets writes the first value.
pub(crate) fn is_tls(trusted: &[IpNet], remote: SocketAddr, headers: &HeaderMap) -> bool {
    if !trusted.iter().any(|net| net.contains(&remote.ip().to_canonical())) {
        return false;
    }
    let first = |name: &HeaderName| headers.get(name)?.to_str().ok()?.split(',').next();
    let scheme = match first(&X_FORWARDED_PROTO) {
        Some(scheme) => Some(scheme.trim()),
        None => first(&FORWARDED).and_then(|element| forwarded_value(element, "proto")),
    };
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// The value of a parameter in an element of `Forwarded`.
///
/// Source: RFC 7239, section 4.
fn forwarded_value<'a>(element: &'a str, parameter: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(parameter).then(|| value.trim().trim_matches('"'))
    })
}

/// An address with or without a port. IPv6 may be in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let found: Option<IpAddr> = bare.parse().ok();
    found
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_trusted_proxy_says_whether_the_client_has_used_tls() {
        const XFP: &str = "x-forwarded-proto";
        const FWD: &str = "forwarded";
        type Lines = &'static [(&'static str, &'static str)];
        let table: [(&str, Lines, bool); 10] = [
            ("10.0.0.1:9", &[(XFP, "https")], true),
            ("10.0.0.1:9", &[(XFP, "HTTPS")], true),
            ("10.0.0.1:9", &[(XFP, "https, http")], true),
            ("10.0.0.1:9", &[(XFP, "http")], false),
            ("10.0.0.1:9", &[(FWD, "for=192.0.2.1;proto=https")], true),
            ("10.0.0.1:9", &[(FWD, "for=192.0.2.1;Proto=\"https\", for=10.0.0.2;proto=http")], true),
            ("10.0.0.1:9", &[(FWD, "proto=https"), (XFP, "http")], false),
            ("10.0.0.1:9", &[], false),
            ("192.0.2.7:9", &[(XFP, "https")], false),
            ("[::ffff:10.0.0.1]:9", &[(XFP, "https")], true),
        ];
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (remote, lines, expected) in table {
            let headers = lines
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(is_tls(&trusted, remote.parse().unwrap(), &headers), expected, "{remote} {lines:?}");
        }
    }

    #[test]
    fn the_last_untrusted_address_is_the_clients() {
        const XFF: &str = "x-forwarded-for";
        const FWD: &str = "forwarded";
        type Lines = &'static [(&'static str, &'static str)];
        let table: [(&str, Lines, &str); 20] = [
            ("10.0.0.1:9", &[(XFF, "192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1:9", &[(XFF, "203.0.113.9, 192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1:9", &[(XFF, "203.0.113.9,192.0.2.1 ,10.2.3.4")], "192.0.2.1"),
            ("10.0.0.1:9", &[(XFF, "192.0.2.1"), (XFF, "10.2.3.4")], "192.0.2.1"),
            ("10.0.0.1:9", &[(XFF, "192.0.2.1:4711")], "192.0.2.1"),
            ("10.0.0.1:9", &[(XFF, "[2001:db8::1]:4711")], "2001:db8::1"),
            ("10.0.0.1:9", &[(XFF, "2001:db8::1")], "2001:db8::1"),
            ("[fd00::1]:9", &[(XFF, "::ffff:192.0.2.1")], "192.0.2.1"),
            ("[::ffff:10.0.0.1]:9", &[(XFF, "192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1:9", &[(FWD, "for=192.0.2.1;proto=https;by=10.0.0.1")], "192.0.2.1"),
            ("10.0.0.1:9", &[(FWD, "for=1.1.1.1, For=\"[2001:db8::1]:80\"")], "2001:db8::1"),
            ("10.0.0.1:9", &[(FWD, "for=1.1.1.1"), (XFF, "192.0.2.1")], "192.0.2.1"),
            // An untrusted client can claim anything.
            ("192.0.2.7:9", &[(XFF, "203.0.113.9")], "192.0.2.7:9"),
            ("192.0.2.7:9", &[(FWD, "for=203.0.113.9")], "192.0.2.7:9"),
            // Nothing usable: the last known address counts.
            ("10.0.0.1:9", &[], "10.0.0.1:9"),
            ("10.0.0.1:9", &[(XFF, "")], "10.0.0.1:9"),
            ("10.0.0.1:9", &[(XFF, "nonsense")], "10.0.0.1:9"),
            ("10.0.0.1:9", &[(FWD, "for=unknown")], "10.0.0.1:9"),
            ("10.0.0.1:9", &[(XFF, "192.0.2.1, nonsense, 10.2.3.4")], "10.2.3.4"),
            ("10.0.0.1:9", &[(XFF, "10.2.3.4")], "10.2.3.4"),
        ];
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).into();
        for (remote, lines, expected) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let remote = remote.parse().unwrap();
            assert_eq!(client(&trusted, remote, &headers).to_string(), expected, "{lines:?}");
            assert_eq!(client(&[], remote, &headers), Remote::Direct(remote), "nobody is trusted by default");
        }
    }
}
