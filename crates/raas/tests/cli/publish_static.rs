//! `raas publish-static`: a registry as files.

use std::fs;
use std::path::Path;

use raas_testkit::http;
use raas_testkit::layers::Pack;
use raas_testkit::oci::Layout;
use raas_testkit::s3::Server;
use raas_types::{Descriptor, Digest};
use serde_json::{Value, json};

use crate::s3::{self, BUCKET};
use crate::sandbox::Sandbox;

fn layout() -> (Layout, Descriptor, Descriptor) {
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    let index = layout.index(std::slice::from_ref(&image));
    layout.tag(&index, "1.0");
    let sbom = layout.artifact(&index, "application/spdx+json", b"sbom");
    layout.untagged(&sbom);
    (layout, index, sbom)
}

fn push(sandbox: &Sandbox, image: &str, layout: &Layout) {
    let path = sandbox.write("in.tar", layout.tar());
    sandbox.ok(&["push", "acme", image, "--from", &path]);
}

fn publish(sandbox: &Sandbox, more: &[&str]) -> Value {
    sandbox.json(&[&["publish-static", "acme", "--to", "site", "--json"], more].concat())
}

/// The content of a path of the site.
fn read(sandbox: &Sandbox, path: &str) -> Vec<u8> {
    fs::read(sandbox.path("site").join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_path_of_a_pull_is_a_file() {
    let sandbox = Sandbox::new();
    let (layout, index, sbom) = layout();
    push(&sandbox, "app", &layout);
    let report = publish(&sandbox, &[]);
    assert_eq!(report["repositories"][0]["tags"][0]["digest"], json!(index.digest), "{report:#}");
    for reference in ["1.0".to_owned(), index.digest.to_string()] {
        let bytes = read(&sandbox, &format!("v2/app/manifests/{reference}"));
        assert_eq!(bytes, layout.bytes(&index.digest), "{reference}");
    }
    for (digest, bytes) in layout.blobs() {
        let kind = match Value::as_object(&serde_json::from_slice(bytes).unwrap_or_default()) {
            Some(value) if value.contains_key("schemaVersion") => "manifests",
            _ => "blobs",
        };
        assert_eq!(read(&sandbox, &format!("v2/app/{kind}/{digest}")), bytes);
    }
    assert_eq!(read(&sandbox, "v2/app/tags/list"), br#"{"name":"app","tags":["1.0"]}"#);
    let referrers = read(&sandbox, &format!("v2/app/referrers/{}", index.digest));
    let value: Value = serde_json::from_slice(&referrers).unwrap();
    assert_eq!(value["manifests"][0]["digest"], json!(sbom.digest));
    assert_eq!(value["manifests"][0]["artifactType"], "application/spdx+json");
    // A client without the referrers API asks for a tag.
    let tag = format!("sha256-{}", index.digest.hex());
    assert_eq!(read(&sandbox, &format!("v2/app/manifests/{tag}")), referrers);
    assert_eq!(read(&sandbox, &format!("v2/app/manifests/{}", Digest::of(&referrers))), referrers);
    let maps = String::from_utf8(read(&sandbox, "nginx/maps.conf")).unwrap();
    assert!(maps.contains(&format!("\"/v2/app/manifests/1.0\" {};", index.digest)), "{maps}");
}

#[test]
fn a_second_run_stores_nothing_and_withdrawn_objects_stay_until_they_are_pruned() {
    let sandbox = Sandbox::new();
    let (mut layout, index, _) = layout();
    push(&sandbox, "app", &layout);
    let first = publish(&sandbox, &["--dry-run"]);
    assert!(!sandbox.path("site").exists());
    assert_eq!(publish(&sandbox, &[])["stored"], first["stored"]);
    let before = files(&sandbox.path("site"));
    let times = |names: &[String]| -> Vec<_> {
        names
            .iter()
            .map(|name| fs::metadata(sandbox.path("site").join(name)).unwrap().modified().unwrap())
            .collect()
    };
    let written = times(&before);
    let again = publish(&sandbox, &[]);
    assert_eq!((&again["stored"]["objects"], &again["present"]), (&json!(0), &first["stored"]));
    assert_eq!((files(&sandbox.path("site")), times(&before)), (before.clone(), written));

    // The tag moves, and the old image goes.
    layout.untag();
    let other = layout.simple_image("other");
    layout.tag(&other, "1.0");
    let path = sandbox.write("other.tar", layout.tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    sandbox.ok(&["push", "acme", "app", "--from", &path, "--prune"]);
    let moved = publish(&sandbox, &[]);
    assert_eq!(read(&sandbox, "v2/app/manifests/1.0"), layout.bytes(&other.digest));
    if moved["withdrawn_objects"] == 0 {
        // The earlier manifests stay published under their digests until they are removed.
        sandbox.ok(&["remove", "acme", "app", "--yes"]);
        let moved = publish(&sandbox, &[]);
        assert_ne!(moved["withdrawn_objects"], 0, "{moved:#}");
    }
    read(&sandbox, &format!("v2/app/manifests/{}", index.digest));
    let pruned = publish(&sandbox, &["--prune"]);
    assert_eq!(pruned["removed_objects"], pruned["withdrawn_objects"], "{pruned:#}");
    let gone = sandbox.path("site").join(format!("v2/app/manifests/{}", index.digest));
    assert!(!gone.exists());
    assert_eq!(publish(&sandbox, &["--prune"])["withdrawn_objects"], 0);
}

#[test]
fn protected_repositories_need_a_flag() {
    let sandbox = Sandbox::new();
    let (layout, ..) = layout();
    push(&sandbox, "app", &layout);
    push(&sandbox, "secret", &layout);
    sandbox.ok(&["protect", "acme", "secret"]);
    let failure = sandbox.fails(2, &["publish-static", "acme", "--to", "site"]);
    assert!(failure.contains("secret") && failure.contains("--expose-protected"), "{failure}");
    assert!(!sandbox.path("site").exists());
    assert_eq!(publish(&sandbox, &["--without-protected"])["repositories"].as_array().unwrap().len(), 1);
    assert!(!sandbox.path("site/v2/secret").exists());
    let failure =
        sandbox.fails(2, &["publish-static", "acme", "--to", "site", "--expose-protected", "other"]);
    assert!(failure.contains("other is not published"), "{failure}");
    publish(&sandbox, &["--expose-protected", "secret"]);
    read(&sandbox, "v2/secret/tags/list");
}

#[test]
fn base_layers_are_refused_stored_or_redirected() {
    let sandbox = Sandbox::new();
    let mut layout = Layout::new();
    let base = layout.layer(&[("base", b"base")], Pack::Gzip);
    let own = layout.layer(&[("app", b"app")], Pack::Gzip);
    let image = layout.image("amd64", &[base.clone(), own]);
    layout.tag(&image, "1.0");
    let digest = base.descriptor.digest;
    let cdn = http::Server::of([(format!("/base/blobs/{digest}"), layout.bytes(&digest))]);
    let url = cdn.url("/base");
    sandbox.write("raas.cfg", format!("[redhat]\nmask_layers = {}\nlayer_url = {url}\n", digest.hex()));
    push(&sandbox, "app", &layout);
    let failure = sandbox.fails(3, &["publish-static", "acme", "--to", "site"]);
    assert!(
        failure.contains(&cdn.address().to_string()) && failure.contains("--with-base-layers"),
        "{failure}"
    );
    let report = publish(&sandbox, &["--redirect-base-layers"]);
    let location = format!("{url}/blobs/{digest}");
    assert_eq!(report["redirects"], json!([{"repository": "app", "digest": digest, "location": location}]));
    assert!(!sandbox.path(&format!("site/v2/app/blobs/{digest}")).exists());
    let maps = String::from_utf8(read(&sandbox, "nginx/maps.conf")).unwrap();
    assert!(maps.contains(&format!("\"/v2/app/blobs/{digest}\" \"{location}\";")), "{maps}");
    publish(&sandbox, &["--with-base-layers"]);
    assert_eq!(read(&sandbox, &format!("v2/app/blobs/{digest}")), layout.bytes(&digest));
}

#[test]
fn a_bucket_has_the_content_types_and_gets_content_before_what_names_it() {
    let server = Server::new(&[BUCKET, "static"]);
    let sandbox = s3::sandbox(&server, "");
    let (layout, index, _) = layout();
    push(&sandbox, "app", &layout);
    server.forget();
    let command = ["publish-static", "acme", "--to", "s3://static/x", "--json"];
    let report = sandbox.json(&command);
    assert_eq!(report["destination"], "s3://static/x");
    let header = |path: &str| server.headers("static", &format!("x/{path}")).unwrap_or_default();
    let pinned = format!("v2/app/manifests/{}", index.digest);
    let referrers = format!("v2/app/referrers/{}", index.digest);
    let forever = "public, max-age=31536000, immutable";
    for (path, content_type, cache) in [
        ("v2/", "application/json", "no-cache"),
        ("v2/app/manifests/1.0", index.media_type.as_str(), "no-cache"),
        (&pinned, index.media_type.as_str(), forever),
        ("v2/app/tags/list", "application/json", "no-cache"),
        (&referrers, "application/vnd.oci.image.index.v1+json", "no-cache"),
    ] {
        assert_eq!(header(path), (content_type.to_owned(), cache.to_owned()), "{path}");
    }
    let asked = server.asked();
    let place = |part: &str| asked.iter().rposition(|(_, key)| key.contains(part)).unwrap();
    let (blob, manifest) = (place("v2/app/blobs/"), place(&pinned));
    let (tag, list) = (place("v2/app/manifests/1.0"), place("v2/app/tags/list"));
    assert!(blob < manifest && manifest < tag && tag < list, "{asked:?}");
    assert_eq!(sandbox.json(&command)["stored"]["objects"], 0);
    let failure = sandbox.fails(4, &["publish-static", "acme", "--to", "s3://missing/x"]);
    assert!(failure.contains("has no bucket missing") && failure.contains("correct --to"), "{failure}");
    assert!(!failure.contains("raas setup"), "{failure}");
    let failure = sandbox.fails(2, &["publish-static", "acme", "--to", &format!("s3://{BUCKET}/reg")]);
    assert!(failure.contains("own storage"), "{failure}");
}

#[test]
fn the_vendors_own_storage_is_no_place_for_a_static_registry() {
    let sandbox = Sandbox::new();
    let (layout, ..) = layout();
    push(&sandbox, "app", &layout);
    let bucket = sandbox.home().join("acme/bucket");
    let failure = sandbox.fails(2, &["publish-static", "acme", "--to", bucket.to_str().unwrap()]);
    assert!(failure.contains("own storage"), "{failure}");
    let failure = sandbox.fails(2, &["publish-static", "acme", "--to", "s3://"]);
    assert!(failure.contains("names no bucket"), "{failure}");
}
