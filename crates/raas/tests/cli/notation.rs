//! Signatures of Notation: `require_signature` with a certificate, and the trust policy for customers.

use raas_testkit::notation::{ARTIFACT_TYPE, JWS, Signer};
use raas_testkit::oci::Layout;
use raas_types::{Descriptor, Digest, media_type};
use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use crate::signatures::{accepted, refused};

/// A sandbox whose vendor `acme` trusts this certificate.
fn sandbox(certificate: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("acme.pem", certificate);
    sandbox.write("raas.cfg", format!("[acme]\nrequire_signature = acme.pem\n{more}\n"));
    sandbox
}

/// A layout of one image with a signature in this envelope.
fn signed(media_type: &str, envelope: impl FnOnce(&Descriptor) -> Vec<u8>) -> (Layout, Digest) {
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    let envelope = envelope(&image);
    let signature = layout.notation(&image, media_type, &envelope);
    layout.untagged(&signature);
    (layout, image.digest)
}

fn envelope(signer: &Signer, image: &Descriptor) -> Vec<u8> {
    signer.sign(&image.media_type, &image.digest, image.size).to_string().into_bytes()
}

#[test]
fn a_signature_of_notation_counts_with_a_trusted_certificate() {
    let (signer, other) = (Signer::usual(), Signer::usual());
    for certificate in [signer.authority(), signer.certificate(), other.authority() + &signer.authority()] {
        let sandbox = sandbox(&certificate, "");
        sandbox.ok(&["config", "check"]);
        let (layout, image) = signed(JWS, |image| envelope(&signer, image));
        assert_eq!(accepted(&sandbox, &layout)["verified_manifests"], json!([image]));
    }
    let sandbox = sandbox(&signer.authority(), "registry_host = r.acme.example");
    let mut unsigned = Layout::new();
    let image = unsigned.simple_image("app");
    unsigned.tag(&image, "1.0");
    let failure = refused(&sandbox, &unsigned);
    assert!(failure.contains("has no signature") && failure.contains("`notation sign IMAGE`"), "{failure}");
    assert!(!failure.contains("--sign"), "raas makes no signatures of Notation: {failure}");
}

#[test]
fn a_signature_of_notation_that_is_wrong_does_not_count_and_the_error_says_why() {
    let (signer, other) = (Signer::usual(), Signer::usual());
    let sandbox = sandbox(&signer.authority(), "");
    let wrong_digest = |image: &Descriptor| signer.sign(&image.media_type, &Digest::of(b"other"), image.size);
    let wrong_type = |image: &Descriptor| signer.sign(media_type::OCI_INDEX, &image.digest, image.size);
    for (reason, (layout, _)) in [
        ("its certificate does not count", signed(JWS, |image| envelope(&other, image))),
        ("it signs another manifest", signed(JWS, |image| wrong_digest(image).to_string().into_bytes())),
        ("another media type or length", signed(JWS, |image| wrong_type(image).to_string().into_bytes())),
        ("its signed document cannot be read", signed(JWS, |_| b"{}".to_vec())),
        ("and raas reads at most 1048576", signed(JWS, |_| vec![b' '; 2 << 20])),
        ("its envelope is COSE", signed("application/cose", |_| b"\xd2".to_vec())),
        ("it has not one layer with the media type", signed("text/plain", |image| envelope(&signer, image))),
    ] {
        let failure = refused(&sandbox, &layout);
        assert!(failure.contains(reason), "{reason}: {failure}");
    }
    // Nothing in the envelope names the image.
    sandbox.write("raas.cfg", "[acme]\nrequire_signature = acme.pem\nsignature_identity = quay.example/*\n");
    let (layout, _) = signed(JWS, |image| envelope(&signer, image));
    assert!(refused(&sandbox, &layout).contains("it gives the image no name"));
    // A key of another kind checks no such signature.
    sandbox.write("acme.pem", rcgen::KeyPair::generate().unwrap().public_key_pem());
    sandbox.write("raas.cfg", "[acme]\nrequire_signature = acme.pem\n");
    assert!(refused(&sandbox, &layout).contains("none of the trusted keys is a certificate"));
    assert_eq!(ARTIFACT_TYPE, raas_signatures::notation::ARTIFACT_TYPE);
}

#[test]
fn customers_get_a_trust_policy_and_its_certificates() {
    let signer = Signer::usual();
    let sandbox = sandbox(&signer.authority(), "registry_host = r.acme.example");
    let policy = sandbox.ok(&["trust", "acme", "--format", "notation"]);
    let policy: Value = serde_json::from_str(&policy).unwrap();
    assert_eq!(policy["trustPolicies"][0]["trustStores"], json!(["ca:acme"]));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<String>>();
    let certificates = sandbox.ok(&["trust", "acme", "--format", "notation-certificates"]);
    assert_eq!(lines(&certificates), lines(&signer.authority()));
    let all = sandbox.json(&["trust", "acme", "--json"]);
    let formats =
        all["policies"].as_array().unwrap().iter().map(|policy| policy["policy_format"].as_str().unwrap());
    assert_eq!(formats.collect::<Vec<_>>(), ["kyverno", "notation", "notation-certificates"]);
}
