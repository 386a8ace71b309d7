//! The operator's daily commands: all vendors at a glance, one image, tags, and removing a vendor.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use raas_testkit::fixtures;
use raas_testkit::oci::Layout;
use raas_testkit::s3;
use raas_types::Digest;
use serde_json::{Value, json};

use crate::client::Client;
use crate::sandbox::{Sandbox, digest_of, tags_of};

fn image(tags: &[(&str, &str)]) -> Vec<u8> {
    let mut layout = Layout::new();
    for (tag, content) in tags {
        let image = layout.simple_image(content);
        layout.tag(&image, tag);
    }
    layout.tar()
}

fn push(sandbox: &Sandbox, name: &str, tags: &[(&str, &str)], more: &[&str]) -> Value {
    let path = sandbox.write("source.tar", image(tags));
    let arguments = ["push", "acme", name, "--from", &path, "--json"];
    sandbox.json(&[&arguments, more].concat())
}

#[test]
fn status_without_a_vendor_checks_all_and_prints_a_line_for_each() {
    let sandbox = Sandbox::new();
    assert!(sandbox.ok(&["status"]).contains("no vendor is set up or configured"));
    sandbox.ok(&["setup", "acme"]);
    sandbox.ok(&["setup", "bigdatainc"]);
    let server = sandbox.serve(&[]);
    let said = sandbox.ok(&["status"]);
    assert_eq!(said.lines().count(), 2, "{said}");
    let waits = |line: &str| line.starts_with("warn  ") && line.ends_with("waits for the first publication");
    assert!(said.lines().all(waits), "{said}");
    for vendor in ["acme", "bigdatainc"] {
        let path = sandbox.write("app.tar", image(&[("1.0", "one")]));
        sandbox.ok(&["push", vendor, "app", "--from", &path]);
    }
    let said = sandbox.ok(&["status"]);
    assert!(said.lines().all(|line| line.starts_with("ok    ") && line.contains("checks hold")), "{said}");
    // A vendor of the configuration that is not set up is not forgotten.
    sandbox.write("raas.cfg", "[acme]\n[bigdatainc]\n[newcomer]\n");
    for arguments in [&["status"][..], &["status", "--all"]] {
        let output = sandbox.run(arguments);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("FAIL  newcomer              domain: there is no vendor newcomer"), "{said}");
        let hint = String::from_utf8(output.stderr).unwrap();
        assert!(hint.contains("hint: run `raas status newcomer` for"), "{hint}");
    }
    let output = sandbox.run(&["status", "--all", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&status["healthy"], status["vendors"].as_array().unwrap().len()), (&false.into(), 3));
    drop(server);
    sandbox.fails(2, &["status", "acme", "--all"]);
}

#[test]
fn list_shows_one_image() {
    let sandbox = Sandbox::new();
    push(&sandbox, "app", &[("1.0", "one")], &[]);
    push(&sandbox, "other", &[("1.0", "one")], &[]);
    let listing = sandbox.json(&["list", "acme", "app", "--json"]);
    let repositories = listing["vendors"][0]["repositories"].as_array().unwrap();
    assert_eq!((repositories.len(), &repositories[0]["repository"]), (1, &"app".into()));
    let failure = sandbox.fails(2, &["list", "acme", "nothing"]);
    assert!(
        failure.contains("nothing is not published by acme") && failure.contains("raas list acme"),
        "{failure}"
    );
}

#[test]
fn tag_gives_another_tag_and_rollback_takes_it_back() {
    let sandbox = Sandbox::new();
    let first = push(&sandbox, "app", &[("1.0", "one"), ("2.0", "two")], &[]);
    let digest = |tag: &str| digest_of(&first, tag).as_str().unwrap().to_owned();
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let served =
        |tag: &str| client.get(&format!("/v2/app/manifests/{tag}")).headers["docker-content-digest"].clone();
    let outcome = sandbox.json(&["tag", "acme", "app:stable", "app:1.0", "--json"]);
    assert_eq!((&outcome["changed"], &outcome["served"]), (&true.into(), &true.into()));
    let change = json!([{"tag": "stable", "change": "added", "from": null, "to": digest("1.0")}]);
    assert_eq!(outcome["changes"]["tag_changes"], change);
    assert_eq!(served("stable"), digest("1.0"));
    client.pull("app", "stable");
    // A moved tag is said, with both digests.
    let said = sandbox.ok(&["tag", "acme", "app:stable", &format!("app@{}", digest("2.0"))]);
    assert!(said.contains(&format!("~ stable  {} -> {}", digest("1.0"), digest("2.0"))), "{said}");
    assert_eq!(served("stable"), digest("2.0"));
    let said = sandbox.ok(&["tag", "acme", "app:stable", "app:2.0"]);
    assert!(said.contains("Nothing changed"), "{said}");
    assert!(sandbox.ok(&["log", "acme", "app", "-n", "1"]).contains("Tag app: stable"));
    let tags = sandbox.files("acme/bucket/app/_v2/manifests/2");
    assert!(tags.contains(&"stable".to_owned()), "{tags:?}");
    sandbox.ok(&["rollback", "acme", "app"]);
    assert_eq!(served("stable"), digest("1.0"));
    sandbox.ok(&["rollback", "acme", "app"]);
    assert_eq!(client.get("/v2/app/manifests/stable").status, 404);
    for (new, old, words) in [
        ("app:x", "app:none", "app:none is not published"),
        ("app", "app:1.0", "app has no tag to give"),
        ("app:x", "other:1.0", "are different images"),
        ("none:x", "none:1.0", "none is not published"),
    ] {
        let failure = sandbox.fails(2, &["tag", "acme", new, old]);
        assert!(failure.contains(words), "{failure}");
    }
}

#[test]
fn tag_of_docker_v1_content_serves_both_protocols() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["push", "acme", "app", "--from", fixtures::pulp2().to_str().unwrap()]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    sandbox.ok(&["tag", "acme", "app:2.0", "app:latest"]);
    let tags = client.get("/v1/repositories/app/tags").json();
    assert_eq!(tags["2.0"], tags["latest"]);
    assert_eq!(client.pull("app", "2.0")["linux/amd64"].layers.len(), 7);
    assert_eq!(sandbox.json(&["status", "acme", "--json"])["healthy"], true);
}

#[test]
fn a_tag_of_the_source_is_published_under_another_name() {
    let sandbox = Sandbox::new();
    let report =
        push(&sandbox, "app:2.4", &[("build-77", "one"), ("build-78", "two")], &["--tag", "build-77"]);
    assert_eq!(tags_of(&report), ["2.4"]);
    let server = sandbox.serve(&[]);
    assert_eq!(Client::new(server.address).tags("app"), ["2.4"]);
    // Docker v1 images and archives of docker too.
    let pulp = fixtures::pulp2();
    sandbox.ok(&[
        "push",
        "acme",
        "old:2.4",
        "--from",
        pulp.to_str().unwrap(),
        "--repository",
        "bigdata-app",
        "--tag",
        "latest",
    ]);
    assert_eq!(Client::new(server.address).tags("old"), ["2.4"]);
    let path = sandbox.write("source.tar", image(&[("1", "one")]));
    let failure = sandbox.fails(3, &["push", "acme", "app:x", "--from", &path, "--tag", "none"]);
    assert!(failure.contains("none"), "{failure}");
}

#[test]
fn remove_empties_the_registry_says_what_stays_and_can_be_undone() {
    let sandbox = Sandbox::new();
    push(&sandbox, "app", &[("1.0", "one")], &[]);
    push(&sandbox, "other", &[("1.0", "two")], &[]);
    let stored = sandbox.files("acme/bucket").len();
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    // Without a terminal, the command cannot ask.
    let output = sandbox.command(&["remove", "acme"]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("raas remove acme --yes"), "{said}");
    assert_eq!(client.tags("app"), ["1.0"]);
    let report = sandbox.json(&["remove", "acme", "--yes", "--json"]);
    assert_eq!(report["removed_repositories"], json!(["app", "other"]));
    assert!(report["objects"].as_u64().unwrap() > 0 && stored > 0);
    assert_eq!(client.get("/v2/_catalog").json()["repositories"], json!([]));
    assert!(sandbox.ok(&["log", "acme"]).contains("Unpublish app: 1.0"));
    let again = sandbox.ok(&["remove", "acme", "--yes"]);
    assert!(again.contains("Removed 0 images of acme") && again.contains("stay in "), "{again}");
    sandbox.ok(&["rollback", "acme", "app"]);
    client.pull("app", "1.0");
}

#[test]
fn the_first_push_creates_the_bucket_if_the_configuration_says_so() {
    let server = s3::Server::new(&[]);
    let sandbox = crate::s3::sandbox(&server, "");
    let path = sandbox.write("app.tar", image(&[("1.0", "one")]));
    let push = ["push", "acme", "app", "--from", &path];
    assert!(sandbox.fails(4, &push).contains("raas setup acme --create"));
    let config = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    // A vendor that is set up has a bucket, so each sandbox has its own home.
    let sandbox = crate::s3::sandbox(&server, "create_bucket = yes\n");
    assert_ne!(fs::read_to_string(sandbox.path("raas.cfg")).unwrap(), config);
    let path = sandbox.write("app.tar", image(&[("1.0", "one")]));
    let output = sandbox.run(&["push", "acme", "app", "--from", &path]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("Made bucket acme-images"), "{said}");
    crate::s3::assert_stored(&sandbox);
}

#[test]
fn the_command_line_of_the_original_tool_pushes_for_a_known_vendor_only() {
    let sandbox = Sandbox::new();
    fs::copy(fixtures::pulp2(), sandbox.path("bigdata-app.tar")).unwrap();
    let output = sandbox.run(&["bigdatainc", "bigdata-app"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`raas push bigdatainc bigdata-app`"), "{said}");
    assert!(!sandbox.home().join("bigdatainc").exists());
    sandbox.ok(&["setup", "bigdatainc"]);
    sandbox.ok(&["bigdatainc", "bigdata-app", "--terse"]);
    assert_eq!(sandbox.commits("bigdatainc"), 1);
    // A misspelt command stays an error.
    let output = sandbox.run(&["psuh", "bigdatainc", "bigdata-app"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(sandbox.commits("bigdatainc"), 1);
}

#[test]
fn an_immutable_tag_moves_only_by_force_and_the_log_shows_it() {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[acme]\nimmutable_tags = v*, *.*.*\n");
    let first = push(&sandbox, "app", &[("v1", "one"), ("latest", "one")], &[]);
    let old = digest_of(&first, "v1").as_str().unwrap().to_owned();
    // The same image again, and other tags, are no move.
    push(&sandbox, "app", &[("v1", "one"), ("latest", "two")], &[]);
    let stored = sandbox.files("acme/bucket");
    let path = sandbox.write("source.tar", image(&[("v1", "three")]));
    let arguments = ["push", "acme", "app", "--from", &path];
    for more in [&[][..], &["--dry-run"]] {
        let failure = sandbox.fails(3, &[&arguments, more].concat());
        assert!(failure.contains(&format!("the tag v1 is published as {old}")), "{failure}");
        assert!(failure.contains("[acme] has v*") && failure.contains("--force-tag"), "{failure}");
    }
    assert_eq!(sandbox.files("acme/bucket"), stored, "nothing was stored");
    assert!(sandbox.fails(3, &["tag", "acme", "app:v1", "app:latest"]).contains(&old));
    sandbox.ok(&[&arguments[..], &["--force-tag"]].concat());
    assert!(sandbox.ok(&["log", "acme", "-n", "1"]).contains("Publish app: v1 (--force-tag)"));
    sandbox.ok(&["tag", "acme", "app:v1", "app:latest", "--force-tag"]);
    assert!(sandbox.ok(&["log", "acme", "-n", "1"]).contains("Tag app: v1 (--force-tag)"));
}

#[test]
fn an_immutable_tag_is_removed_only_by_force_and_the_log_shows_it() {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[acme]\nimmutable_tags = v*\n");
    push(&sandbox, "app", &[("v1", "one"), ("v2", "two"), ("v3", "three"), ("latest", "two")], &[]);
    let commits = sandbox.commits("acme");
    let retire = ["retire", "acme", "app", "--keep", "2", "--yes"];
    for arguments in [&["unpublish", "acme", "app:v1"][..], &["unpublish", "acme", "app"], &retire] {
        let failure = sandbox.fails(3, arguments);
        assert!(failure.contains("must stay: `immutable_tags` of [acme] has v*"), "{failure}");
        assert!(failure.contains("--force-tag"), "{failure}");
    }
    assert!(sandbox.ok(&retire[..5]).contains("only with --force-tag"));
    assert_eq!(sandbox.commits("acme"), commits);
    sandbox.ok(&["unpublish", "acme", "app:latest"]);
    sandbox.ok(&["unpublish", "acme", "app:v1", "--force-tag"]);
    assert!(sandbox.ok(&["log", "acme", "-n", "1"]).contains("Unpublish app: v1 (--force-tag)"));
    sandbox.ok(&["retire", "acme", "app", "--keep", "1", "--yes", "--force-tag"]);
    assert!(sandbox.ok(&["log", "acme", "-n", "1"]).contains(" (--force-tag)"));
}

#[test]
fn a_rollback_a_prune_and_a_removal_change_an_immutable_tag_only_by_force() {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "");
    push(&sandbox, "app", &[("v1", "one")], &[]);
    let second = push(&sandbox, "app", &[("v1", "two"), ("v2", "two")], &[]);
    let old = digest_of(&second, "v1").as_str().unwrap().to_owned();
    push(&sandbox, "other", &[("latest", "other")], &[]);
    sandbox.write("raas.cfg", "[acme]\nimmutable_tags = v*\n");
    let commits = sandbox.commits("acme");
    // The earlier publication has another v1, and no v2.
    let failure = sandbox.fails(3, &["rollback", "acme", "app"]);
    assert!(failure.contains(&format!("the tag v1 is published as {old}")), "{failure}");
    assert!(failure.contains("[acme] has v*") && failure.contains("--force-tag"), "{failure}");
    // No image is removed if one has to stay.
    let failure = sandbox.fails(3, &["remove", "acme", "--yes"]);
    assert!(failure.contains("cannot remove app") && failure.contains("the tag v1 must stay"), "{failure}");
    let path = sandbox.write("source.tar", image(&[("v1", "two")]));
    let prune = ["push", "acme", "app", "--from", &path, "--prune"];
    for more in [&[][..], &["--dry-run"]] {
        let failure = sandbox.fails(3, &[&prune, more].concat());
        assert!(failure.contains("the tag v2 must stay"), "{failure}");
    }
    assert_eq!(sandbox.commits("acme"), commits);
    sandbox.ok(&[&prune[..], &["--force-tag"]].concat());
    assert!(sandbox.ok(&["log", "acme", "-n", "1"]).contains("Publish app: v1 (--force-tag)"));
    // A rollback that brings a tag back changes none.
    sandbox.ok(&["rollback", "acme", "app"]);
    assert!(!sandbox.ok(&["log", "acme", "-n", "1"]).contains("--force-tag"));
    let failure = sandbox.fails(3, &["rollback", "acme", "app"]);
    assert!(failure.contains(&old), "{failure}");
    sandbox.ok(&["rollback", "acme", "app", "--force-tag"]);
    let log = sandbox.ok(&["log", "acme", "-n", "1"]);
    assert!(log.contains("Roll back app to ") && log.contains(" (--force-tag)"), "{log}");
    sandbox.ok(&["remove", "acme", "--yes", "--force-tag"]);
    assert!(sandbox.ok(&["log", "acme"]).contains("Unpublish app: v1 (--force-tag)"));
}

#[test]
fn retire_removes_old_tags_only_with_yes_and_can_be_undone() {
    let sandbox = Sandbox::new();
    for tag in ["1", "2", "3"] {
        push(&sandbox, "app", &[(tag, tag)], &[]);
    }
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    sandbox.fails(2, &["retire", "acme", "app"]);
    let dry = sandbox.json(&["retire", "acme", "app", "--keep", "1", "--json"]);
    // Publications of the same second are in no order.
    assert_eq!((tags_of(&dry).len(), &dry["publication"]), (2, &Value::Null));
    let said = sandbox.ok(&["retire", "acme", "app", "--keep", "1"]);
    assert!(said.contains("Nothing was removed; --yes removes 2 tags"), "{said}");
    assert_eq!(client.tags("app").len(), 3);
    assert!(
        sandbox
            .ok(&["retire", "acme", "app", "--keep", "1", "--older-than", "1d", "--yes"])
            .contains("No tag is old")
    );
    let done = sandbox.json(&["retire", "acme", "app", "--keep", "1", "--yes", "--json"]);
    assert_eq!(done["publication"]["changed"], true);
    assert_eq!(client.tags("app").len(), 1);
    assert!(sandbox.ok(&["log", "acme", "app", "-n", "1"]).contains("Retire app: "));
    sandbox.ok(&["rollback", "acme", "app"]);
    assert_eq!(client.tags("app").len(), 3);
    ["1", "2", "3"].iter().for_each(|tag| drop(client.pull("app", tag)));
}

#[test]
fn retire_by_age_takes_the_signatures_along() {
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    let signature = layout.cosign_signature(&image);
    let attached = layout.artifact(&image, "application/vnd.example.signature", b"by its subject");
    layout.untagged(&attached);
    let sandbox = Sandbox::new();
    let path = sandbox.write("source.tar", layout.tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    // A tag is older than zero days after a second.
    let retire = ["retire", "acme", "app", "--older-than", "0d", "--json"];
    let begun = Instant::now();
    while sandbox.json(&retire)["tags"].as_array().unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    push(&sandbox, "app", &[("2.0", "two")], &[]);
    let retire = [&retire[..], &["--keep", "1"]].concat();
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let status = |digest: &Digest| client.get(&format!("/v2/app/manifests/{digest}")).status;
    assert_eq!([&image, &signature, &attached].map(|found| status(&found.digest)), [200; 3]);
    let dry = sandbox.json(&retire);
    assert_eq!(dry["attachment_tags"].as_array().unwrap().len(), 1, "{dry:#}");
    let done = sandbox.json(&[&retire[..], &["--yes"]].concat());
    assert_eq!(done["publication"]["changed"], true, "{done:#}");
    let (gone, tags) = (dry["tags"].as_array().unwrap(), client.tags("app"));
    assert!(gone.iter().any(|gone| gone["tag"] == "1.0") && tags == ["2.0"], "{gone:?} {tags:?}");
    assert_eq!([&image, &signature, &attached].map(|found| status(&found.digest)), [404; 3]);
}
