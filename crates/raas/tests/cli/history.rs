//! The commands that use the record: `raas list`, `log`, `diff`, `rollback` and `unpublish`.

use std::fs;
use std::process::Command;

use raas_testkit::fixtures;
use raas_testkit::oci::Layout;
use serde_json::{Value, json};

use crate::client::Client;
use crate::sandbox::{Sandbox, digest_of, succeeded, tags_of};

fn image(tag: &str, content: &str) -> Vec<u8> {
    let mut layout = Layout::new();
    let image = layout.simple_image(content);
    layout.tag(&image, tag);
    layout.tar()
}

fn push(sandbox: &Sandbox, name: &str, tag: &str, content: &str) -> Value {
    let path = sandbox.write("source.tar", image(tag, content));
    sandbox.json(&["push", "acme", name, "--from", &path, "--json"])
}

#[test]
fn list_shows_tags_digests_sizes_and_times() {
    let sandbox = Sandbox::new();
    let report = push(&sandbox, "app", "1.0", "one");
    sandbox.ok(&["push", "acme", "old", "--from", fixtures::pulp2().to_str().unwrap()]);
    let listing = sandbox.json(&["list", "acme", "--json"]);
    let repositories = listing["vendors"][0]["repositories"].as_array().unwrap();
    assert_eq!(repositories.len(), 2);
    let tag = &repositories[0]["tags"][0];
    assert_eq!((&tag["tag"], &tag["digest"]), (&"1.0".into(), digest_of(&report, "1.0")));
    assert!(tag["size"].as_u64().unwrap() > 100 && tag["size_elsewhere"] == 0, "{tag}");
    assert!(tag["published"].as_str().unwrap().ends_with('Z'), "{tag}");
    let said = sandbox.ok(&["list"]);
    assert!(said.starts_with("acme: 2 repositories\n  app\n    1.0 "), "{said}");
    sandbox.fails(2, &["list", "nobody"]);
}

/// A later publication that names the tag again, such as one that signs it or a rollback, does not make the tag newer.
#[test]
fn list_and_retire_take_the_time_of_a_tag_from_its_document() {
    let sandbox = Sandbox::new();
    push(&sandbox, "app", "1.0", "one");
    let path = sandbox.home().join("acme/checkout/crane/data/app.json");
    let mut document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    document["raas"]["published"]["1.0"] = "2026-01-02T03:04:05Z".into();
    sandbox.commit_by_hand("acme", "crane/data/app.json", &document.to_string());
    push(&sandbox, "app", "2.0", "two");
    sandbox.ok(&["rollback", "acme", "app"]);
    let listing = sandbox.json(&["list", "acme", "--json"]);
    let tags = listing["vendors"][0]["repositories"][0]["tags"].as_array().unwrap();
    assert_eq!(tags.len(), 1, "{listing:#}");
    assert_eq!(tags[0]["published"], "2026-01-02T03:04:05Z");
    let old = sandbox.json(&["retire", "acme", "app", "--older-than", "1d", "--json"]);
    assert_eq!(old["tags"][0]["tag"], "1.0", "{old:#}");
}

#[test]
fn log_shows_who_published_what() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    assert_eq!(sandbox.ok(&["log", "acme"]), "");
    let first = push(&sandbox, "app", "1.0", "one");
    push(&sandbox, "other", "1.0", "one");
    push(&sandbox, "app", "2.0", "two");
    let log = sandbox.json(&["log", "acme", "--json"])["publications"].clone();
    assert_eq!(log.as_array().unwrap().len(), 3);
    let of_app = sandbox.json(&["log", "acme", "app", "--json"])["publications"].clone();
    let subjects: Vec<&str> =
        of_app.as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["Publish app: 2.0", "Publish app: 1.0"]);
    assert_eq!(of_app[1]["commit"], first["commit"]);
    assert_eq!(
        of_app[1]["tags"],
        json!([{"repository": "app", "tag": "1.0", "digest": digest_of(&first, "1.0")}])
    );
    assert!(sandbox.ok(&["log", "acme", "-n", "1"]).lines().count() == 1);
    assert!(sandbox.fails(2, &["log", "acme", "nothing"]).contains("nothing was never published by acme"));
    // A full disk is an error, a reader that has gone away is not.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = sandbox.command(&["list", "--json"]).stdout(full).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("cannot write to standard output"), "{error}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(sandbox.command(&["list", "--json"]).stdout(writer).output().unwrap().status.success());
}

#[test]
fn diff_shows_tags_and_layers() {
    let sandbox = Sandbox::new();
    let first = push(&sandbox, "app", "1.0", "one");
    let second = push(&sandbox, "app", "1.0", "two");
    push(&sandbox, "app", "2.0", "three");
    let of_image = sandbox.json(&["diff", "acme", "app", "--json"]);
    let change = &of_image["repositories"][0];
    assert_eq!((&change["repository"], &change["tag_changes"][0]["tag"]), (&"app".into(), &"2.0".into()));
    assert_eq!(change["tag_changes"][0]["change"], "added");
    assert_eq!(change["added_layers"].as_array().unwrap().len(), 1);
    assert_eq!(change["removed_layers"].as_array().unwrap().len(), 0);
    let (from, to) = (first["commit"].as_str().unwrap(), second["commit"].as_str().unwrap());
    let moved = sandbox.json(&["diff", "acme", &from[..10], to, "--json"]);
    let change = &moved["repositories"][0];
    assert_eq!(change["tag_changes"][0]["change"], "moved");
    assert_eq!(change["tag_changes"][0]["to"], *digest_of(&second, "1.0"));
    assert_eq!(change["added_layers"].as_array().unwrap().len(), 1);
    assert_eq!(change["removed_layers"].as_array().unwrap().len(), 1);
    let back = sandbox.ok(&["diff", "acme", to, from]);
    assert!(back.contains("  ~ 1.0  sha256:") && back.contains("  - layer sha256:"), "{back}");
    assert!(sandbox.ok(&["diff", "acme", from, from]).contains("no difference"));
    assert!(sandbox.fails(2, &["diff", "acme", "nothing"]).contains("never been published"));
    assert!(sandbox.fails(2, &["diff", "acme", "ffff", to]).contains("no publication"));
    assert!(sandbox.fails(2, &["diff", "acme", "--", "--help", to]).contains("no publication"));
}

#[test]
fn rollback_publishes_an_earlier_publication_completely() {
    let sandbox = Sandbox::new();
    let first = push(&sandbox, "app", "1.0", "one");
    assert!(sandbox.fails(2, &["rollback", "acme", "app"]).contains("first publication"));
    push(&sandbox, "app", "1.0", "two");
    push(&sandbox, "app", "2.0", "three");
    push(&sandbox, "other", "1.0", "other");
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let outcome = sandbox.json(&["rollback", "acme", "app", "--json"]);
    assert_eq!((&outcome["changed"], &outcome["served"]), (&true.into(), &true.into()));
    assert_eq!(client.tags("app"), ["1.0"]);
    let commit = first["commit"].as_str().unwrap();
    sandbox.ok(&["rollback", "acme", "app", "--to", &commit[..12]]);
    let digest = &client.get("/v2/app/manifests/1.0").headers["docker-content-digest"];
    assert_eq!(*digest, digest_of(&first, "1.0").as_str().unwrap());
    client.pull("app", "1.0");
    client.pull("other", "1.0");
    // The documents for a legacy Crane change too.
    let tags = sandbox.files("acme/bucket/app/_v2/manifests/2");
    assert_eq!(tags.iter().filter(|name| !name.starts_with("sha256:")).collect::<Vec<_>>(), ["1.0"]);
    let list = fs::read_to_string(sandbox.home().join("acme/bucket/app/_v2/tags/list")).unwrap();
    assert_eq!(list, r#"{"name":"app","tags":["1.0"]}"#);
    assert_eq!(
        sandbox.json(&["status", "acme", "app", "--json"])["vendors"][0]["checks"][2]["outcome"],
        "ok"
    );
    let said = sandbox.ok(&["rollback", "acme", "app", "--to", commit]);
    assert!(said.contains("Nothing changed"), "{said}");
    // A rollback adds a commit and rewrites no history.
    assert_eq!(sandbox.commits("acme"), 6);
    let to = format!("Roll back app to {} of 20", &commit[..12]);
    assert!(sandbox.ok(&["log", "acme", "app"]).contains(&to));
    // A rollback to the later publication restores the complete image.
    sandbox.ok(&["rollback", "acme", "app", "--to", outcome["commit"].as_str().unwrap()]);
    client.pull("app", "1.0");
}

#[test]
fn a_second_rollback_does_not_bring_the_bad_version_back() {
    let sandbox = Sandbox::new();
    let one = push(&sandbox, "app", "1.0", "one");
    let two = push(&sandbox, "app", "1.0", "two");
    let three = push(&sandbox, "app", "1.0", "three");
    let digest = |report: &Value| digest_of(report, "1.0").as_str().unwrap().to_owned();
    let said = sandbox.ok(&["rollback", "acme", "app"]);
    let commit = |report: &Value| report["commit"].as_str().unwrap()[..12].to_owned();
    assert!(said.contains(&format!("Rolled app back to commit {} of 20", commit(&two))), "{said}");
    assert!(said.contains(": Publish app: 1.0"), "{said}");
    assert!(said.contains(&format!("~ 1.0  {} -> {}", digest(&three), digest(&two))), "{said}");
    let again = sandbox.json(&["rollback", "acme", "app", "--json"]);
    assert_eq!(digest_of(&again, "1.0"), digest_of(&one, "1.0"));
    assert_eq!(again["changes"]["tag_changes"][0]["from"], *digest_of(&two, "1.0"));
    assert!(sandbox.fails(2, &["rollback", "acme", "app"]).contains("is the first publication of app"));
    let log = sandbox.json(&["log", "acme", "app", "--json"])["publications"].clone();
    let what = log[0]["what"].as_str().unwrap();
    assert!(what.starts_with(&format!("Roll back app to {} of 20", commit(&one))), "{what}");
}

#[test]
fn rollback_of_docker_v1_content_serves_both_protocols() {
    let sandbox = Sandbox::new();
    let path = fixtures::pulp2();
    sandbox.ok(&["push", "acme", "app", "--from", path.to_str().unwrap()]);
    sandbox.ok(&["unpublish", "acme", "app"]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    assert_eq!(client.get("/v1/repositories/app/tags").status, 404);
    sandbox.ok(&["rollback", "acme", "app"]);
    assert_eq!(client.pull("app", "latest")["linux/amd64"].layers.len(), 7);
    assert_eq!(client.get("/v1/repositories/app/tags").status, 200);
    let status = sandbox.json(&["status", "acme", "--json"]);
    assert!(
        status["vendors"][0]["checks"].as_array().unwrap().iter().all(|check| check["outcome"] == "ok"),
        "{status:#}"
    );
}

#[test]
fn rollback_is_rejected_if_content_is_missing() {
    let sandbox = Sandbox::new();
    push(&sandbox, "app", "1.0", "one");
    let blobs = sandbox.home().join("acme/bucket/app/_v2/blobs");
    let old: Vec<_> = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()).collect();
    push(&sandbox, "app", "1.0", "two");
    let kept = fs::read(&old[0]).unwrap();
    for broken in [None, Some(&b"short"[..])] {
        fs::remove_file(&old[0]).unwrap();
        if let Some(bytes) = broken {
            fs::write(&old[0], bytes).unwrap();
        }
        let failure = sandbox.fails(3, &["rollback", "acme", "app"]);
        assert!(failure.contains(old[0].file_name().unwrap().to_str().unwrap()), "{failure}");
        assert_eq!(sandbox.commits("acme"), 2);
        fs::write(&old[0], &kept).unwrap();
    }
    sandbox.ok(&["rollback", "acme", "app"]);
}

#[test]
fn unpublish_removes_a_tag_or_an_image_and_keeps_the_content() {
    let sandbox = Sandbox::new();
    push(&sandbox, "app", "1.0", "one");
    let second = push(&sandbox, "app", "2.0", "two");
    push(&sandbox, "app/tools", "1.0", "tools");
    let stored = sandbox.files("acme/bucket/app/_v2/blobs");
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let outcome = sandbox.json(&["unpublish", "acme", "app:2.0", "--json"]);
    assert_eq!((&outcome["served"], tags_of(&outcome).len()), (&true.into(), 1));
    assert_eq!(client.tags("app"), ["1.0"]);
    let by_digest = format!("/v2/app/manifests/{}", digest_of(&second, "2.0").as_str().unwrap());
    assert_eq!(client.get(&by_digest).status, 404);
    assert_eq!(sandbox.files("acme/bucket/app/_v2/blobs"), stored);
    client.pull("app", "1.0");
    assert!(sandbox.fails(2, &["unpublish", "acme", "app:2.0"]).contains("app:2.0 is not published"));
    sandbox.ok(&["unpublish", "acme", "app:1.0"]);
    assert_eq!(client.get("/v2/app/tags/list").status, 404);
    assert!(sandbox.fails(2, &["unpublish", "acme", "app"]).contains("app is not published"));
    client.pull("app/tools", "1.0");
    assert!(!sandbox.files("acme/checkout").iter().any(|path| path.starts_with("crane/data/app/_manifests")));
    sandbox.ok(&["rollback", "acme", "app", "--to", second["commit"].as_str().unwrap()]);
    assert_eq!(client.tags("app"), ["1.0", "2.0"]);
    client.pull("app", "2.0");
}

#[test]
fn a_protected_image_stays_protected_after_unpublish_and_push() {
    let sandbox = Sandbox::new();
    push(&sandbox, "app", "1.0", "one");
    let work = sandbox.path("record");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        sandbox.contain(&mut command);
        let who = ["-c", "user.name=Jane", "-c", "user.email=jane@example.com"];
        succeeded(&command.args(who).args(arguments).output().unwrap())
    };
    let record = sandbox.home().join("acme/metadata.git");
    git(&["clone", "--quiet", record.to_str().unwrap(), work.to_str().unwrap()]);
    let document = work.join("crane/data/app.json");
    let text = fs::read_to_string(&document).unwrap();
    let protected = text.replace("\"protected\": false", "\"protected\": true");
    assert_ne!(protected, text);
    fs::write(&document, protected).unwrap();
    let work = work.to_str().unwrap();
    git(&["-C", work, "commit", "--quiet", "--all", "-m", "Protect app"]);
    git(&["-C", work, "push", "--quiet"]);
    sandbox.ok(&["unpublish", "acme", "app"]);
    let path = sandbox.write("again.tar", image("1.0", "one"));
    let output = sandbox.run(&["push", "acme", "app", "--from", &path]);
    succeeded(&output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Note: app is protected again, as in its last publication"), "{said}");
    let published = fs::read_to_string(sandbox.home().join("acme/checkout/crane/data/app.json")).unwrap();
    assert!(published.contains("\"protected\": true"), "{published}");
}

#[test]
fn unpublish_keeps_manifests_that_other_tags_share() {
    let sandbox = Sandbox::new();
    let mut layout = Layout::new();
    let (arm, amd) = (layout.simple_image("shared"), layout.simple_image("other"));
    let index = layout.index(&[arm.clone(), amd.clone()]);
    layout.tag(&index, "multi");
    layout.tag(&arm, "single");
    let path = sandbox.write("app.tar", layout.tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    sandbox.ok(&["unpublish", "acme", "app:multi"]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    client.pull("app", "single");
    assert_eq!(client.get(&format!("/v2/app/manifests/{}", amd.digest)).status, 404);
    let status = sandbox.json(&["status", "acme", "app", "--json"]);
    assert_eq!(status["healthy"], true, "{status:#}");
}

#[test]
fn commits_are_signed_if_the_operators_git_is_configured_so() {
    let sandbox = Sandbox::new();
    let key = sandbox.path("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: ssh-keygen is not installed, so signing is not tested");
        return;
    }
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let allowed = sandbox.write("allowed", format!("jane@example.com {public}"));
    let config = format!(
        "[user]\nname = Jane\nemail = jane@example.com\nsigningkey = {}\n[commit]\ngpgsign = true\n[gpg]\nformat = ssh\n\
         [gpg \"ssh\"]\nallowedSignersFile = {allowed}\n[log]\nshowSignature = true\n",
        key.display()
    );
    let config = sandbox.write("gitconfig", config);
    let path = sandbox.write("app.tar", image("1.0", "one"));
    for arguments in [
        &["push", "acme", "app", "--from", path.as_str()][..],
        &["unpublish", "acme", "app"],
        &["log", "acme"],
    ] {
        let mut command = sandbox.command(arguments);
        succeeded(&command.env("GIT_CONFIG_GLOBAL", &config).output().unwrap());
    }
    let git_dir = sandbox.home().join("acme/metadata.git");
    for commit in ["main", "main~1"] {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&git_dir).env("GIT_CONFIG_GLOBAL", &config);
        let output = command.args(["-c", "safe.directory=*", "verify-commit", commit]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && said.contains("Good \"git\" signature for jane@example.com"),
            "{said}"
        );
    }
    assert_eq!(sandbox.commits("acme"), 2);
    let refs = Command::new("git").arg("--git-dir").arg(&git_dir).arg("for-each-ref").output().unwrap();
    assert_eq!(String::from_utf8(refs.stdout).unwrap().lines().count(), 1);
}
