//! Keyless signatures: `require_signature` with identities, and the policies for customers.

use raas_signatures::signature_manifest::{self, PAYLOAD};
use raas_signatures::simple_signing;
use raas_testkit::oci::Layout;
use raas_testkit::sigstore::{IDENTITY, ISSUER, Signer, Sigstore};
use raas_types::{Descriptor, Digest, media_type};
use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use crate::signatures::git_log;
use crate::signatures::{accepted, refused};

const NAME: &str = "quay.example/acme/app";
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
const TAGS: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/*";

/// A sandbox whose vendor `acme` trusts these signers of this Sigstore.
fn sandbox(sigstore: &Sigstore, signers: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("root.json", sigstore.trusted_root().to_string());
    let keys = format!("require_signature = {signers}\nsigstore_root = root.json\n{more}");
    sandbox.write("raas.cfg", format!("[acme]\nregistry_host = r.acme.example\n{keys}\n"));
    sandbox
}

/// A layout of one image.
fn unsigned() -> (Layout, Descriptor) {
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    (layout, image)
}

/// A layout of one image with a bundle as cosign 3 makes it.
fn with_bundle(sigstore: &Sigstore, signer: &Signer, predicate: &str) -> (Layout, Digest) {
    let (mut layout, image) = unsigned();
    let envelope = signer.statement(&image.digest, predicate);
    let entry = sigstore.log_envelope(signer, &envelope);
    let bundle = layout.bundle(&image, &signer.bundle(("dsseEnvelope", envelope), &[entry]));
    layout.untagged(&bundle);
    (layout, image.digest)
}

/// A layout of one image with a signature as cosign 2 makes it.
fn with_payload(sigstore: &Sigstore, signer: &Signer, is_logged: bool) -> (Layout, Digest) {
    let (mut layout, image) = unsigned();
    let payload = simple_signing::payload(NAME, &image.digest);
    let signature = signer.sign(&payload);
    let entry = sigstore.log_message(signer, &payload, &signature);
    let mut layer = serde_json::to_value(layout.blob(PAYLOAD, payload)).unwrap();
    layer["annotations"] = signer.annotations(&signature, is_logged.then_some(&entry));
    let config = layout.document(media_type::OCI_CONFIG, &json!({"architecture": "", "os": ""}));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [layer],
    });
    let manifest = layout.document(media_type::OCI_MANIFEST, &manifest);
    layout.tag(&manifest, signature_manifest::tag(&image.digest).as_str());
    (layout, image.digest)
}

#[test]
fn an_image_needs_a_keyless_signature_by_a_trusted_identity() {
    let sigstore = Sigstore::new();
    let sandbox = sandbox(&sigstore, &format!("{TAGS} from {ISSUER}"), "");
    sandbox.ok(&["config", "check"]);
    let (layout, image) = unsigned();
    let failure = refused(&sandbox, &layout);
    assert!(
        failure.contains(&format!("{} for linux/amd64 (1.0) has no signature", image.digest)),
        "{failure}"
    );
    assert!(failure.contains("`cosign sign --recursive IMAGE` with a trusted identity"), "{failure}");
    assert!(!failure.contains("--sign KEY"), "raas makes no keyless signatures: {failure}");
    let log = Some(&sigstore.certificate_log);
    let branch = IDENTITY.replace("refs/tags/v1.0", "refs/heads/main");
    let of_branch = sigstore.signer_of(&branch, ISSUER, log);
    let of_other_issuer = sigstore.signer_of(IDENTITY, "https://token.evil.example", log);
    let signer = sigstore.signer();
    let does_not_trust = |identity: &str, issuer: &str| {
        format!(
            "it is a keyless signature of `{identity} from {issuer}`, and `require_signature` does not trust this signer"
        )
    };
    for (layout, reason) in [
        (with_bundle(&sigstore, &of_branch, SIGNS).0, does_not_trust(&branch, ISSUER)),
        (with_payload(&sigstore, &of_branch, true).0, does_not_trust(&branch, ISSUER)),
        (
            with_bundle(&sigstore, &of_other_issuer, SIGNS).0,
            does_not_trust(IDENTITY, "https://token.evil.example"),
        ),
        (
            with_bundle(&sigstore, &signer, "https://spdx.dev/Document").0,
            "it is no signature of an image, but `https://spdx.dev/Document`".into(),
        ),
        (with_payload(&sigstore, &signer, false).0, "no trusted log vouches for it".into()),
        (with_bundle(&Sigstore::new(), &signer, SIGNS).0, "no trusted log vouches for it".into()),
        (
            with_bundle(&sigstore, &Sigstore::new().signer(), SIGNS).0,
            "no trusted authority has issued it".into(),
        ),
    ] {
        let failure = refused(&sandbox, &layout);
        assert!(failure.contains(&reason), "{reason}: {failure}");
    }
    let (layout, image) = with_bundle(&sigstore, &signer, SIGNS);
    assert_eq!(accepted(&sandbox, &layout)["verified_manifests"], json!([image]));
    let log = git_log(&sandbox);
    let line = format!("Signatures: 1 verified, as require_signature demands, with {TAGS} from {ISSUER}");
    assert!(log.contains(&line), "{log}");
}

#[test]
fn a_keyless_signature_of_cosign_2_counts_and_gives_the_image_a_name() {
    let sigstore = Sigstore::new();
    let signer =
        sigstore.signer_of("release@acme.example", "https://id.example", Some(&sigstore.certificate_log));
    let (layout, image) = with_payload(&sigstore, &signer, true);
    let by = |signers: &str, more: &str| sandbox(&sigstore, signers, more);
    let signers = "*@acme.example from https://id.example";
    let other = by(signers, "signature_identity = quay.example/other/*");
    let failure = refused(&other, &layout);
    assert!(failure.contains("which `signature_identity` does not allow"), "{failure}");
    // A bundle gives no name.
    let failure = refused(&other, &with_bundle(&sigstore, &signer, SIGNS).0);
    assert!(failure.contains("it gives the image no name"), "{failure}");
    let report = accepted(&by(signers, "signature_identity = quay.example/acme/*"), &layout);
    assert_eq!(report["verified_manifests"], json!([image]));
    // Keys and identities may stand beside each other.
    let both = by(&format!("acme.pub, {signers}"), "");
    both.write("acme.pub", rcgen::KeyPair::generate().unwrap().public_key_pem());
    assert_eq!(accepted(&both, &layout)["verified_manifests"], json!([image]));
    let keys_alone = Sandbox::new();
    keys_alone.write("acme.pub", rcgen::KeyPair::generate().unwrap().public_key_pem());
    keys_alone.write("raas.cfg", "[acme]\nrequire_signature = acme.pub\n");
    for layout in [layout, with_bundle(&sigstore, &signer, SIGNS).0] {
        let failure = refused(&keys_alone, &layout);
        assert!(failure.contains("`require_signature` trusts keys alone"), "{failure}");
    }
}

#[test]
fn a_published_keyless_bundle_counts_and_stays_published() {
    let sigstore = Sigstore::new();
    let sandbox = sandbox(&sigstore, &format!("{IDENTITY} from {ISSUER}"), "");
    let (layout, image) = with_bundle(&sigstore, &sigstore.signer(), SIGNS);
    accepted(&sandbox, &layout);
    let path = sandbox.write("source.tar", unsigned().0.tar());
    let push = ["push", "acme", "app", "--from", &path, "--prune", "--json"];
    let pruned = sandbox.json(&push);
    assert_eq!((&pruned["changed"], &pruned["verified_manifests"]), (&false.into(), &json!([image])));
}

#[test]
fn a_root_that_cannot_be_used_stops_the_push_and_the_check_of_the_configuration() {
    let sigstore = Sigstore::new();
    let (layout, _) = with_bundle(&sigstore, &sigstore.signer(), SIGNS);
    let mut empty = sigstore.trusted_root();
    empty["tlogs"] = json!([]);
    for (root, reason) in
        [("{}".to_owned(), "it is no trusted root of Sigstore"), (empty.to_string(), "it has no `tlogs`")]
    {
        let sandbox = sandbox(&sigstore, &format!("{IDENTITY} from {ISSUER}"), "");
        let path = sandbox.write("source.tar", layout.tar());
        sandbox.write("root.json", &root);
        for arguments in [&["push", "acme", "app", "--from", &path][..], &["config", "check"]] {
            let failure = sandbox.fails(2, arguments);
            assert!(failure.contains(reason) && failure.contains("cosign trusted-root create"), "{failure}");
        }
    }
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[acme]\nrequire_signature = acme.pub\nsigstore_root = root.json\n");
    assert!(
        sandbox.fails(2, &["config", "check"]).contains("`sigstore_root` needs `require_signature` with")
    );
    // Without a root of its own, raas has that of the public Sigstore.
    sandbox.write("raas.cfg", format!("[acme]\nrequire_signature = {IDENTITY} from {ISSUER}\n"));
    sandbox.ok(&["config", "check"]);
    let failure = refused(&sandbox, &layout);
    assert!(failure.contains("no trusted log vouches for it"), "{failure}");
}

#[test]
fn customers_get_policies_for_keyless_signers() {
    let sigstore = Sigstore::new();
    let address = "release@acme.example from https://id.example";
    let workflows = format!("{TAGS} from {ISSUER}");
    let sandbox = sandbox(&sigstore, address, "");
    let report = sandbox.json(&["trust", "acme", "--json"]);
    assert_eq!(report["trusted_keys"], json!([address]));
    let formats: Vec<&str> = report["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| policy["policy_format"].as_str().unwrap())
        .collect();
    assert_eq!(formats, ["podman", "registries-d", "openshift", "policy-controller", "kyverno"]);
    let policy: Value = serde_json::from_str(&sandbox.ok(&["trust", "acme", "--format", "podman"])).unwrap();
    assert_eq!(
        policy["transports"]["docker"]["r.acme.example"][0]["fulcio"]["subjectEmail"],
        "release@acme.example"
    );
    // podman knows no workflows, and one signer only.
    let of_workflows = ["trust", "acme", "--identity", &workflows];
    let report = sandbox.json(&[&of_workflows[..], &["--json"]].concat());
    assert_eq!(report["policies"].as_array().unwrap().len(), 2, "{report}");
    let failure = sandbox.fails(2, &[&of_workflows[..], &["--format", "podman"]].concat());
    assert!(failure.contains("a keyless signer with an e-mail address, and none is trusted"), "{failure}");
    let two = [&of_workflows[..], &["--identity", address, "--format", "openshift"]].concat();
    let failure = sandbox.fails(2, &two);
    assert!(failure.contains("2 signers are trusted") && failure.contains("--identity"), "{failure}");
    let failure = sandbox.fails(2, &["trust", "acme", "--identity", "release@acme.example"]);
    assert!(failure.contains("expected `IDENTITY from ISSUER`"), "{failure}");
}
