//! Finds what is a signature of an image, or looks like one: in the source of a push, and in published referrers.

use std::collections::BTreeMap;

use raas_image::ManifestSet;
use raas_signatures::signature_manifest::{self, MAX_SIGNATURES, PAYLOAD};
use raas_signatures::{bundle, notation};
use raas_types::{AtomicSignature, Descriptor, Digest, Manifest, ManifestBody};

use super::source::Signatures;

/// Something that is a signature, or looks like one.
pub(super) struct Found {
    /// How messages call it.
    pub(super) what: String,
    pub(super) kind: FoundKind,
}

pub(super) enum FoundKind {
    /// A payload of cosign, with its signature in an annotation.
    Payload(Descriptor),
    /// A sigstore bundle.
    Bundle(Descriptor),
    /// An envelope of Notation.
    Notation(Descriptor),
    /// An OpenPGP message.
    Atomic(AtomicSignature),
    /// Something else, and why it does not count.
    Unknown(String),
}

/// The signatures of the source by the manifests that they are for.
pub(super) fn find(set: &ManifestSet, atomic: &Signatures) -> BTreeMap<Digest, Vec<Found>> {
    let mut found: BTreeMap<Digest, Vec<Found>> = BTreeMap::new();
    for image in set.manifests.keys() {
        let tag = signature_manifest::tag(image);
        if let Some(item) = set.tags.get(&tag).and_then(|digest| set.manifests.get(digest)) {
            found.entry(*image).or_default().extend(in_layers(layers(&item.manifest), tag.as_str()));
        }
    }
    for (digest, item) in &set.manifests {
        if let Some(subject) = &item.manifest.subject {
            let shown = format!("referrer {}", digest.short());
            found.entry(subject.digest).or_default().extend(in_referrer(&item.manifest, &shown));
        }
    }
    for (image, signatures) in atomic {
        let atomic = |(n, signature): (usize, &AtomicSignature)| Found {
            what: format!("atomic signature {}", n + 1),
            kind: FoundKind::Atomic(signature.clone()),
        };
        found.entry(*image).or_default().extend(signatures.iter().enumerate().map(atomic));
    }
    found
}

/// The signatures in a manifest that refers to an image. Messages call the manifest by `shown`.
pub(super) fn in_referrer(manifest: &Manifest, shown: &str) -> Vec<Found> {
    let layers = layers(manifest);
    match manifest.artifact_type.as_deref() {
        Some(notation::ARTIFACT_TYPE) => vec![in_notation(layers, shown.to_owned())],
        Some(kind) if bundle::is_media_type(kind) => in_bundles(layers, shown),
        // Another attachment may have any layers. Only payloads of signatures are looked at.
        _ => in_layers(layers, shown).into_iter().filter(Found::is_payload).collect(),
    }
}

/// The payloads in the layers of cosign's manifest. Messages call the manifest by `shown`.
pub(super) fn in_layers(layers: &[Descriptor], shown: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        let what = format!("signature {} of {shown}", n + 1);
        if n == MAX_SIGNATURES {
            found.push(Found::unknown(what, &format!("raas looks at the first {MAX_SIGNATURES} only")));
            break;
        }
        found.push(match layer.media_type.as_str() {
            PAYLOAD => Found { what, kind: FoundKind::Payload(layer.clone()) },
            _ => Found::unknown(what, &format!("its media type is not {PAYLOAD}")),
        });
    }
    found
}

fn in_bundles(layers: &[Descriptor], shown: &str) -> Vec<Found> {
    let layers = layers.iter().filter(|layer| bundle::is_media_type(&layer.media_type));
    let found = |(n, layer): (usize, &Descriptor)| Found {
        what: format!("bundle {} of {shown}", n + 1),
        kind: FoundKind::Bundle(layer.clone()),
    };
    layers.take(MAX_SIGNATURES).enumerate().map(found).collect()
}

/// The envelope in an artifact of Notation. Source: Notary Project, signature-specification.md, "OCI Signatures": it has one
/// layer.
fn in_notation(layers: &[Descriptor], what: String) -> Found {
    match layers {
        [layer] if layer.media_type == notation::JWS => {
            Found { what, kind: FoundKind::Notation(layer.clone()) }
        }
        [layer] if layer.media_type == notation::COSE => Found::unknown(
            what,
            "its envelope is COSE, and raas reads those in JSON: `notation sign --signature-format jws`",
        ),
        _ => Found::unknown(what, &format!("it has not one layer with the media type {}", notation::JWS)),
    }
}

fn layers(manifest: &Manifest) -> &[Descriptor] {
    match &manifest.body {
        ManifestBody::Image { layers, .. } => layers,
        ManifestBody::Index { .. } => &[],
    }
}

impl Found {
    fn unknown(what: String, why: &str) -> Self {
        Self { what, kind: FoundKind::Unknown(why.to_owned()) }
    }

    fn is_payload(&self) -> bool {
        matches!(self.kind, FoundKind::Payload(_))
    }
}
