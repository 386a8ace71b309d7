//! Artifacts that are no images, in the form of the tools that make them. The registry serves the same bytes.

use raas_testkit::oci::Layout;
use raas_types::{Descriptor, media_type};
use serde_json::{Value, json};

use crate::client::Client;
use crate::sandbox::Sandbox;

const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A manifest with more keys, and with spaces that raas itself would not write.
fn manifest(layout: &mut Layout, config: &Descriptor, layer: Value, more: Value) -> Descriptor {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [layer],
    });
    manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    layout.blob(media_type::OCI_MANIFEST, format!("{manifest:#}\n"))
}

fn annotated(layer: &Descriptor, annotations: Value) -> Value {
    let mut layer = serde_json::to_value(layer).unwrap();
    layer["annotations"] = annotations;
    layer
}

#[test]
fn signatures_attestations_and_artifacts_are_served_byte_for_byte() {
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    let config = layout.document(media_type::OCI_CONFIG, &json!({"architecture": "", "os": ""}));
    let empty = layout.blob(EMPTY, "{}");

    // BuildKit: provenance beside the image, with an unknown platform.
    let statement = layout
        .document("application/vnd.in-toto+json", &json!({"_type": "https://in-toto.io/Statement/v0.1"}));
    let predicate = json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"});
    let provenance = manifest(&mut layout, &config, annotated(&statement, predicate), json!({}));
    let mut beside = annotated(
        &provenance,
        json!({
            "vnd.docker.reference.digest": image.digest, "vnd.docker.reference.type": "attestation-manifest",
        }),
    );
    beside["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [image, beside]});
    let index = layout.document(media_type::OCI_INDEX, &index);
    layout.tag(&index, "1.0");

    // cosign: tags that contain the digest, and a bundle that is attached by its subject.
    let tag = |end: &str| format!("sha256-{}.{end}", index.digest.hex());
    let payload = json!({"critical": {"image": {"docker-manifest-digest": index.digest}}, "optional": null});
    let payload = layout.document("application/vnd.dev.cosign.simplesigning.v1+json", &payload);
    let signed =
        json!({"dev.cosignproject.cosign/signature": "MEUCIQ==", "dev.sigstore.cosign/bundle": "{\"x\":1}"});
    let signature = manifest(&mut layout, &config, annotated(&payload, signed), json!({}));
    layout.tag(&signature, &tag("sig"));
    let envelope = layout
        .document("application/vnd.dsse.envelope.v1+json", &json!({"payload": "e30=", "signatures": []}));
    let attestation =
        manifest(&mut layout, &config, annotated(&envelope, json!({"predicateType": "x"})), json!({}));
    layout.tag(&attestation, &tag("att"));
    let content = layout.document(BUNDLE, &json!({"mediaType": BUNDLE}));
    let more = json!({
        "artifactType": BUNDLE, "annotations": {"dev.sigstore.bundle.content": "dsse-envelope"},
        "subject": {"mediaType": index.media_type, "digest": index.digest, "size": index.size},
    });
    let bundle = manifest(&mut layout, &empty, json!(content), more);
    layout.untagged(&bundle);

    // ORAS: a file with its name; Helm: a chart.
    let file = layout.blob("application/vnd.acme.rocket.layer.v1+tar", "no tar at all");
    let title = json!({"org.opencontainers.image.title": "rocket/engine.bin"});
    let rocket = json!({"artifactType": "application/vnd.acme.rocket.config"});
    let rocket = manifest(&mut layout, &empty, annotated(&file, title), rocket);
    layout.tag(&rocket, "rocket");
    let chart = layout
        .document("application/vnd.cncf.helm.config.v1+json", &json!({"name": "app", "version": "1.0.0"}));
    let packed = layout.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "chart");
    let chart = manifest(&mut layout, &chart, json!(packed), json!({}));
    layout.tag(&chart, "chart-1.0.0");

    let sandbox = Sandbox::new();
    let path = sandbox.write("layout.tar", layout.tar());
    let server = sandbox.serve(&[]);
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let client = Client::new(server.address);
    assert_eq!(client.tags("app").len(), 5);
    for (found, references) in [
        (&index, vec!["1.0".to_owned()]),
        (&provenance, vec![]),
        (&signature, vec![tag("sig")]),
        (&attestation, vec![tag("att")]),
        (&bundle, vec![]),
        (&rocket, vec!["rocket".to_owned()]),
        (&chart, vec!["chart-1.0.0".to_owned()]),
    ] {
        for reference in references.into_iter().chain([found.digest.to_string()]) {
            let answer = client.get(&format!("/v2/app/manifests/{reference}"));
            assert_eq!((answer.status, &answer.body[..]), (200, layout.bytes(&found.digest)), "{reference}");
            assert_eq!(answer.headers["content-type"], found.media_type, "{reference}");
        }
    }
    for blob in [&config, &empty, &statement, &payload, &envelope, &content, &file, &packed] {
        let answer = client.get(&format!("/v2/app/blobs/{}", blob.digest));
        assert_eq!(
            (answer.status, &answer.body[..]),
            (200, layout.bytes(&blob.digest)),
            "{}",
            blob.media_type
        );
    }
    let attached = client.get(&format!(
        "/v2/app/referrers/{}?artifactType={}",
        index.digest,
        BUNDLE.replace('+', "%2B")
    ));
    let attached = attached.json();
    assert_eq!(attached["manifests"].as_array().unwrap().len(), 1, "{attached}");
    assert_eq!(attached["manifests"][0]["digest"], json!(bundle.digest));
    assert_eq!(sandbox.json(&["status", "acme", "--json"])["healthy"], true);
}

#[test]
fn an_attachment_is_never_the_reference_to_pull() {
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    let config = layout.document(media_type::OCI_CONFIG, &json!({"architecture": "", "os": ""}));
    let payload = layout.blob("application/vnd.dev.cosign.simplesigning.v1+json", "{}");
    let signature = manifest(&mut layout, &config, json!(payload), json!({}));
    for end in [".sig", ".att", ".sbom", ""] {
        layout.tag(&signature, &format!("sha256-{}{end}", image.digest.hex()));
    }
    let sandbox = Sandbox::new();
    let path = sandbox.write("layout.tar", layout.tar());
    let push = |more: &[&str]| sandbox.ok(&[&["push", "acme", "app", "--from", &path], more].concat());
    let told = push(&[]);
    let pull = told.lines().find(|line| line.starts_with("docker pull ")).unwrap();
    assert!(pull.ends_with("/app:1.0"), "{told}");
    assert!(push(&["--terse"]).trim().ends_with("/app:1.0"));
    assert!(push(&["--dry-run", "--terse"]).trim().ends_with("/app:1.0"));
    // Of several tags the highest release is suggested, as on the registry's page.
    for tag in ["1.9", "1.10", "2.0-rc.1", "nightly"] {
        layout.tag(&image, tag);
    }
    let path = sandbox.write("tags.tar", layout.tar());
    assert!(sandbox.ok(&["push", "acme", "app", "--from", &path, "--terse"]).trim().ends_with("/app:1.10"));
    layout.tag(&image, "latest");
    let path = sandbox.write("latest.tar", layout.tar());
    assert!(sandbox.ok(&["push", "acme", "app", "--from", &path, "--terse"]).trim().ends_with("/app:latest"));
    // The tag of an attachment is not suggested even if it was asked for.
    layout.untag();
    layout.untagged(&signature);
    let path = sandbox.write("signature.tar", layout.tar());
    let named = format!("app:sha256-{}.sig", image.digest.hex());
    let told = sandbox.ok(&["push", "acme", &named, "--from", &path, "--terse"]);
    assert!(told.trim().ends_with(&format!("/app@{}", signature.digest)), "{told}");
}
