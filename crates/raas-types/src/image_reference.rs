//! References to images in registries.

use std::fmt;
use std::str::FromStr;

use crate::{Reference, RepositoryName};

/// An image in a registry: `[docker://]host[:port]/name[:tag][@digest]`.
///
/// ```
/// use raas_types::ImageReference;
///
/// let image: ImageReference = "docker://registry.example.com/tools/backup:1.0".parse()?;
/// assert_eq!(image.api_host(), "registry.example.com");
/// assert_eq!(image.name.as_str(), "tools/backup");
/// assert_eq!(
///     image.manifest_url(&image.reference),
///     "https://registry.example.com/v2/tools/backup/manifests/1.0"
/// );
/// # Ok::<(), raas_types::ImageReferenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// Host and port, as the text had them.
    host: String,
    /// The repository.
    pub name: RepositoryName,
    /// The tag or digest; the tag `latest` for a text without one.
    pub reference: Reference,
}

/// A text that is not a reference to an image in a registry. The message shows no user name and no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an image in a registry: {reason}; expected host/name:tag, or a path that begins with `/` or `./`"
)]
pub struct ImageReferenceError {
    text: String,
    reason: String,
}

impl ImageReferenceError {
    /// The error for a text whose last part is neither a tag nor a digest.
    pub fn neither_tag_nor_digest(text: &str) -> Self {
        Self::new(text, "the part behind the name is neither a tag nor a digest")
    }

    fn new(text: &str, reason: &str) -> Self {
        Self { text: without_credentials(text).chars().take(200).collect(), reason: reason.to_owned() }
    }
}

impl ImageReference {
    /// The host and port of the registry's API.
    pub fn api_host(&self) -> &str {
        match self.host.as_str() {
            // The API of Docker Hub has another host than its images' names.
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            host => host,
        }
    }

    /// The base URL of the registry, without a slash at the end. As other clients do, raas uses TLS for every host
    /// except this machine.
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

    /// The URL of the repository's blobs; `/<digest>` behind it makes the URL of a blob.
    pub fn blobs_url(&self) -> String {
        format!("{}/v2/{}/blobs", self.base_url(), self.name)
    }
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        let wrong = |reason: &str| ImageReferenceError::new(text, reason);
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
        // The errors of the parts quote them, and a part may hold the signature of a URL.
        let name = name.parse().map_err(|_| wrong("the part behind the host is not a repository name"))?;
        let reference = digest.unwrap_or(tag).parse();
        let reference = reference.map_err(|_| ImageReferenceError::neither_tag_nor_digest(text))?;
        Ok(Self { host: host.to_owned(), name, reference })
    }
}

/// The text without what stands before an `@`, which may be a password, and without a query, which may be a
/// signature. An `@` behind the first slash of a text without a scheme separates a digest, which is no secret.
fn without_credentials(text: &str) -> String {
    let (scheme, address) = match text.split_once("://") {
        Some((scheme, address)) => (Some(scheme), address),
        None => (None, text),
    };
    let has_user = scheme.is_some() || address.split('/').next().is_some_and(|host| host.contains('@'));
    let shown = match address.rsplit_once('@') {
        Some((_, shown)) if has_user => shown,
        _ => address,
    };
    let shown = shown.split(['?', '#']).next().unwrap_or_default();
    scheme.map_or_else(|| shown.to_owned(), |scheme| format!("{scheme}://{shown}"))
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
    use crate::Digest;

    #[test]
    fn a_reference_leads_to_urls() {
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
        let digest = Digest::of(b"");
        let pinned: ImageReference = format!("x.org/a:1@{digest}").parse().unwrap();
        assert_eq!(pinned.to_string(), format!("x.org/a@{digest}"));
        for bad in ["", "ubi9", "library/debian", "x.org/A", "x.org/a:", "/a", "x.org/a@sha256:1"] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_shows_no_password() {
        for text in ["http://u:SECRET@x.org/a", "docker://u:SECRET@x.org/a", "u:SECRET@x.org/a"] {
            let shown = text.parse::<ImageReference>().unwrap_err().to_string();
            assert!(shown.contains("x.org/a") && !shown.contains("SECRET"), "{shown}");
        }
        let signed = "x.org/A?token=SECRET".parse::<ImageReference>().unwrap_err().to_string();
        assert!(!signed.contains("SECRET"), "{signed}");
    }
}
