//! What is attached to an image: signatures, SBOMs, attestations and other artifacts.

use std::fmt::Write;

use raas_types::Digest;
use raas_types::pulls::Kind;

use super::super::SiteRequest;
use super::{command, digest, escape};
use crate::catalog::{Manifest, Repository};

/// The kind of a signature.
const SIGNATURE: &str = "Signature";

/// The number of attachments on a page.
const ATTACHMENTS: usize = 50;

/// Writes the attachments of the images of a page, each below its image.
pub(super) struct Attachments<'a> {
    request: &'a SiteRequest<'a>,
    repository: &'a Repository,
    /// The number of attachments that the page may still show.
    room: usize,
}

impl<'a> Attachments<'a> {
    pub(super) fn new(request: &'a SiteRequest<'a>, repository: &'a Repository) -> Self {
        Self { request, repository, room: ATTACHMENTS }
    }

    /// Writes what is attached to a manifest, and the attestations that its index lists.
    pub(super) fn write(
        &mut self,
        body: &mut String,
        subject: &Digest,
        listed: &[&'a Manifest],
        heading: &str,
    ) {
        let listed = listed.iter().map(|manifest| ("Attestation".to_owned(), *manifest));
        let mut all = of(self.repository, *subject).chain(listed);
        let mut rows = String::new();
        let mut is_signed = false;
        for (kind, manifest) in all.by_ref().take(self.room) {
            self.room -= 1;
            is_signed |= kind == SIGNATURE;
            // Writing to a string cannot fail.
            let _ = writeln!(rows, "<tr><th scope=\"row\">{}<td>{}", escape(&kind), digest(&manifest.digest));
        }
        let more = all.next().is_some();
        if rows.is_empty() && !more {
            return;
        }
        let _ = writeln!(body, "<h3>{heading}</h3>");
        if !rows.is_empty() {
            let _ = writeln!(
                body,
                "<table class=\"attached\">\n<thead><tr><th scope=\"col\">Kind<th scope=\"col\">Digest</thead>\n<tbody>\n\
                 {rows}</tbody>\n</table>"
            );
        }
        if is_signed {
            let _ = writeln!(
                body,
                "<p class=\"dim\">To check a signature of cosign, ask the vendor for the public key, and run <code class=\"all\">cosign \
                 verify --key vendor.pub {}/{}@{subject}</code> (with <code>--insecure-ignore-tlog</code> if the vendor uses no public \
                 log).</p>",
                escape(command::registry(self.request)),
                escape(self.repository.name.as_str()),
            );
        }
        if more {
            body.push_str("<p class=\"dim\">More are attached.</p>\n");
        }
    }
}

/// The attachments of a manifest, with their kinds: first those that have a tag made of its digest.
fn of(repository: &Repository, subject: Digest) -> impl Iterator<Item = (String, &Manifest)> {
    let tagged = repository.attachment_tags(subject).filter_map(|(tag, manifest)| {
        let kind = match Kind::of_tag(tag.as_str())? {
            Kind::Signature => SIGNATURE.to_owned(),
            Kind::Attestation => "Attestation".into(),
            Kind::Sbom => "SBOM".into(),
            // The tag lists the referrers, which follow.
            Kind::Referrer => return None,
            _ => tag.as_str().rsplit('.').next().unwrap_or_default().to_owned(),
        };
        Some((kind, manifest.as_ref()))
    });
    let referring = repository.referrers(subject, None).map(|(manifest, referrer)| {
        (name(referrer.artifact_type.as_deref().unwrap_or_default()), manifest.as_ref())
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
        SIGNATURE.into()
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
