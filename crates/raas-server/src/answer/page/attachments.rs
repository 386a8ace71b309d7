//! What is attached to an image: signatures, SBOMs, attestations and other artifacts.

use std::fmt::Write;

use raas_types::Digest;
use raas_types::pulls::Kind;

use super::escape;
use super::image::short;
use crate::catalog::{Manifest, Repository};

/// The number of attachments on a page.
const ATTACHMENTS: usize = 50;

/// Writes the attachments of a tag: those of its own manifest, and those of the images on the page.
pub(super) fn write(
    body: &mut String,
    repository: &Repository,
    own: &Digest,
    images: impl Iterator<Item = Digest>,
) {
    let subjects = [*own].into_iter().chain(images.filter(|image| image != own));
    let mut all = subjects.flat_map(|subject| of(repository, subject));
    let mut rows = String::new();
    for (kind, manifest, subject) in all.by_ref().take(ATTACHMENTS) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            "<tr><td>{}<td>{}<td class=\"wide\">{}",
            escape(&kind),
            short(&manifest.digest),
            short(&subject),
        );
    }
    if rows.is_empty() {
        return;
    }
    body.push_str(
        "<h2>Signatures and attachments</h2>\n<table>\n<thead><tr><th scope=\"col\">Kind<th scope=\"col\">Digest\
         <th scope=\"col\" class=\"wide\">Attached to</thead>\n<tbody>\n",
    );
    body.push_str(&rows);
    body.push_str("</tbody>\n</table>\n");
    if all.next().is_some() {
        body.push_str("<p>More are attached.</p>\n");
    }
}

/// The attachments of a manifest, with their kinds: first those that have a tag made of its digest.
fn of(repository: &Repository, subject: Digest) -> impl Iterator<Item = (String, &Manifest, Digest)> {
    let tagged = repository.attachment_tags(subject).filter_map(move |(tag, manifest)| {
        let kind = match Kind::of_tag(tag.as_str())? {
            Kind::Signature => "Signature".to_owned(),
            Kind::Attestation => "Attestation".into(),
            Kind::Sbom => "SBOM".into(),
            // The tag lists the referrers, which follow.
            Kind::Referrer => return None,
            _ => tag.as_str().rsplit('.').next().unwrap_or_default().to_owned(),
        };
        Some((kind, manifest.as_ref(), subject))
    });
    let referring = repository.referrers(subject, None).map(move |(manifest, referrer)| {
        (name(referrer.artifact_type.as_deref().unwrap_or_default()), manifest.as_ref(), subject)
    });
    tagged.chain(referring)
}

/// What people call an artifact of this type.
///
/// Source: the types that cosign, notation, BuildKit and the tools of SPDX and CycloneDX write.
fn name(artifact_type: &str) -> String {
    /// The longest type that is shown, in characters.
    const MAX: usize = 100;
    let has = |parts: &[&str]| parts.iter().any(|part| artifact_type.contains(part));
    if has(&["spdx", "cyclonedx", "sbom", "syft"]) {
        "SBOM".into()
    } else if has(&["in-toto", "attestation", "dsse"]) {
        "Attestation".into()
    } else if has(&["cosign", "sigstore", "signature"]) {
        "Signature".into()
    } else if artifact_type.is_empty() {
        "Artifact".into()
    } else {
        artifact_type.chars().take(MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn types_have_names() {
        for (artifact_type, expected) in [
            ("application/vnd.dev.cosign.artifact.sig.v1+json", "Signature"),
            ("application/vnd.cncf.notary.signature", "Signature"),
            ("application/vnd.dev.sigstore.bundle.v0.3+json", "Signature"),
            ("application/vnd.in-toto+json", "Attestation"),
            ("application/spdx+json", "SBOM"),
            ("application/vnd.cyclonedx+json", "SBOM"),
            ("application/vnd.acme.rocket", "application/vnd.acme.rocket"),
            ("", "Artifact"),
        ] {
            assert_eq!(name(artifact_type), expected);
        }
        assert_eq!(name(&"x".repeat(9999)).len(), 100);
    }
}
