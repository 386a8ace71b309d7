//! Where every object of a vendor's bucket lies, what it is and how long it may be cached: the one place that knows.

use std::fmt;

use crate::{Digest, ImageId, Reference, RepositoryName, media_type};

/// A file of a Docker v1 image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum V1File {
    /// The image's file system changes, a tar, packed or not.
    Layer,
    /// The image's configuration.
    Json,
    /// The ids from the image to its base, a JSON list.
    Ancestry,
}

impl V1File {
    /// All three, in the order in which they are stored.
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
/// Docker v1 content lies as the brief has it, `<image>/<image id>/<file>`; v2 content as Pulp publishes it, one
/// level down under `_v2`, which no repository name can contain.
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
        /// Whether it is an image index or manifest list, which Crane keeps apart.
        index: bool,
        /// The tag or digest that it is found under.
        reference: Reference,
        /// The manifest's own media type.
        media_type: String,
    },
    /// `<image>/_v2/tags/list`
    TagsList(RepositoryName),
    /// An object that is written, read and deleted to see whether that works: `_probe/<nonce>`
    Probe(String),
    /// A part of the metadata of a publication, an archive named by its own digest: `_metadata/<hex>.tar.gz`
    Snapshot(Digest),
    /// Which of them are served: `_metadata/current`
    Pointer,
    /// A part of the record's history, up to the commit that it is named by too, for others who publish and for nobody
    /// else: `_record/<commit>-<hex>.pack`
    History {
        /// The last commit in it.
        tip: String,
        /// The pack's digest.
        digest: Digest,
    },
    /// Says that somebody publishes at the moment: `_turns/<name>`
    Turn(String),
}

impl ObjectKey {
    /// The prefix under which all v1 objects of a repository lie, `<image>/`.
    pub fn v1_prefix(repository: &RepositoryName) -> String {
        format!("{repository}/")
    }

    /// The prefix under which all v2 objects of a repository lie, `<image>/_v2/`.
    pub fn v2_prefix(repository: &RepositoryName) -> String {
        format!("{repository}/_v2/")
    }

    /// The prefix under which a repository's manifests lie, images or indexes, `<image>/_v2/manifests/{2,list}/`.
    pub fn manifests_prefix(repository: &RepositoryName, index: bool) -> String {
        format!("{repository}/_v2/manifests/{}/", if index { "list" } else { "2" })
    }

    /// The prefix under which the turns of those who publish lie.
    pub const TURNS: &str = "_turns/";

    /// What the keys of turns begin with whose holders have said that they are dead.
    pub const DEAD_TURNS: &str = "_turns/dead-";

    /// The prefix under which the parts of snapshots lie, and the pointer.
    pub const SNAPSHOTS: &str = "_metadata/";

    /// The prefix under which the record's history lies.
    pub const RECORD: &str = "_record/";

    /// Whether a key, as text, is that of a [`Snapshot`](Self::Snapshot).
    pub fn is_snapshot(key: &str) -> bool {
        let hex = key.strip_prefix(Self::SNAPSHOTS).and_then(|name| name.strip_suffix(".tar.gz"));
        hex.is_some_and(|hex| Digest::from_hex(hex).is_ok())
    }

    /// Whether a key, as text, is that of a part of the [`History`](Self::History).
    pub fn is_history(key: &str) -> bool {
        Self::history(key).is_some()
    }

    /// The last commit in a part of the [`History`](Self::History), and the part's digest, by its key as text.
    pub fn history(key: &str) -> Option<(&str, Digest)> {
        let (tip, hex) = key.strip_prefix(Self::RECORD)?.strip_suffix(".pack")?.split_once('-')?;
        let is_commit = matches!(tip.len(), 40 | 64) && tip.bytes().all(|b| b.is_ascii_hexdigit());
        is_commit.then_some((tip, Digest::from_hex(hex).ok()?))
    }

    /// Whether a key, as text, is that of an image's content, where raas would store it. Whatever else lies in a bucket is
    /// somebody else's.
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
        let mut parts = key.rsplitn(3, '/');
        let (file, id, name) = (parts.next(), parts.next(), parts.next());
        file.is_some_and(|file| V1File::ALL.iter().any(|known| known.name() == file))
            && id.is_some_and(|id| id.parse::<ImageId>().is_ok())
            && name.is_some_and(named)
    }

    /// The prefix of another registry that a key, as text, belongs to, if it does: one further down in the same bucket.
    pub fn registry_below(key: &str) -> Option<&str> {
        let (prefix, rest) = key.split_once("/_metadata/").or_else(|| key.split_once("/_record/"))?;
        (!rest.is_empty()).then_some(prefix)
    }

    /// The media type to store and serve the object with.
    pub fn content_type(&self) -> &str {
        match self {
            ObjectKey::V1(_, _, V1File::Layer)
            | ObjectKey::Blob(..)
            | ObjectKey::History { .. }
            | ObjectKey::Probe(_) => "application/octet-stream",
            ObjectKey::V1(_, _, V1File::Json | V1File::Ancestry)
            | ObjectKey::TagsList(_)
            | ObjectKey::Turn(_)
            | ObjectKey::Pointer => "application/json",
            ObjectKey::Snapshot(_) => "application/gzip",
            ObjectKey::Manifest { media_type, .. } => media_type,
        }
    }

    /// The `Cache-Control` to store and serve the object with: content under its digest never changes, nor do the
    /// files of a v1 image, while a tag moves.
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
            | ObjectKey::Pointer => "no-cache",
            ObjectKey::Probe(_) | ObjectKey::Turn(_) => "no-store",
        }
    }

    /// Writes the key as text.
    ///
    /// # Errors
    /// As whatever it is written to.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            ObjectKey::V1(repository, id, file) => write!(out, "{repository}/{id}/{}", file.name()),
            // In pieces, which costs a third: each redirect has one.
            ObjectKey::Blob(repository, digest) => {
                out.write_str(repository.as_str())?;
                out.write_str("/_v2/blobs/")?;
                // What is encoded in a URL is the colon, and the digits need not be looked at one by one for it.
                let mut text = [0; Digest::LENGTH];
                let (algorithm, digits) = digest.text(&mut text).split_at(7);
                out.write_str(algorithm)?;
                out.write_str(digits)
            }
            ObjectKey::Manifest { repository, index, reference, .. } => {
                write!(out, "{}{reference}", Self::manifests_prefix(repository, *index))
            }
            ObjectKey::TagsList(repository) => write!(out, "{repository}/_v2/tags/list"),
            ObjectKey::Probe(nonce) => write!(out, "_probe/{nonce}"),
            ObjectKey::Snapshot(digest) => write!(out, "_metadata/{}.tar.gz", digest.hex()),
            ObjectKey::Pointer => out.write_str("_metadata/current"),
            ObjectKey::History { tip, digest } => write!(out, "{}{tip}-{}.pack", Self::RECORD, digest.hex()),
            ObjectKey::Turn(name) => write!(out, "{}{name}", Self::TURNS),
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
    fn keys_are_laid_out_as_the_brief_and_pulp_do() {
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
            (ObjectKey::TagsList(name), "tools/app/_v2/tags/list".to_owned()),
            (ObjectKey::Snapshot(digest), format!("_metadata/{}.tar.gz", digest.hex())),
            (ObjectKey::Pointer, "_metadata/current".to_owned()),
            (
                ObjectKey::History { tip: "beef".repeat(10), digest },
                format!("_record/{}-{}.pack", "beef".repeat(10), digest.hex()),
            ),
            (ObjectKey::Turn("x".into()), "_turns/x".to_owned()),
        ];
        for (key, path) in table {
            assert_eq!(key.to_string(), path);
        }
    }

    #[test]
    fn content_is_known_by_its_key_and_nothing_else_is() {
        let id = "e1f5733f050b2488a17b7630cb038bfbea8b7bdfa9bdfb99e63a33117e28d02f";
        let digest = Digest::of(b"");
        let good = [
            format!("a/b/_v2/blobs/{digest}"),
            format!("a/_v2/manifests/2/{digest}"),
            "a/_v2/manifests/list/1.0".into(),
            "a/_v2/tags/list".into(),
            format!("a/b/{id}/layer"),
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
        ];
        for key in bad {
            assert!(!ObjectKey::is_content(&key), "{key}");
        }
        assert_eq!(ObjectKey::registry_below("vendors/b/_metadata/current"), Some("vendors/b"));
        assert_eq!(ObjectKey::registry_below("_metadata/current"), None);
    }

    #[test]
    fn snapshots_and_history_are_known_by_their_keys() {
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
