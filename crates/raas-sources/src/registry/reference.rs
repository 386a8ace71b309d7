//! Names of images in registries elsewhere.

use std::fmt;
use std::str::FromStr;

use raas_types::{Reference, RepositoryName};

use raas_base::redact;

/// An image in a registry that runs: `[docker://]host[:port]/name[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// Host and port, as they were written.
    host: String,
    /// The repository.
    pub name: RepositoryName,
    /// The tag or the digest.
    pub reference: Reference,
}

impl ImageReference {
    /// The registry's host and port, where its API is.
    pub fn api_host(&self) -> &str {
        match self.host.as_str() {
            // Docker Hub's API is not where its name says.
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            host => host,
        }
    }

    /// The base URL of the registry, without a slash at the end. As clients do, raas speaks without TLS to this
    /// machine alone.
    pub fn base_url(&self) -> String {
        let host = self.api_host();
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        let local = matches!(bare, "localhost" | "127.0.0.1" | "[::1]");
        format!("{}://{host}", if local { "http" } else { "https" })
    }

    /// The URL of a manifest.
    pub fn manifest_url(&self, reference: &Reference) -> String {
        format!("{}/v2/{}/manifests/{reference}", self.base_url(), self.name)
    }

    /// The URL of the repository's blobs, to which `/<digest>` is added.
    pub fn blobs_url(&self) -> String {
        format!("{}/v2/{}/blobs", self.base_url(), self.name)
    }
}

impl FromStr for ImageReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            let shown: String = redact::text(text).chars().take(200).collect();
            format!(
                "`{shown}` is not an image in a registry: {why}; expected host/name:tag, or a path that begins with `/` or `./`"
            )
        };
        let plain = text.strip_prefix("docker://").unwrap_or(text);
        let (host, rest) = plain.split_once('/').ok_or_else(|| wrong("it names no host"))?;
        let is_host = !host.is_empty()
            && (host.contains(['.', ':']) || host == "localhost")
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        if !is_host {
            return Err(wrong("it names no host"));
        }
        let (named, digest) = match rest.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (rest, None),
        };
        let (name, tag) = match named.split_once(':') {
            Some((name, tag)) => (name, tag),
            None => (named, "latest"),
        };
        let mut name = name.to_owned();
        if matches!(host, "docker.io" | "index.docker.io") && !name.contains('/') {
            name.insert_str(0, "library/");
        }
        let name = name.parse().map_err(|error| wrong(&format!("{error}")))?;
        let reference = digest.unwrap_or(tag).parse().map_err(|error| wrong(&format!("{error}")))?;
        Ok(Self { host: host.to_owned(), name, reference })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(self.reference, Reference::Digest(_)) { '@' } else { ':' };
        write!(f, "{}/{}{separator}{}", self.host, self.name, self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_urls() {
        let digest = raas_types::Digest::of(b"");
        let table = [
            (
                "docker://registry.access.redhat.com/ubi9:9.4",
                "https://registry.access.redhat.com/v2/ubi9/manifests/9.4".to_owned(),
            ),
            ("127.0.0.1:5000/a/b", "http://127.0.0.1:5000/v2/a/b/manifests/latest".into()),
            ("docker.io/debian", "https://registry-1.docker.io/v2/library/debian/manifests/latest".into()),
        ];
        for (text, url) in table {
            let image: ImageReference = text.parse().unwrap();
            assert_eq!(image.manifest_url(&image.reference), url);
        }
        let pinned: ImageReference = format!("x.org/a:1@{digest}").parse().unwrap();
        assert_eq!(pinned.to_string(), format!("x.org/a@{digest}"));
        for bad in ["", "ubi9", "library/debian", "x.org/A", "x.org/a:", "/a", "x.org/a@sha256:1"] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad}");
        }
        let told = "http://u:SECRET@x.org/a".parse::<ImageReference>().unwrap_err();
        assert!(told.contains("x.org/a") && !told.contains("SECRET"), "{told}");
    }
}
