//! `raas push` of a part of a source.

use raas_testkit::docker_save::{self, LayerPlaces, Saved};
use raas_testkit::layers::{Pack, layer};
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

#[test]
fn an_incremental_export_is_completed_from_earlier_publications() {
    let sandbox = Sandbox::new();
    let mut whole = Vec::new();
    let packed = std::fs::File::open(fixtures::pulp3_old()).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(packed), &mut whole).unwrap();
    let mut files = Files::from_tar(&whole);
    for name in Files::from_tar(&whole).names().filter(|name| name.starts_with("artifact/")) {
        files.remove(name);
    }
    let incremental = sandbox.write("incremental.tar", files.tar());
    let push = ["push", "acme", "bigdata-app", "--repository", "bigdatainc/bigdata-app", "--from"];
    let failure = sandbox.fails(3, &[&push[..], &[&incremental]].concat());
    assert!(failure.contains("an incremental export lacks"), "{failure}");
    let full = sandbox.write("full.tar", &whole);
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
