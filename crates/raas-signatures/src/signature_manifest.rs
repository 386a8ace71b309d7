//! The manifest that holds cosign's signatures of an image. Its tag is made of the image's digest.
//!
//! Source: cosign, specs/SIGNATURE_SPEC.md, "Storage". Each layer is a payload, and an annotation of the layer has the
//! payload's signature.

use std::collections::BTreeMap;

use raas_types::{Descriptor, Digest, Tag, media_type};
use serde::Serialize;

use crate::simple_signing::SignedPayload;

/// The media type of a payload.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation with the signature in Base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The annotation with the signer's certificate in PEM. A keyless signature has it.
pub const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";

/// The annotation with the certificates of the authorities in PEM.
pub const CHAIN: &str = "dev.sigstore.cosign/chain";

/// The annotation with the entry in the log, in JSON.
pub const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";

/// The annotation with the timestamp of an authority, in JSON.
pub const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

/// The most layers of one manifest that are looked at, and that raas makes. Source: containers/image,
/// `maxLookasideSignatures`.
pub const MAX_SIGNATURES: usize = 128;

/// The tag of an image's signatures.
pub fn tag(image: &Digest) -> Tag {
    format!("sha256-{}.sig", image.hex()).parse().expect("it is a valid tag")
}

/// The layer of a signed payload.
pub fn layer(signed: &SignedPayload) -> Descriptor {
    let annotations = BTreeMap::from([(SIGNATURE.to_owned(), signed.signature.clone())]);
    Descriptor {
        annotations: Some(annotations),
        ..descriptor(PAYLOAD, Digest::of(&signed.payload), signed.payload.len())
    }
}

/// A manifest, and the config that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureManifest {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The config.
    pub config: Vec<u8>,
}

/// Makes the manifest of these layers. The same bytes for the same layers.
pub fn make(layers: &[Descriptor]) -> SignatureManifest {
    #[derive(Serialize)]
    struct Config {
        architecture: &'static str,
        config: BTreeMap<String, String>,
        os: &'static str,
        rootfs: RootFs,
    }
    #[derive(Serialize)]
    struct RootFs {
        #[serde(rename = "type")]
        kind: &'static str,
        diff_ids: Vec<Digest>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest<'a> {
        schema_version: u8,
        media_type: &'static str,
        config: Descriptor,
        layers: &'a [Descriptor],
    }
    // A payload is not packed, so its diff id is its digest.
    let diff_ids = layers.iter().map(|layer| layer.digest).collect();
    let rootfs = RootFs { kind: "layers", diff_ids };
    let config = Config { architecture: "", config: BTreeMap::new(), os: "", rootfs };
    let config = serde_json::to_vec(&config).expect("all keys are strings");
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST,
        config: descriptor(media_type::OCI_CONFIG, Digest::of(&config), config.len()),
        layers,
    };
    SignatureManifest { manifest: serde_json::to_vec(&manifest).expect("all keys are strings"), config }
}

fn descriptor(media_type: &str, digest: Digest, size: usize) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size: size as u64,
        urls: Vec::new(),
        data: None,
        platform: None,
        annotations: None,
        artifact_type: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simple_signing;
    use raas_types::Manifest;

    #[test]
    fn a_manifest_of_signatures_has_the_form_of_cosign() {
        let image = Digest::of(b"image");
        assert_eq!(tag(&image).to_string(), format!("sha256-{}.sig", image.hex()));
        let payload = simple_signing::payload("r.example/app", &image);
        let signed = SignedPayload { payload: payload.clone(), signature: "MEUC".into() };
        let made = make(&[layer(&signed)]);
        assert_eq!(made, make(&[layer(&signed)]));
        let manifest = Manifest::parse(&made.manifest, None).unwrap();
        let blobs: Vec<&Descriptor> = manifest.blobs().collect();
        assert_eq!(manifest.media_type, media_type::OCI_MANIFEST);
        assert_eq!((blobs[0].digest, blobs[0].size), (Digest::of(&made.config), made.config.len() as u64));
        assert_eq!((blobs[1].digest, blobs[1].size), (Digest::of(&payload), payload.len() as u64));
        assert_eq!(blobs[1].annotation(SIGNATURE), Some("MEUC"));
        let config = String::from_utf8(made.config).unwrap();
        assert!(config.contains(&Digest::of(&payload).to_string()), "{config}");
    }
}
