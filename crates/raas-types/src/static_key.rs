//! Keys of a registry that is served without a server of raas: each path of the distribution API is an object.

use std::fmt;

use crate::{Digest, Reference, RepositoryName, media_type};

/// An object of a static registry. Its key is the path that clients ask for, without the first slash.
///
/// Source: OCI distribution-spec 1.1, "Endpoints".
///
/// ```
/// use raas_types::{Digest, StaticKey};
///
/// let digest = Digest::of(b"");
/// let key = StaticKey::Blob("tools/backup".parse()?, digest);
/// assert_eq!(key.to_string(), format!("v2/tools/backup/blobs/{digest}"));
/// assert!(StaticKey::is_one(&key.to_string()));
/// # Ok::<(), raas_types::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StaticKey {
    /// `v2/`, which tells clients that a registry is here.
    Base,
    /// `v2/<image>/blobs/sha256:…`
    Blob(RepositoryName, Digest),
    /// `v2/<image>/manifests/<tag or digest>`
    Manifest {
        /// The repository.
        repository: RepositoryName,
        /// The tag or digest in its key.
        reference: Reference,
        /// The manifest's own media type.
        media_type: String,
    },
    /// `v2/<image>/tags/list`
    TagsList(RepositoryName),
    /// `v2/<image>/referrers/sha256:…`
    Referrers(RepositoryName, Digest),
}

impl StaticKey {
    /// The prefix of all keys.
    pub const PREFIX: &str = "v2/";

    /// Whether the text is the key of such an object.
    pub fn is_one(key: &str) -> bool {
        let Some(rest) = key.strip_prefix(Self::PREFIX) else { return false };
        if rest.is_empty() {
            return true;
        }
        let mut parts = rest.rsplitn(3, '/');
        let (last, kind, name) = (parts.next(), parts.next(), parts.next());
        let (Some(last), Some(kind), Some(name)) = (last, kind, name) else { return false };
        let is_last = match kind {
            "blobs" | "referrers" => last.parse::<Digest>().is_ok(),
            "manifests" => last.parse::<Reference>().is_ok(),
            "tags" => last == "list",
            _ => false,
        };
        is_last && name.parse::<RepositoryName>().is_ok()
    }

    /// The media type to store and serve the object with.
    pub fn content_type(&self) -> &str {
        match self {
            StaticKey::Base | StaticKey::TagsList(_) => "application/json",
            StaticKey::Blob(..) => "application/octet-stream",
            StaticKey::Manifest { media_type, .. } => media_type,
            StaticKey::Referrers(..) => media_type::OCI_INDEX,
        }
    }

    /// Whether the content of the key never changes.
    pub fn is_immutable(&self) -> bool {
        self.digest().is_some()
    }

    /// The digest of the object's bytes, if the key has it.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            StaticKey::Blob(_, digest) | StaticKey::Manifest { reference: Reference::Digest(digest), .. } => {
                Some(*digest)
            }
            _ => None,
        }
    }
}

impl fmt::Display for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = Self::PREFIX;
        match self {
            StaticKey::Base => f.write_str(prefix),
            StaticKey::Blob(repository, digest) => write!(f, "{prefix}{repository}/blobs/{digest}"),
            StaticKey::Manifest { repository, reference, .. } => {
                write!(f, "{prefix}{repository}/manifests/{reference}")
            }
            StaticKey::TagsList(repository) => write!(f, "{prefix}{repository}/tags/list"),
            StaticKey::Referrers(repository, digest) => write!(f, "{prefix}{repository}/referrers/{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_paths_of_the_distribution_api() {
        let name: RepositoryName = "tools/app".parse().unwrap();
        let digest = Digest::of(b"");
        let manifest = |reference| StaticKey::Manifest {
            repository: name.clone(),
            reference,
            media_type: media_type::DOCKER_LIST.to_owned(),
        };
        let table = [
            (StaticKey::Base, "v2/".to_owned(), "application/json"),
            (
                StaticKey::Blob(name.clone(), digest),
                format!("v2/tools/app/blobs/{digest}"),
                "application/octet-stream",
            ),
            (manifest("1.0".parse().unwrap()), "v2/tools/app/manifests/1.0".into(), media_type::DOCKER_LIST),
            (
                manifest(Reference::Digest(digest)),
                format!("v2/tools/app/manifests/{digest}"),
                media_type::DOCKER_LIST,
            ),
            (StaticKey::TagsList(name.clone()), "v2/tools/app/tags/list".into(), "application/json"),
            (
                StaticKey::Referrers(name.clone(), digest),
                format!("v2/tools/app/referrers/{digest}"),
                media_type::OCI_INDEX,
            ),
        ];
        for (key, path, content_type) in table {
            assert_eq!((key.to_string(), key.content_type()), (path.clone(), content_type));
            assert!(StaticKey::is_one(&path), "{path}");
        }
    }

    #[test]
    fn other_keys_are_not_taken_for_those_of_a_static_registry() {
        let digest = Digest::of(b"");
        for key in [
            "index.html",
            "v2",
            "v2/app",
            "v2/app/blobs/x",
            "v2/app/tags/other",
            "v2/app/manifests/-x",
            "v2/App/tags/list",
            &format!("v2/_v2/blobs/{digest}"),
            &format!("app/_v2/blobs/{digest}"),
        ] {
            assert!(!StaticKey::is_one(key), "{key}");
        }
    }
}
