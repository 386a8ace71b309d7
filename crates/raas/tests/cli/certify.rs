//! `raas certify` and `require_certified`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use raas_signatures::dsse::{self, Envelope};
use raas_signatures::{KeyFile, PublicKey};
use raas_testkit::layers::Pack;
use raas_testkit::oci::{Layer, Layout};
use raas_types::{Descriptor, Digest, media_type};
use serde_json::{Value, json};

use crate::client::Client;
use crate::sandbox::Sandbox;

const LABELS: [&str; 7] = ["name", "vendor", "version", "release", "summary", "description", "maintainer"];

/// A layer of these files, each with its permissions.
fn layer(layout: &mut Layout, files: &[(&str, u32)]) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(*mode);
        tar.append_data(&mut header, path, &b"x"[..]).unwrap();
    }
    let plain = tar.into_inner().unwrap();
    let descriptor = layout.blob(Pack::Gzip.media_type(), Pack::Gzip.apply(&plain));
    Layer { descriptor, diff_id: Digest::of(&plain) }
}

/// A layout of one image with the tag 1.0: a base layer, and a layer above it.
struct Source {
    layout: Layout,
    base: Layer,
    image: Descriptor,
}

fn source(user: &str, labels: &[&str], above: &[(&str, u32)]) -> Source {
    let mut layout = Layout::new();
    let base = layer(&mut layout, &[("usr/bin/sh", 0o755), ("usr/bin/su", 0o4755)]);
    let own = layer(&mut layout, above);
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|name| ((*name).to_owned(), json!("x"))).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"User": user, "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [base.diff_id, own.diff_id]},
    });
    let config = layout.document(media_type::OCI_CONFIG, &config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config,
        "layers": [base.descriptor, own.descriptor],
    });
    let image = layout.document(media_type::OCI_MANIFEST, &manifest);
    layout.tag(&image, "1.0");
    Source { layout, base, image }
}

fn sandbox(source: &Source, more: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let mask = source.base.descriptor.digest;
    let redhat = format!("[redhat]\nmask_layers = {mask}\nlayer_url = https://cdn.example.com\n");
    sandbox.write("raas.cfg", format!("{redhat}[acme]\n{more}\n"));
    let path = sandbox.write("source.tar", source.layout.tar());
    (sandbox, path)
}

fn checks(report: &Value) -> Vec<(&str, &str)> {
    let checks = report["certified_images"][0]["checks"].as_array().unwrap();
    checks.iter().map(|check| (check["name"].as_str().unwrap(), check["outcome"].as_str().unwrap())).collect()
}

const GOOD: [(&str, u32); 2] = [("licenses/MIT", 0o644), ("opt/app", 0o755)];

#[test]
fn an_image_that_passes_every_check_is_certified() {
    let source = source("1001", &LABELS, &GOOD);
    let (sandbox, path) = sandbox(&source, "require_certified = yes");
    let report = sandbox.json(&["certify", "acme", "app", "--from", &path, "--json"]);
    assert_eq!(report["certified"], true, "{report:#}");
    let names = ["labels", "user", "layers", "base_image", "licenses", "base_files", "setuid"];
    assert_eq!(checks(&report), names.map(|name| (name, "ok")));
    assert_eq!(report["certified_images"][0]["digest"], json!(source.image.digest));
    assert_eq!(report["certified_images"][0]["image_tags"], json!(["1.0"]));
    assert!(!sandbox.home().join("acme").exists(), "nothing is stored");
    let text = sandbox.ok(&["certify", "acme", "app", "--from", &path]);
    assert!(text.contains("Every check holds"), "{text}");
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
}

#[test]
fn each_fault_fails_its_check_with_what_to_do() {
    let six = &LABELS[..6];
    for (source, name, found) in [
        (source("1001", six, &GOOD), "labels", "labels are missing or empty: maintainer"),
        (source("", &LABELS, &GOOD), "user", "the image names no user, so it runs as root"),
        (source("1001", &LABELS, &GOOD[1..]), "licenses", "/licenses has no file"),
        (
            source("1001", &LABELS, &[GOOD[0], ("usr/bin/sh", 0o755)]),
            "base_files",
            "the image changes 1 files of its base image",
        ),
        (
            source("1001", &LABELS, &[GOOD[0], ("usr/bin/.wh.sh", 0o755)]),
            "base_files",
            "the image changes 1 files of its base image",
        ),
        (
            source("1001", &LABELS, &[GOOD[0], ("opt/su", 0o4755)]),
            "setuid",
            "1 files above the base image have setuid or setgid",
        ),
    ] {
        let (sandbox, path) = sandbox(&source, "require_certified = yes");
        let output = sandbox.run(&["certify", "acme", "app", "--from", &path, "--json"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let failed: Vec<_> =
            checks(&report).into_iter().filter(|(_, outcome)| *outcome == "failed").collect();
        assert_eq!(failed, [(name, "failed")], "{report:#}");
        let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &path]);
        assert!(failure.contains("`require_certified` of [acme] demands it"), "{failure}");
        assert!(failure.contains(found), "{failure}");
        assert!(!sandbox.home().join("acme").exists());
        let output = sandbox.run(&["certify", "acme", "app", "--from", &path, "--attach"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
    }
    // Without a mask, no base image is known.
    let source = source("1001", &LABELS, &GOOD);
    let (sandbox, path) = sandbox(&source, "");
    sandbox.write("raas.cfg", "");
    let output = sandbox.run(&["certify", "acme", "app", "--from", &path, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = checks(&report);
    assert!(
        checks.contains(&("base_image", "failed")) && checks.contains(&("base_files", "warning")),
        "{report:#}"
    );
}

#[test]
fn a_layer_with_other_bytes_is_no_layer_of_the_image() {
    let mut source = source("1001", &LABELS, &GOOD);
    let digest = source.base.descriptor.digest;
    source.layout.falsify(&digest, Pack::Gzip.apply(&raas_testkit::layers::layer(&[("etc/x", b"x")])));
    let (sandbox, path) = sandbox(&source, "");
    let failure = sandbox.fails(3, &["certify", "acme", "app", "--from", &path]);
    assert!(failure.contains("is refused"), "{failure}");
}

#[test]
fn an_attestation_is_published_beside_the_image_once() {
    let source = source("1001", &LABELS, &GOOD);
    let (sandbox, path) = sandbox(&source, "");
    let attach = ["certify", "acme", "app", "--from", &path, "--attach", "--json"];
    let failure = sandbox.fails(3, &attach);
    assert!(failure.contains("push it first"), "{failure}");
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let first = sandbox.json(&attach);
    assert!(first["commit"].is_string());
    let commits = sandbox.commits("acme");
    sandbox.json(&attach);
    assert_eq!(sandbox.commits("acme"), commits, "the same statement is published once");

    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let key = sandbox.write("acme.key", &private);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let signed = [&attach[..], &["--sign", &key]].concat();
    sandbox.json(&signed);
    assert_eq!(sandbox.commits("acme"), commits + 1);
    sandbox.json(&signed);
    assert_eq!(sandbox.commits("acme"), commits + 1);

    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let referrers = client.get(&format!("/v2/app/referrers/{}", source.image.digest)).json();
    let referrers = referrers["manifests"].as_array().unwrap();
    assert_eq!(referrers.len(), 2, "{referrers:?}");
    let KeyFile::Plain(pair) = KeyFile::read(private.as_bytes()).unwrap() else { panic!("it is plain") };
    let mut seen = Vec::new();
    for referrer in referrers {
        assert_eq!(referrer["artifactType"], "application/vnd.raas.certification.v1+json");
        let manifest =
            client.get(&format!("/v2/app/manifests/{}", referrer["digest"].as_str().unwrap())).json();
        let layer = &manifest["layers"][0];
        let content = client.get(&format!("/v2/app/blobs/{}", layer["digest"].as_str().unwrap())).body;
        let kind = layer["mediaType"].as_str().unwrap().to_owned();
        let statement = match kind.as_str() {
            dsse::MEDIA_TYPE => {
                let envelope: Envelope = serde_json::from_slice(&content).unwrap();
                let keys: [PublicKey; 1] = [pair.public_key().clone()];
                envelope.open(&keys).unwrap().0
            }
            _ => content,
        };
        let statement: Value = serde_json::from_slice(&statement).unwrap();
        assert_eq!(statement["subject"][0]["digest"]["sha256"], source.image.digest.hex());
        assert_eq!(statement["predicate"]["checks"].as_array().unwrap().len(), 7);
        seen.push(kind);
    }
    seen.sort();
    assert_eq!(seen, [dsse::MEDIA_TYPE, dsse::STATEMENT]);
}
