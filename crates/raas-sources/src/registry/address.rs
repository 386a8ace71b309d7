//! The address of a repository in a registry, as the source of images.

use std::fmt;
use std::str::FromStr;

use raas_types::{Digest, ImageReference, ImageReferenceError, RepositoryName, Tag};

/// `docker://host[:port]/name[:tag][@digest]`, with `oci://` as another spelling. Without a tag and a digest, it means
/// every tag of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAddress {
    /// The host and the port of the registry's API.
    pub host: String,
    /// The repository.
    pub name: RepositoryName,
    /// The only tag.
    pub tag: Option<Tag>,
    /// The digest of the only image.
    pub digest: Option<Digest>,
}

/// The schemes of addresses of registries.
const SCHEMES: [&str; 2] = ["docker://", "oci://"];

impl RegistryAddress {
    /// Whether a text has the scheme of such an address.
    pub fn is_meant_by(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| starts_with(text, scheme))
    }

    /// Whether the host is this machine. As other clients do, raas asks it without TLS.
    pub fn is_local(&self) -> bool {
        let bare = self.host.rsplit_once(':').map_or(self.host.as_str(), |(bare, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) { bare } else { &self.host }
        });
        let address = bare.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

fn starts_with(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
}

impl FromStr for RegistryAddress {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        let scheme = SCHEMES.iter().find(|scheme| starts_with(text, scheme));
        let plain = scheme.map_or(text, |scheme| &text[scheme.len()..]);
        // One grammar for all references. The scheme stands before the text, so that the error hides a user name.
        let image: ImageReference = format!("docker://{plain}").parse()?;
        let (named, digest) = match plain.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (plain, None),
        };
        let (_, behind_host) = named.split_once('/').unwrap_or((named, ""));
        let tag = behind_host.split_once(':').map(|(_, tag)| tag.parse()).transpose();
        let digest = digest.map(str::parse).transpose();
        // An invalid tag must be an error: an address without a tag means all tags.
        let (Ok(tag), Ok(digest)) = (tag, digest) else {
            return Err(ImageReferenceError::neither_tag_nor_digest(plain));
        };
        Ok(Self { host: image.api_host().to_owned(), name: image.name, tag, digest })
    }
}

impl fmt::Display for RegistryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker://{}/{}", self.host, self.name)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_repository_a_tag_or_a_digest() {
        let digest = Digest::of(b"");
        let pinned = format!("oci://x.org/a:1@{digest}");
        let table = [
            ("docker://x.org/a/b", "docker://x.org/a/b".to_owned()),
            ("DOCKER://x.org:5000/a:1.0", "docker://x.org:5000/a:1.0".to_owned()),
            ("docker://docker.io/debian:12", "docker://registry-1.docker.io/library/debian:12".to_owned()),
            (&pinned, format!("docker://x.org/a:1@{digest}")),
        ];
        for (text, shown) in table {
            assert!(RegistryAddress::is_meant_by(text));
            assert_eq!(text.parse::<RegistryAddress>().unwrap().to_string(), shown);
        }
        for bad in [
            "docker://x.org",
            "docker://busybox",
            "docker://x.org/A",
            "docker://x.org/a:",
            "docker://x.org/a@1",
            "docker://x.org/a:-x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert!(bad.parse::<RegistryAddress>().is_err(), "{bad}");
        }
        let error = "docker://u:hunter2@x.org/a".parse::<RegistryAddress>().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn only_this_machine_is_local() {
        for (host, local) in [
            ("localhost:5000", true),
            ("127.0.0.1", true),
            ("127.8.0.1:1", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
        ] {
            let address: RegistryAddress = format!("docker://{host}/a").parse().unwrap();
            assert_eq!(address.is_local(), local, "{host}");
        }
    }
}
