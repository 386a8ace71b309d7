//! `raas export`, and `raas push` of what it wrote, in another home.

use std::fs;
use std::io::Read as _;

use raas_testkit::layers::Pack;
use raas_testkit::oci::{Layer, Layout};
use raas_testkit::{fixtures, http};
use raas_types::{Descriptor, Digest};
use serde_json::{Value, json};

use crate::client::Client;
use crate::sandbox::{Sandbox, digest_of, tags_of};

/// An index of two platforms with a signature by its subject, a signature by its tag, and a second tag.
fn signed() -> (Layout, Descriptor) {
    let mut layout = Layout::new();
    let layer =
        |layout: &mut Layout, content: &str| layout.layer(&[("content", content.as_bytes())], Pack::Gzip);
    let (one, other) = (layer(&mut layout, "amd64"), layer(&mut layout, "arm64"));
    let images = [layout.image("amd64", &[one]), layout.image("arm64", &[other])];
    let index = layout.index(&images);
    layout.tag(&index, "1.0");
    layout.tag(&index, "latest");
    let sbom = layout.artifact(&images[0], "application/spdx+json", b"sbom");
    let of_sbom = layout.artifact(&sbom, "application/vnd.example.signature", b"signature of the sbom");
    layout.untagged(&sbom);
    layout.untagged(&of_sbom);
    layout.cosign_signature(&index);
    let alone = layout.simple_image("alone");
    layout.tag(&alone, "alone");
    (layout, index)
}

fn push(sandbox: &Sandbox, image: &str, layout: &Layout) -> Value {
    let path = sandbox.write(&format!("{}.tar", image.replace(['/', ':'], "-")), layout.tar());
    sandbox.json(&["push", "acme", image, "--from", &path, "--json"])
}

/// Pushes a bundle of another sandbox.
fn push_bundle(sandbox: &Sandbox, image: &str, bundle: &str, more: &[&str]) -> Value {
    sandbox.json(&[&["push", "acme", image, "--from", bundle, "--json"], more].concat())
}

/// The tags of a repository with their digests.
fn published(sandbox: &Sandbox, image: &str) -> Vec<(String, String)> {
    let listing = sandbox.json(&["list", "acme", image, "--json"]);
    let tags = listing["vendors"][0]["repositories"][0]["tags"].as_array().unwrap();
    let text = |tag: &Value, key: &str| tag[key].as_str().unwrap().to_owned();
    tags.iter().map(|tag| (text(tag, "tag"), text(tag, "digest"))).collect()
}

#[test]
fn a_bundle_reproduces_every_digest_in_another_home() {
    let (vendor, customer) = (Sandbox::new(), Sandbox::new());
    vendor.write("raas.cfg", "[acme]\nregistry_host = registry.acme.com\n");
    let (layout, index) = signed();
    push(&vendor, "app", &layout);
    let bundle = vendor.path("bundle.tar");
    let bundle = bundle.to_str().unwrap();
    let report = vendor.json(&["export", "acme", "app", "-o", bundle, "--json"]);
    assert_eq!(report["size"], fs::metadata(bundle).unwrap().len());
    assert_eq!(report["repositories"][0]["tags"].as_array().unwrap().len(), 4, "{report:#}");
    let said = vendor.ok(&["export", "acme", "app", "-o", "again.tar"]);
    assert!(said.contains("Wrote again.tar"), "{said}");
    assert!(
        fs::read(bundle).unwrap() == fs::read(vendor.path("again.tar")).unwrap(),
        "the bytes are the same"
    );

    // The name of the image in the bundle finds it, with the registry's host before it.
    push_bundle(&customer, "app", bundle, &[]);
    assert_eq!(published(&customer, "app"), published(&vendor, "app"));
    let server = customer.serve(&[]);
    let client = Client::new(server.address);
    assert_eq!(client.pull("app", "1.0").len(), 2);
    let attached = client.get(&format!("/v2/app/referrers/{}", first_child(&layout, &index))).json();
    assert_eq!(attached["manifests"].as_array().unwrap().len(), 1, "{attached}");
    let sbom = attached["manifests"][0]["digest"].as_str().unwrap();
    let attached = client.get(&format!("/v2/app/referrers/{sbom}")).json();
    assert_eq!(attached["manifests"].as_array().unwrap().len(), 1, "{attached}");
}

fn first_child(layout: &Layout, index: &Descriptor) -> String {
    let index: Value = serde_json::from_slice(layout.bytes(&index.digest)).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn one_tag_comes_with_its_attachments_and_without_other_tags() {
    let (vendor, customer) = (Sandbox::new(), Sandbox::new());
    let (layout, index) = signed();
    push(&vendor, "app", &layout);
    let output = vendor.run(&["export", "acme", "app:1.0", "-o", "-"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("Exported app:1.0 ({})", index.digest)), "{said}");
    let path = customer.write("bundle.tar", &output.stdout);
    let signature = format!("sha256-{}.sig", index.digest.hex());
    assert_eq!(tags_of(&push_bundle(&customer, "app", &path, &[])), ["1.0", signature.as_str()]);
    // A name of the customer's own.
    assert_eq!(*digest_of(&push_bundle(&customer, "mirrors/app", &path, &[]), "1.0"), json!(index.digest));
}

/// Two base layers on a CDN, and an image on them.
struct OnCdn {
    layout: Layout,
    base: Vec<Layer>,
    cdn: http::Server,
}

fn on_cdn() -> OnCdn {
    let mut layout = Layout::new();
    let base =
        vec![layout.layer(&[("base", b"base")], Pack::Gzip), layout.layer(&[("more", b"more")], Pack::Gzip)];
    let own = layout.layer(&[("app", b"app")], Pack::Gzip);
    let image = layout.image("amd64", &[&base[..], &[own]].concat());
    layout.tag(&image, "1.0");
    let cdn = http::Server::of::<String, Vec<u8>>([]);
    for layer in &base {
        let digest = layer.descriptor.digest;
        cdn.set(format!("/base/blobs/{digest}"), layout.bytes(&digest));
    }
    OnCdn { layout, base, cdn }
}

fn masking(sandbox: &Sandbox, on_cdn: &OnCdn) {
    let masked: Vec<String> = on_cdn.base.iter().map(|layer| layer.descriptor.digest.hex()).collect();
    let url = on_cdn.cdn.url("/base");
    let config = format!("[redhat]\nmask_layers = {}\nlayer_url = {url}\n", masked.join(", "));
    sandbox.write("raas.cfg", config);
}

#[test]
fn base_layers_are_fetched_and_compared_with_their_digests() {
    let (vendor, customer) = (Sandbox::new(), Sandbox::new());
    let on_cdn = on_cdn();
    masking(&vendor, &on_cdn);
    assert_eq!(push(&vendor, "app", &on_cdn.layout)["masked_layers"].as_array().unwrap().len(), 2);
    let report = vendor.json(&["export", "acme", "app:1.0", "-o", "bundle.tar", "--json"]);
    let base: u64 = on_cdn.base.iter().map(|layer| layer.descriptor.size).sum();
    assert_eq!(report["size_elsewhere"], base, "{report:#}");
    let bundle = vendor.path("bundle.tar");
    push_bundle(&customer, "app", bundle.to_str().unwrap(), &[]);
    assert_eq!(published(&customer, "app"), published(&vendor, "app"));
    let server = customer.serve(&[]);
    assert_eq!(Client::new(server.address).pull("app", "1.0")["linux/amd64"].layers.len(), 3);

    // Another layer of the same length.
    let layer = &on_cdn.base[0].descriptor;
    let mut bytes = on_cdn.layout.bytes(&layer.digest).to_vec();
    bytes[20] ^= 1;
    let path = format!("/base/blobs/{}", layer.digest);
    on_cdn.cdn.set(path.clone(), bytes);
    let failure = vendor.fails(4, &["export", "acme", "app:1.0", "-o", "other.tar"]);
    assert!(failure.contains(&layer.digest.to_string()) && failure.contains("its digest is"), "{failure}");
    assert!(!vendor.path("other.tar").exists());
    on_cdn.cdn.remove(&path);
    let failure = vendor.fails(4, &["export", "acme", "app:1.0", "-o", "other.tar"]);
    assert!(failure.contains("404") && failure.contains(&path), "{failure}");
    let left = fs::read_dir(vendor.path("")).unwrap();
    let names: Vec<String> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains("raas-bundle")), "{names:?}");
}

#[test]
fn an_incremental_bundle_needs_what_the_earlier_publication_had() {
    let (vendor, customer, newcomer) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
    let mut layout = Layout::new();
    let base = layout.layer(&[("base", b"base")], Pack::Gzip);
    let (one, two) = (layout.layer(&[("own", b"1")], Pack::Gzip), layout.layer(&[("own", b"2")], Pack::Gzip));
    let first = layout.image("amd64", &[base.clone(), one]);
    layout.tag(&first, "1.0");
    push(&vendor, "app", &layout);
    let whole = vendor.json(&["export", "acme", "app", "-o", "whole.tar", "--json"]);
    let commit = whole["commit"].as_str().unwrap();
    layout.untag();
    let second = layout.image("amd64", &[base.clone(), two]);
    layout.tag(&second, "2.0");
    push(&vendor, "app", &layout);
    let report =
        vendor.json(&["export", "acme", "app:2.0", "-o", "part.tar", "--since", &commit[..8], "--json"]);
    assert_eq!((&report["left_out_count"], &report["since"]), (&json!(1), &json!(commit)), "{report:#}");
    assert_eq!(report["left_out_size"], base.descriptor.size);

    let (whole, part) = (vendor.path("whole.tar"), vendor.path("part.tar"));
    let (whole, part) = (whole.to_str().unwrap(), part.to_str().unwrap());
    let failure = newcomer.fails(3, &["push", "acme", "app", "--from", part]);
    assert!(failure.contains(&base.descriptor.digest.to_string()), "{failure}");
    assert!(failure.contains(commit) && failure.contains("--since"), "{failure}");
    assert!(newcomer.files("acme/bucket").is_empty());
    push_bundle(&customer, "app", whole, &[]);
    push_bundle(&customer, "app", part, &[]);
    assert_eq!(published(&customer, "app"), published(&vendor, "app"));
    let server = customer.serve(&[]);
    assert_eq!(Client::new(server.address).pull("app", "2.0")["linux/amd64"].layers.len(), 2);
}

#[test]
fn several_images_are_chosen_by_their_names() {
    for host in ["", "registry_host = registry.acme.com\n"] {
        let (vendor, customer) = (Sandbox::new(), Sandbox::new());
        vendor.write("raas.cfg", format!("[acme]\n{host}"));
        for image in ["app", "tools/app", "db"] {
            let mut layout = Layout::new();
            let made = layout.simple_image(image);
            layout.tag(&made, "1.0");
            push(&vendor, image, &layout);
        }
        vendor.ok(&["export", "acme", "app", "tools/app", "db:1.0", "-o", "bundle.tar"]);
        let bundle = vendor.path("bundle.tar");
        let bundle = bundle.to_str().unwrap();
        for image in ["app", "tools/app", "db"] {
            push_bundle(&customer, image, bundle, &[]);
            assert_eq!(published(&customer, image), published(&vendor, image));
        }
        let failure = customer.fails(3, &["push", "acme", "other", "--from", bundle]);
        assert!(failure.contains("tools/app") && failure.contains("--repository"), "{failure}");
        let named = if host.is_empty() { "db" } else { "registry.acme.com/db" };
        push_bundle(&customer, "other", bundle, &["--repository", named]);
        assert_eq!(published(&customer, "other"), published(&vendor, "db"));
    }
}

#[test]
fn an_image_without_a_tag_is_exported_and_pushed_by_its_digest() {
    let (vendor, customer) = (Sandbox::new(), Sandbox::new());
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    push(&vendor, "app", &layout);
    let named = format!("app@{}", image.digest);
    let report = vendor.json(&["export", "acme", &named, "-o", "bundle.tar", "--json"]);
    assert_eq!(report["repositories"][0]["untagged"], json!([image.digest]), "{report:#}");
    assert_eq!(report["repositories"][0]["tags"], json!([]));
    let bundle = vendor.path("bundle.tar");
    let bundle = bundle.to_str().unwrap();
    let failure = customer.fails(3, &["push", "acme", "app", "--from", bundle]);
    assert!(failure.contains("--digest"), "{failure}");
    let digest = image.digest.to_string();
    push_bundle(&customer, "app", bundle, &["--digest", &digest]);
    let server = customer.serve(&[]);
    assert_eq!(Client::new(server.address).pull("app", &digest).len(), 1);
    assert!(Client::new(server.address).tags("app").is_empty());
}

#[test]
fn docker_v1_images_are_exported_with_the_manifests_that_raas_made() {
    let (vendor, customer) = (Sandbox::new(), Sandbox::new());
    let archive = fixtures::pulp2();
    vendor.ok(&["push", "acme", "app", "--from", archive.to_str().unwrap()]);
    let report = vendor.json(&["export", "acme", "app", "-o", "bundle.tar", "--json"]);
    let notes = report["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().contains("Docker v1")), "{notes:?}");
    let bundle = vendor.path("bundle.tar");
    push_bundle(&customer, "app", bundle.to_str().unwrap(), &[]);
    assert_eq!(published(&customer, "app"), published(&vendor, "app"));
}

#[test]
fn what_cannot_be_exported_is_an_error_that_says_why() {
    let vendor = Sandbox::new();
    let (layout, _) = signed();
    push(&vendor, "app", &layout);
    let digest = Digest::of(b"other");
    for (code, image, expected) in [
        (2, "other", "other is not published"),
        (2, "app:9.9", "app has no tag 9.9"),
        (2, &format!("app@{digest}"), "app has no manifest"),
        (2, "app@1.0", "digest"),
    ] {
        let failure = vendor.fails(code, &["export", "acme", image, "-o", "bundle.tar"]);
        assert!(failure.contains(expected), "{image}: {failure}");
    }
    let failure = vendor.fails(2, &["export", "acme", "app", "-o", "bundle.tar", "--since", "beef"]);
    assert!(failure.contains("`beef` is no publication"), "{failure}");
    let failure = vendor.fails(2, &["export", "acme", "app", "-o", "-", "--json"]);
    assert!(failure.contains("standard output"), "{failure}");
    let failure = vendor.fails(2, &["export", "acme", "app", "-o", "."]);
    assert!(failure.contains("is a folder"), "{failure}");
    assert!(!vendor.path("bundle.tar").exists());
    let report = vendor.json(&["export", "acme", "app", "-o", "bundle.tar", "--dry-run", "--json"]);
    assert_eq!(report["dry_run"], true);
    assert!(!vendor.path("bundle.tar").exists());

    // A damaged layer in the vendor's storage.
    let key = vendor.files("acme/bucket").into_iter().find(|key| key.contains("/blobs/")).unwrap();
    let path = vendor.home().join("acme/bucket").join(&key);
    let mut bytes = Vec::new();
    fs::File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes[0] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let failure = vendor.fails(4, &["export", "acme", "app", "-o", "bundle.tar"]);
    assert!(failure.contains(key.rsplit('/').next().unwrap()) && failure.contains("--deep"), "{failure}");
    assert!(!vendor.path("bundle.tar").exists());
}
