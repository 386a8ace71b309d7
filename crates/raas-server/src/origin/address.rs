//! Base URLs of buckets.

use std::net::IpAddr;

use hyper::Uri;
use raas_types::ObjectKey;

use super::SIGNED_PATH;
use crate::http::query::{Encoding, SafeBytes, encode_into};

/// A URL to which the key of an object is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Without a slash at the end.
    text: String,
    /// Where the host begins and ends in `text`.
    host: (usize, usize),
}

/// Why a text is not the address of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL that a key can be appended to. The text is not shown because it may hold a password.
    #[error("expected a base URL, http://… or https://…, without user name, password, query or fragment")]
    Url,
    /// Not the name of a bucket.
    #[error("`{0}` is not the name of a bucket")]
    Bucket(String),
    /// Not the name of a region.
    #[error("`{0}` is not the name of a region")]
    Region(String),
}

impl BaseUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// The text is not an http or https URL, or has a user name, a password, a query or a fragment.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim_end_matches('/');
        if text.contains(['?', '#', '"', '<', '>']) || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(AddressError::Url);
        }
        let uri: Uri = text.parse().map_err(|_| AddressError::Url)?;
        let default_port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(AddressError::Url),
        };
        let authority = uri.authority().ok_or(AddressError::Url)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(AddressError::Url);
        }
        // Clients differ in whether `Host` has the scheme's default port. The host is signed, so the port is left out.
        let host = match authority.port_u16() {
            Some(port) if port != default_port => authority.as_str(),
            _ => authority.host(),
        };
        let scheme = if default_port == 443 { "https" } else { "http" };
        let path = uri.path().trim_end_matches('/');
        let begin = scheme.len() + "://".len();
        Ok(Self { text: format!("{scheme}://{host}{path}"), host: (begin, begin + host.len()) })
    }

    /// The URL, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, with its port unless that is the scheme's default.
    pub(super) fn host(&self) -> &str {
        &self.text[self.host.0..self.host.1]
    }

    /// Where the path begins in the URL.
    pub(super) fn path_at(&self) -> usize {
        self.host.1
    }

    /// The URL of an object. No byte of a key needs encoding in a path. Colons are allowed there (RFC 3986, section
    /// 3.3), and some small file servers do not decode `%3A`.
    pub(crate) fn of(&self, key: &ObjectKey) -> String {
        let mut url = String::with_capacity(self.text.len() + 256);
        url.push_str(&self.text);
        url.push('/');
        // Writing to a string cannot fail.
        let _ = key.write(&mut url);
        url
    }

    pub(super) fn write(&self, url: &mut String, key: &ObjectKey, kept: &SafeBytes) {
        url.push_str(&self.text);
        url.push('/');
        // Writing to a string cannot fail.
        let _ = key.write(&mut Encoding { out: url, kept });
    }
}

/// A bucket of an S3 service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// The URL of the service. AWS without it.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// The prefix of all keys, with or without slashes around it.
    pub prefix: Option<String>,
    /// Whether the bucket is in the path instead of the host name.
    pub path_style: bool,
}

impl S3Location {
    /// The URL of the bucket, with the prefix.
    ///
    /// # Errors
    /// The endpoint, the bucket or the region is invalid.
    pub fn base_url(&self) -> Result<BaseUrl, AddressError> {
        let named = |text: &str, more: &[u8]| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        if !named(&self.bucket, b"-._") || self.bucket.starts_with('.') {
            return Err(AddressError::Bucket(self.bucket.clone()));
        }
        if !named(&self.region, b"-_") {
            return Err(AddressError::Region(self.region.clone()));
        }
        let endpoint = match &self.endpoint {
            Some(endpoint) => BaseUrl::parse(endpoint)?,
            None => {
                // China's regions are a partition of their own. Source: "Amazon S3 endpoints and quotas".
                let end = if self.region.starts_with("cn-") { ".cn" } else { "" };
                BaseUrl::parse(&format!("https://s3.{}.amazonaws.com{end}", self.region))?
            }
        };
        let (scheme, rest) = endpoint.text.split_at(endpoint.host.0);
        let mut text = if self.path_style || self.must_be_in_path(&endpoint) {
            format!("{}/{}", endpoint.text, self.bucket)
        } else {
            format!("{scheme}{}.{rest}", self.bucket)
        };
        if let Some(prefix) = self.prefix.as_deref().map(|prefix| prefix.trim_matches('/'))
            && !prefix.is_empty()
        {
            text.push('/');
            encode_into(&mut text, prefix, SIGNED_PATH);
        }
        BaseUrl::parse(&text)
    }

    /// Whether the bucket cannot be in the host name: an IP address has no subdomains, and the `*` of a certificate
    /// covers only one label.
    fn must_be_in_path(&self, endpoint: &BaseUrl) -> bool {
        let host = endpoint.host();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let address = name.parse::<IpAddr>().is_ok() || host.starts_with('[') || name == "localhost";
        address || (self.bucket.contains('.') && endpoint.text.starts_with("https:"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raas_types::{Digest, Reference};

    use crate::http::query::safe_bytes;

    fn location(endpoint: Option<&str>, bucket: &str, prefix: Option<&str>, path_style: bool) -> S3Location {
        S3Location {
            endpoint: endpoint.map(str::to_owned),
            region: "eu-west-1".into(),
            bucket: bucket.into(),
            prefix: prefix.map(str::to_owned),
            path_style,
        }
    }

    #[test]
    fn no_byte_of_a_key_needs_encoding() {
        let base = BaseUrl::parse("https://x/a%20b").unwrap();
        let name: raas_types::RepositoryName = "a-0.b/c__d--e/f_g".parse().unwrap();
        let tag: raas_types::Tag = "_A.-9z".parse().unwrap();
        let manifest = |reference| ObjectKey::manifest(&name, reference, "application/x");
        for key in [
            ObjectKey::Blob(name.clone(), Digest::of(b"")),
            manifest(Reference::Tag(tag)),
            manifest(Reference::Digest(Digest::of(b""))),
            ObjectKey::TagsList(name.clone()),
            ObjectKey::Snapshot(Digest::of(b"")),
            ObjectKey::Pointer,
        ] {
            let mut encoded = String::new();
            encode_into(&mut encoded, &key.to_string(), &safe_bytes(b"/:"));
            assert_eq!(base.of(&key), format!("https://x/a%20b/{encoded}"));
        }
    }

    #[test]
    fn every_kind_of_bucket_has_its_base_url() {
        let table = [
            (location(None, "acme", None, false), "https://acme.s3.eu-west-1.amazonaws.com"),
            (location(None, "acme", Some("/a/b/"), true), "https://s3.eu-west-1.amazonaws.com/acme/a/b"),
            (location(None, "acme.com", None, false), "https://s3.eu-west-1.amazonaws.com/acme.com"),
            (location(Some("http://minio:9000"), "acme.x", None, false), "http://acme.x.minio:9000"),
            (location(Some("http://127.0.0.1:9000/"), "acme", None, false), "http://127.0.0.1:9000/acme"),
            (location(Some("http://[::1]:9000"), "acme", None, false), "http://[::1]:9000/acme"),
            (location(Some("http://localhost:80"), "acme", Some(""), false), "http://localhost/acme"),
            (location(Some("https://x:443/s3"), "acme", Some("a b"), true), "https://x/s3/acme/a%20b"),
        ];
        for (location, url) in table {
            assert_eq!(location.base_url().unwrap().as_str(), url);
        }
        let china = S3Location { region: "cn-north-1".into(), ..location(None, "acme", None, false) };
        assert_eq!(china.base_url().unwrap().as_str(), "https://acme.s3.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for bucket in ["", "a/b", "a b", "a?b", ".."] {
            assert!(location(None, bucket, None, false).base_url().is_err(), "{bucket}");
        }
        for url in
            ["", "s3://x", "http://", "https://u:p@x", "https://x/?y", "https://x/#y", "x.com", "https://x y"]
        {
            assert_eq!(BaseUrl::parse(url), Err(AddressError::Url), "{url}");
        }
    }

    #[test]
    fn keys_are_appended_to_the_base_url() {
        let digest = Digest::of(b"");
        let key = ObjectKey::Blob("tools/app".parse().unwrap(), digest);
        let url = BaseUrl::parse("https://cdn.example.com/x/").unwrap().of(&key);
        assert_eq!(url, format!("https://cdn.example.com/x/tools/app/_v2/blobs/sha256:{}", digest.hex()));
    }
}
