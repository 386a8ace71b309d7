//! Host names.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;

use hyper::header::{HOST, HeaderMap};
use hyper::{Request, Uri};

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

/// The name of a host, normalized for comparison: in lower case, without a port, without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// Why a text is not the name of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// Not a host name, or a host name with a port.
    #[error(
        "`{0}` is not the name of a host: expected letters, digits and hyphens between dots, without a port"
    )]
    Name(String),
    /// A name below `localhost`, where every vendor has a name already.
    #[error("`{0}` is reserved: every vendor already has a name below `localhost`")]
    Local(String),
}

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Allows to look up a text in a map of hosts.
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    /// Source: RFC 1123, section 2.1. The lengths are from RFC 1035, section 2.3.4.
    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let shown = || text.chars().take(300).collect();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(HostNameError::Name(shown()));
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Err(HostNameError::Local(shown()));
        }
        Ok(Self(name.into()))
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
    fn host_names_are_normalized_as_in_dns() {
        for (text, name) in
            [("Registry.ACME.com.", "registry.acme.com"), ("a", "a"), ("127.0.0.1", "127.0.0.1")]
        {
            assert_eq!(text.parse::<HostName>().unwrap().as_str(), name);
        }
        let long = format!("{}.com", "a".repeat(64));
        for text in
            ["", ".", "a..b", "a:5000", "-a.com", "a-.com", "a b", "a_b", "https://a.com", "é.com", &long]
        {
            assert!(matches!(text.parse::<HostName>(), Err(HostNameError::Name(_))), "{text}");
        }
        for text in ["localhost", "acme.LOCALHOST"] {
            assert!(matches!(text.parse::<HostName>(), Err(HostNameError::Local(_))), "{text}");
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
