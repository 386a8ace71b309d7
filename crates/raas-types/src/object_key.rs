//! Keys, media types and cache rules of the objects in a vendor's bucket. No other module knows them.

use std::fmt;

use crate::{Digest, ImageId, Reference, RepositoryName, StaticKey, media_type};

/// A file of a Docker v1 image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum V1File {
    /// The layer: a tar, packed or plain.
    Layer,
    /// The image's configuration.
    Json,
    /// The ids from the image to its base: a JSON list.
    Ancestry,
}

impl V1File {
    /// All files, in the order in which raas stores them.
    pub const ALL: [V1File; 3] = [V1File::Layer, V1File::Json, V1File::Ancestry];

    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            V1File::Layer => "layer",
            V1File::Json => "json",
            V1File::Ancestry => "ancestry",
        }
    }
}

/// An object of a vendor's bucket.
///
/// Docker v1 content has the keys `<image>/<image id>/<file>`. v2 content has the layout that Pulp publishes, one level
/// down under `_v2`, which no repository name can contain.
///
/// ```
/// use raas_types::{Digest, ObjectKey};
///
/// let digest = Digest::of(b"");
/// let key = ObjectKey::Blob("tools/backup".parse()?, digest);
/// assert_eq!(key.to_string(), format!("tools/backup/_v2/blobs/{digest}"));
/// assert!(ObjectKey::is_content(&key.to_string()));
/// # Ok::<(), raas_types::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKey {
    /// `<image>/<image id>/{layer,json,ancestry}`
    V1(RepositoryName, ImageId, V1File),
    /// `<image>/_v2/blobs/sha256:…`
    Blob(RepositoryName, Digest),
    /// `<image>/_v2/manifests/{2,list}/<tag or digest>`
    Manifest {
        /// The repository.
        repository: RepositoryName,
        /// Whether it is an image index or manifest list, which have a folder of their own.
        index: bool,
        /// The tag or digest in its key.
        reference: Reference,
        /// The manifest's own media type.
        media_type: String,
    },
    /// `<image>/_v2/tags/list`
    TagsList(RepositoryName),
    /// An atomic signature of a manifest, as lookaside storages have it: `<image>@sha256=<hex>/signature-<number>`
    Signature {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        digest: Digest,
        /// Its number among the signatures of the manifest, counted from 1.
        number: usize,
    },
    /// An object that raas writes, reads and deletes to check its access: `_probe/<nonce>`
    Probe(String),
    /// A part of a snapshot, an archive named by its own digest: `_metadata/<hex>.tar.gz`
    Snapshot(Digest),
    /// The pointer, which lists the parts that servers follow: `_metadata/current`
    Pointer,
    /// A piece of the record's history: a git pack, named by its last commit and its own digest. Only publishers read
    /// it: `_record/<commit>-<hex>.pack`
    History {
        /// The last commit in the pack.
        tip: String,
        /// The pack's digest.
        digest: Digest,
    },
    /// A publish lease: `_turns/<name>`
    PublishLease(String),
    /// An object of a static registry, which lies in a place of its own and not in the vendor's bucket: `v2/…`
    Static(StaticKey),
}

impl ObjectKey {
    /// The prefix of all v1 objects of a repository, `<image>/`.
    pub fn v1_prefix(repository: &RepositoryName) -> String {
        format!("{repository}/")
    }

    /// The prefix of all v2 objects of a repository, `<image>/_v2/`.
    pub fn v2_prefix(repository: &RepositoryName) -> String {
        format!("{repository}/_v2/")
    }

    /// The prefix of a repository's manifests, of images or indexes: `<image>/_v2/manifests/{2,list}/`.
    pub fn manifests_prefix(repository: &RepositoryName, index: bool) -> String {
        format!("{repository}/_v2/manifests/{}/", if index { "list" } else { "2" })
    }

    /// The prefix of a repository's signatures, `<image>@sha256=`.
    pub fn signatures_prefix(repository: &RepositoryName) -> String {
        format!("{repository}@sha256=")
    }

    /// The prefix of publish leases.
    pub const PUBLISH_LEASES: &str = "_turns/";

    /// The prefix of publish leases that their holders have released after an interruption.
    pub const DEAD_PUBLISH_LEASES: &str = "_turns/dead-";

    /// The prefix of the pointer and of the parts of snapshots.
    pub const SNAPSHOTS: &str = "_metadata/";

    /// The prefix of the record's history.
    pub const RECORD: &str = "_record/";

    /// Whether the text is the key of a [`Snapshot`](Self::Snapshot).
    pub fn is_snapshot(key: &str) -> bool {
        let hex = key.strip_prefix(Self::SNAPSHOTS).and_then(|name| name.strip_suffix(".tar.gz"));
        hex.is_some_and(|hex| Digest::from_hex(hex).is_ok())
    }

    /// Whether the text is the key of a piece of the [`History`](Self::History).
    pub fn is_history(key: &str) -> bool {
        Self::history(key).is_some()
    }

    /// The last commit and the digest in the key of a piece of the [`History`](Self::History).
    pub fn history(key: &str) -> Option<(&str, Digest)> {
        let (tip, hex) = key.strip_prefix(Self::RECORD)?.strip_suffix(".pack")?.split_once('-')?;
        let is_commit = matches!(tip.len(), 40 | 64) && tip.bytes().all(|b| b.is_ascii_hexdigit());
        is_commit.then_some((tip, Digest::from_hex(hex).ok()?))
    }

    /// Whether the text is a key where raas stores content of images. An object with any other key belongs to somebody
    /// else.
    pub fn is_content(key: &str) -> bool {
        let named = |name: &str| name.parse::<RepositoryName>().is_ok();
        if let Some((name, rest)) = key.split_once("/_v2/") {
            let parts: Vec<&str> = rest.split('/').collect();
            return named(name)
                && match parts.as_slice() {
                    ["blobs", digest] => digest.parse::<Digest>().is_ok(),
                    ["manifests", "2" | "list", reference] => reference.parse::<Reference>().is_ok(),
                    ["tags", "list"] => true,
                    _ => false,
                };
        }
        if let Some((name, rest)) = key.split_once("@sha256=") {
            let (hex, file) = rest.split_once('/').unwrap_or((rest, ""));
            let number = file.strip_prefix("signature-").and_then(|number| number.parse::<usize>().ok());
            return named(name) && Digest::from_hex(hex).is_ok() && number.is_some();
        }
        let mut parts = key.rsplitn(3, '/');
        let (file, id, name) = (parts.next(), parts.next(), parts.next());
        file.is_some_and(|file| V1File::ALL.iter().any(|known| known.name() == file))
            && id.is_some_and(|id| id.parse::<ImageId>().is_ok())
            && name.is_some_and(named)
    }

    /// The prefix of another registry further down in the same bucket, if the text is a key of such a registry.
    pub fn registry_below(key: &str) -> Option<&str> {
        let (prefix, rest) = key.split_once("/_metadata/").or_else(|| key.split_once("/_record/"))?;
        (!rest.is_empty()).then_some(prefix)
    }

    /// The media type to store and serve the object with.
    pub fn content_type(&self) -> &str {
        match self {
            ObjectKey::V1(_, _, V1File::Layer)
            | ObjectKey::Blob(..)
            | ObjectKey::Signature { .. }
            | ObjectKey::History { .. }
            | ObjectKey::Probe(_) => "application/octet-stream",
            ObjectKey::V1(_, _, V1File::Json | V1File::Ancestry)
            | ObjectKey::TagsList(_)
            | ObjectKey::PublishLease(_)
            | ObjectKey::Pointer => "application/json",
            ObjectKey::Snapshot(_) => "application/gzip",
            ObjectKey::Manifest { media_type, .. } => media_type,
            ObjectKey::Static(key) => key.content_type(),
        }
    }

    /// The `Cache-Control` to store and serve the object with. Content under its digest and the files of a v1 image
    /// never change; a tag moves.
    pub fn cache_control(&self) -> &'static str {
        match self {
            ObjectKey::V1(..)
            | ObjectKey::Blob(..)
            | ObjectKey::Snapshot(_)
            | ObjectKey::History { .. }
            | ObjectKey::Manifest { reference: Reference::Digest(_), .. } => {
                "public, max-age=31536000, immutable"
            }
            ObjectKey::Manifest { reference: Reference::Tag(_), .. }
            | ObjectKey::TagsList(_)
            | ObjectKey::Signature { .. }
            | ObjectKey::Pointer => "no-cache",
            ObjectKey::Static(key) if key.is_immutable() => "public, max-age=31536000, immutable",
            ObjectKey::Static(_) => "no-cache",
            ObjectKey::Probe(_) | ObjectKey::PublishLease(_) => "no-store",
        }
    }

    /// Writes the key as text.
    ///
    /// # Errors
    /// The errors of `out`.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            ObjectKey::V1(repository, id, file) => write!(out, "{repository}/{id}/{}", file.name()),
            // Each redirect writes such a key; writing it in pieces takes a third of the time of formatting.
            ObjectKey::Blob(repository, digest) => {
                out.write_str(repository.as_str())?;
                out.write_str("/_v2/blobs/")?;
                // A writer of URLs must encode the colon alone, and gets the digits as one piece.
                let mut text = [0; Digest::LENGTH];
                let (algorithm, digits) = digest.text(&mut text).split_at(7);
                out.write_str(algorithm)?;
                out.write_str(digits)
            }
            ObjectKey::Manifest { repository, index, reference, .. } => {
                write!(out, "{}{reference}", Self::manifests_prefix(repository, *index))
            }
            ObjectKey::TagsList(repository) => write!(out, "{repository}/_v2/tags/list"),
            ObjectKey::Signature { repository, digest, number } => {
                write!(out, "{}{}/signature-{number}", Self::signatures_prefix(repository), digest.hex())
            }
            ObjectKey::Probe(nonce) => write!(out, "_probe/{nonce}"),
            ObjectKey::Snapshot(digest) => write!(out, "_metadata/{}.tar.gz", digest.hex()),
            ObjectKey::Pointer => out.write_str("_metadata/current"),
            ObjectKey::History { tip, digest } => write!(out, "{}{tip}-{}.pack", Self::RECORD, digest.hex()),
            ObjectKey::PublishLease(name) => write!(out, "{}{name}", Self::PUBLISH_LEASES),
            ObjectKey::Static(key) => write!(out, "{key}"),
        }
    }

    /// The key of a manifest with this media type.
    pub fn manifest(repository: &RepositoryName, reference: Reference, media_type: &str) -> Self {
        ObjectKey::Manifest {
            repository: repository.clone(),
            index: media_type::is_index(media_type),
            reference,
            media_type: media_type.to_owned(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_layout_of_crane_and_pulp() {
        let name: RepositoryName = "tools/app".parse().unwrap();
        let id: ImageId = "e1f5733f050b2488a17b7630cb038bfbea8b7bdfa9bdfb99e63a33117e28d02f".parse().unwrap();
        let digest = Digest::of(b"");
        let tag = Reference::Tag("1.0".parse().unwrap());
        let table = [
            (ObjectKey::V1(name.clone(), id, V1File::Layer), format!("tools/app/{id}/layer")),
            (ObjectKey::Blob(name.clone(), digest), format!("tools/app/_v2/blobs/{digest}")),
            (
                ObjectKey::manifest(&name, tag, media_type::OCI_INDEX),
                "tools/app/_v2/manifests/list/1.0".to_owned(),
            ),
            (
                ObjectKey::manifest(&name, Reference::Digest(digest), media_type::DOCKER_MANIFEST),
                format!("tools/app/_v2/manifests/2/{digest}"),
            ),
            (ObjectKey::TagsList(name.clone()), "tools/app/_v2/tags/list".to_owned()),
            (
                ObjectKey::Signature { repository: name, digest, number: 2 },
                format!("tools/app@sha256={}/signature-2", digest.hex()),
            ),
            (ObjectKey::Snapshot(digest), format!("_metadata/{}.tar.gz", digest.hex())),
            (ObjectKey::Pointer, "_metadata/current".to_owned()),
            (
                ObjectKey::History { tip: "beef".repeat(10), digest },
                format!("_record/{}-{}.pack", "beef".repeat(10), digest.hex()),
            ),
            (ObjectKey::PublishLease("x".into()), "_turns/x".to_owned()),
        ];
        for (key, path) in table {
            assert_eq!(key.to_string(), path);
        }
    }

    #[test]
    fn keys_of_content_are_recognised_and_no_others() {
        let id = "e1f5733f050b2488a17b7630cb038bfbea8b7bdfa9bdfb99e63a33117e28d02f";
        let digest = Digest::of(b"");
        let good = [
            format!("a/b/_v2/blobs/{digest}"),
            format!("a/_v2/manifests/2/{digest}"),
            "a/_v2/manifests/list/1.0".into(),
            "a/_v2/tags/list".into(),
            format!("a/b/{id}/layer"),
            format!("a/b@sha256={id}/signature-1"),
        ];
        for key in good {
            assert!(ObjectKey::is_content(&key), "{key}");
        }
        let bad = [
            "website/index.html".to_owned(),
            "a/_v2/blobs/x".into(),
            "a/_v2/manifests/1/x".into(),
            format!("A/_v2/blobs/{digest}"),
            format!("_v2/blobs/{digest}"),
            format!("{id}/layer"),
            format!("a/{id}/layer/x"),
            "_metadata/current".into(),
            "reports/json".into(),
            format!("a@sha256={id}/signature-x"),
            format!("a@sha256={id}"),
            "a@sha256=beef/signature-1".into(),
        ];
        for key in bad {
            assert!(!ObjectKey::is_content(&key), "{key}");
        }
        assert_eq!(ObjectKey::registry_below("vendors/b/_metadata/current"), Some("vendors/b"));
        assert_eq!(ObjectKey::registry_below("_metadata/current"), None);
    }

    #[test]
    fn keys_of_snapshots_and_history_are_recognised() {
        let snapshot = ObjectKey::Snapshot(Digest::of(b"x")).to_string();
        let tip = "beef".repeat(10);
        let history = ObjectKey::History { tip: tip.clone(), digest: Digest::of(b"x") }.to_string();
        assert_eq!(ObjectKey::history(&history), Some((tip.as_str(), Digest::of(b"x"))));
        assert!(ObjectKey::is_snapshot(&snapshot) && ObjectKey::is_history(&history));
        for other in [ObjectKey::Pointer, ObjectKey::Probe("x".into())] {
            assert!(!ObjectKey::is_snapshot(&other.to_string()), "{other}");
        }
        assert!(!ObjectKey::is_snapshot(&history) && !ObjectKey::is_history(&snapshot));
    }
}
