//! `raas push` of a part of a source.

use raas_testkit::docker_save::{self, LayerPlaces, Saved};
use raas_testkit::layers::{Pack, layer};
use raas_testkit::oci::Layout;
use raas_testkit::{Files, fixtures};
use raas_types::Digest;

use crate::client::Client;
use crate::sandbox::Sandbox;

fn export() -> Files {
    Files::from_tar(&std::fs::read(fixtures::pulp3_new()).unwrap())
}

#[test]
fn an_image_without_a_name_is_chosen_by_its_digest() {
    let sandbox = Sandbox::new();
    let (own, helper) = ([layer(&[("own", b"own")])], [layer(&[("helper", b"helper")])]);
    let images = [Saved { names: &[], layers: &own }, Saved { names: &["helper:1"], layers: &helper }];
    let path = sandbox.write("in.tar", docker_save::newer(&images, LayerPlaces::Folders).tar());
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &path]);
    let config = failure.split([' ', ';']).find(|word| word.len() == Digest::LENGTH).unwrap();
    assert!(failure.contains("`helper`") && failure.contains("--digest"), "{failure}");
    sandbox.ok(&["push", "acme", "app:2.0", "--from", &path, "--digest", config]);
    let server = sandbox.serve(&[]);
    assert_eq!(Client::new(server.address).pull("app", "2.0")["linux/amd64"].layers, own);
}

#[test]
fn some_platforms_of_an_index_are_published_as_an_index_of_their_own() {
    let sandbox = Sandbox::new();
    let files = docker_save::platforms(&["amd64", "arm64", "s390x"], &["amd64", "arm64"], Pack::Gzip);
    let path = sandbox.write("in.tar", files.tar());
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &path]);
    assert!(
        failure.contains("linux/s390x") && failure.contains("--platform linux/amd64,linux/arm64"),
        "{failure}"
    );
    sandbox.ok(&["push", "acme", "app", "--from", &path, "--platform", "linux/amd64,linux/arm64"]);
    let server = sandbox.serve(&[]);
    let pulled = Client::new(server.address).pull("app", "1");
    assert_eq!(pulled.keys().collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
    let failure = sandbox.fails(2, &["push", "acme", "app", "--from", &path, "--platform", "amd64"]);
    assert!(failure.contains("is not a platform"), "{failure}");
}

/// A manifest without a tag that lacks a layer is left out like a manifest without a tag that is missing itself.
#[test]
fn an_image_without_a_tag_that_lacks_a_layer_is_left_out() {
    let sandbox = Sandbox::new();
    let mut layout = Layout::new();
    let whole = layout.simple_image("whole");
    layout.tag(&whole, "1.0");
    let old = layout.simple_image("old");
    layout.untagged(&old);
    let lost = layout.layer(&[("lost", b"lost")], Pack::Gzip);
    let shared = layout.layer(&[("shared", b"shared")], Pack::Gzip);
    let broken = layout.image("amd64", &[shared.clone(), lost.clone()]);
    layout.untagged(&broken);
    let fine = layout.image("arm64", &[shared]);
    let index = layout.index(&[broken.clone(), fine.clone()]);
    layout.untagged(&index);
    let signature = layout.artifact(&broken, "application/x", b"signature");
    layout.untagged(&signature);
    layout.remove(&lost.descriptor.digest);
    let path = sandbox.write("in.tar", layout.tar());
    let output = sandbox.run(&["push", "acme", "app", "--from", &path]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let lacks = format!("neither the source nor the bucket has its blob {}", lost.descriptor.digest);
    assert!(said.contains(&format!("{} has no tag and is not published", index.digest)), "{said}");
    assert!(said.contains(&lacks), "{said}");
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    client.pull("app", "1.0");
    client.pull("app", &old.digest.to_string());
    for gone in [&broken, &fine, &index, &signature] {
        assert_eq!(client.get(&format!("/v2/app/manifests/{}", gone.digest)).status, 404);
    }
    assert_eq!(sandbox.json(&["status", "acme", "--json"])["healthy"], true);
    // A tag, or a wish for it, makes it a fault of the push.
    let wanted = broken.digest.to_string();
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &path, "--digest", &wanted]);
    assert!(failure.contains("neither the source nor the bucket has it"), "{failure}");
    layout.tag(&index, "2.0");
    let path = sandbox.write("in.tar", layout.tar());
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &path]);
    assert!(failure.contains("neither the source nor the bucket has it"), "{failure}");
}

#[test]
fn a_repository_without_tags_is_published_by_digest() {
    let sandbox = Sandbox::new();
    let mut files = export();
    for name in export().names().filter(|name| name.ends_with(".TagResource.json")) {
        files.remove(name);
    }
    let path = sandbox.write("in.tar", files.tar());
    let failure = sandbox.fails(3, &["push", "acme", "bigdata-app", "--from", &path]);
    let digest = failure.split([' ', ',', ';']).find(|word| word.len() == Digest::LENGTH).unwrap();
    let said = sandbox.ok(&["push", "acme", "bigdata-app", "--from", &path, "--digest", digest]);
    assert!(said.contains(&format!("docker pull 127.0.0.1:5000/bigdata-app@{digest}")), "{said}");
    let server = sandbox.serve(&[]);
    assert!(!Client::new(server.address).pull("bigdata-app", digest).is_empty());
}

/// The paths of a whole export, and of an incremental one that lacks all content.
pub(crate) fn whole_and_incremental(sandbox: &Sandbox) -> [String; 2] {
    let mut whole = Vec::new();
    let packed = std::fs::File::open(fixtures::pulp3_old()).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(packed), &mut whole).unwrap();
    let mut files = Files::from_tar(&whole);
    for name in Files::from_tar(&whole).names().filter(|name| name.starts_with("artifact/")) {
        files.remove(name);
    }
    [sandbox.write("full.tar", &whole), sandbox.write("incremental.tar", files.tar())]
}

#[test]
fn an_incremental_export_is_completed_from_earlier_publications() {
    let sandbox = Sandbox::new();
    let [full, incremental] = whole_and_incremental(&sandbox);
    let push = ["push", "acme", "bigdata-app", "--repository", "bigdatainc/bigdata-app", "--from"];
    let failure = sandbox.fails(3, &[&push[..], &[&incremental]].concat());
    assert!(failure.contains("an incremental export lacks"), "{failure}");
    assert!(failure.contains("push the earlier export first"), "the same hint as for a blob: {failure}");
    sandbox.ok(&[&push[..], &[&full]].concat());
    let said = sandbox.ok(&[&push[..], &[&incremental]].concat());
    assert!(said.contains("Nothing changed"), "{said}");
    // A manifest that a later publication removed is still in the record.
    let other = docker_save::platforms(&["amd64"], &["amd64"], Pack::Gzip);
    let other = sandbox.write("other.tar", other.tar());
    sandbox.ok(&["push", "acme", "bigdata-app", "--prune", "--from", &other]);
    sandbox.ok(&[&push[..], &[&incremental]].concat());
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    for tag in ["1.0", "2.0", "latest"] {
        assert!(!client.pull("bigdata-app", tag).is_empty(), "{tag}");
    }
    assert_eq!(sandbox.json(&["status", "acme", "--json"])["healthy"], true);
}
