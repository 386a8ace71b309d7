//! What requests are for, and which clients are mirrors.

use crate::Digest;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An index of manifests.
    Index,
    /// The manifest of an image.
    Manifest,
    /// A signature of cosign, by its tag.
    Signature,
    /// An attestation of cosign, by its tag.
    Attestation,
    /// An SBOM of cosign, by its tag.
    Sbom,
    /// A manifest with a `subject`, or the tag that lists the referrers of a manifest.
    Referrer,
    /// Another manifest whose tag is made of a digest.
    Attached,
    /// The list of a manifest's referrers.
    Referrers,
    /// A config or a layer.
    Blob,
    /// The list of tags.
    Tags,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 10] = [
        Kind::Index,
        Kind::Manifest,
        Kind::Signature,
        Kind::Attestation,
        Kind::Sbom,
        Kind::Referrer,
        Kind::Attached,
        Kind::Referrers,
        Kind::Blob,
        Kind::Tags,
    ];

    /// Its name in the access log and in labels of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Index => "index",
            Kind::Manifest => "manifest",
            Kind::Signature => "sig",
            Kind::Attestation => "att",
            Kind::Sbom => "sbom",
            Kind::Referrer => "referrer",
            Kind::Attached => "other",
            Kind::Referrers => "referrers",
            Kind::Blob => "blob",
            Kind::Tags => "tags",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of a tag made of a digest, as cosign makes them: `sha256-<hex>.sig`. The fallback of the referrers API
    /// is such a tag without an ending. `None` for other tags.
    ///
    /// Source: cosign, "Signature Spec"; OCI distribution-spec 1.1, "Referrers Tag Schema".
    pub fn of_tag(tag: &str) -> Option<Self> {
        let rest = tag.strip_prefix("sha256-")?;
        let (hex, end) = rest.split_once('.').unwrap_or((rest, ""));
        Digest::from_hex(hex).ok()?;
        Some(match end {
            "sig" => Kind::Signature,
            "att" => Kind::Attestation,
            "sbom" => Kind::Sbom,
            "" => Kind::Referrer,
            _ => Kind::Attached,
        })
    }
}

/// Whether a `User-Agent` is of a program whose only work is to keep copies of registries: Harbor's replication and
/// proxy, Artifactory, Nexus, regsync. CNCF distribution's pull-through cache has the `User-Agent` of any Go program,
/// so only its requests can tell that it is a mirror.
pub fn is_mirror(user_agent: &str) -> bool {
    const BEGINNINGS: [&str; 4] = ["harbor-registry-client", "Artifactory/", "Nexus/", "regclient/regsync"];
    BEGINNINGS
        .iter()
        .any(|one| user_agent.get(..one.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(one)))
}

/// Whether a `User-Agent` is of raas itself, which reads manifests to check them or to mask their layers, and never
/// runs an image.
pub(super) fn is_ours(user_agent: &str) -> bool {
    user_agent.starts_with("raas/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_are_told_from_images() {
        let hex = "a".repeat(64);
        let table = [
            ("1.0".to_owned(), None),
            (format!("sha256-{hex}.sig"), Some(Kind::Signature)),
            (format!("sha256-{hex}.att"), Some(Kind::Attestation)),
            (format!("sha256-{hex}.sbom"), Some(Kind::Sbom)),
            (format!("sha256-{hex}"), Some(Kind::Referrer)),
            (format!("sha256-{hex}.x"), Some(Kind::Attached)),
            ("sha256-abc.sig".to_owned(), None),
        ];
        for (tag, kind) in table {
            assert_eq!(Kind::of_tag(&tag), kind, "{tag}");
        }
    }

    #[test]
    fn names_are_read_back() {
        assert!(Kind::ALL.iter().all(|kind| Kind::from_name(kind.name()) == Some(*kind)));
        assert!(
            is_mirror("Nexus/3.70 (OSS)")
                && is_mirror("nexus/3")
                && !is_mirror("docker/27")
                && !is_mirror("ü")
        );
    }
}
