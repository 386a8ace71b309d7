//! Damaged state: what cannot be read is not empty, `raas status` finds it, and `raas setup --repair` mends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use raas_testkit::fixtures;
use raas_testkit::pulp2::Export;
use raas_testkit::s3::Server;
use serde_json::Value;

use crate::client::Client;
use crate::s3::{BUCKET, layout, sandbox};
use crate::sandbox::{Sandbox, succeeded};
use crate::serve::wait_for;

const GC: [&str; 7] = ["gc", "acme", "--yes", "--keep-days", "0", "--grace-hours", "0"];
const POINTER: &str = "reg/_metadata/current";

fn push(sandbox: &Sandbox, name: &str, seed: u64) {
    let path = sandbox.write(&format!("{name}.tar"), layout(seed, 1000));
    sandbox.ok(&["push", "acme", name, "--from", &path]);
}

fn status(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let output = sandbox.run(&[&["status", "acme", "--json"], arguments].concat());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

/// Flips a bit in the middle of a file. A second name of the file keeps the old content.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn flip_object(server: &Server, key: &str) {
    let mut bytes = server.object(BUCKET, key).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    server.put(BUCKET, key, &bytes);
}

fn main_branch(sandbox: &Sandbox) -> PathBuf {
    sandbox.home().join("acme/metadata.git/refs/heads/main")
}

fn age(sandbox: &Sandbox) {
    let old = SystemTime::now() - Duration::from_secs(31 * 24 * 3600);
    for name in sandbox.files("acme/bucket") {
        let path = sandbox.home().join("acme/bucket").join(name);
        fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
    }
}

#[test]
fn a_lost_branch_removes_nothing_and_withdraws_nothing() {
    for damage in ["", "gone", "without a log"] {
        let sandbox = Sandbox::new();
        push(&sandbox, "one", 1);
        push(&sandbox, "two", 2);
        age(&sandbox);
        let stored = sandbox.files("acme/bucket");
        match damage {
            "" => fs::write(main_branch(&sandbox), "").unwrap(),
            _ => fs::remove_file(main_branch(&sandbox)).unwrap(),
        }
        if damage == "without a log" {
            fs::remove_dir_all(sandbox.home().join("acme/metadata.git/logs")).unwrap();
        }
        let path = sandbox.write("three.tar", layout(3, 1000));
        let push_three = ["push", "acme", "three", "--from", &path];
        for arguments in [&GC[..], &push_three, &["unpublish", "acme", "one"], &["setup", "acme"], &["list"]]
        {
            let failure = sandbox.fails(4, arguments);
            assert!(failure.contains("setup acme --repair"), "{damage}: {arguments:?}: {failure}");
        }
        assert_eq!(sandbox.files("acme/bucket"), stored, "{damage}");
        let found = status(&sandbox, &[]);
        assert_eq!(check(&found, "record")["outcome"], "failed", "{found:#}");
        assert!(check(&found, "record")["fix"].as_str().unwrap().contains("--repair"), "{found:#}");
        let said = sandbox.ok(&["setup", "acme", "--repair"]);
        assert!(said.contains("Repaired: The last publication is commit"), "{said}");
        assert_eq!(sandbox.commits("acme"), 2);
        sandbox.ok(&push_three);
        let server = sandbox.serve(&[]);
        let client = Client::new(server.address);
        ["one", "two", "three"].iter().for_each(|name| drop(client.pull(name, "1.0")));
    }
}

#[test]
fn a_record_that_came_back_old_publishes_nothing() {
    let sandbox = Sandbox::new();
    push(&sandbox, "one", 1);
    let old = fs::read(main_branch(&sandbox)).unwrap();
    push(&sandbox, "two", 2);
    age(&sandbox);
    let stored = sandbox.files("acme/bucket");
    fs::write(main_branch(&sandbox), old).unwrap();
    let path = sandbox.write("three.tar", layout(3, 1000));
    for arguments in [&GC[..], &["push", "acme", "three", "--from", &path]] {
        let failure = sandbox.fails(4, arguments);
        assert!(failure.contains("which is not earlier"), "{failure}");
    }
    assert_eq!(sandbox.files("acme/bucket"), stored);
    sandbox.ok(&["setup", "acme", "--repair"]);
    assert_eq!(sandbox.commits("acme"), 2);
}

#[test]
fn gc_with_an_unreadable_pointer_removes_nothing() {
    let server = Server::new(&[BUCKET]);
    let home = sandbox(&server, "");
    push(&home, "one", 1);
    push(&home, "two", 2);
    server.age_objects("", Duration::from_secs(100 * 24 * 3600));
    let good = server.object(BUCKET, POINTER).unwrap();
    for pointer in [Some(b"<html>busy</html>".as_slice()), Some(&vec![b' '; 70_000]), None] {
        match pointer {
            Some(bytes) => server.put(BUCKET, POINTER, bytes),
            None => server.remove(BUCKET, POINTER),
        }
        let before = server.keys(BUCKET);
        for arguments in [&GC[..], &["gc", "acme", "--json"]] {
            let failure = home.fails(4, arguments);
            assert!(failure.contains("nothing was"), "{failure}");
        }
        assert_eq!(server.keys(BUCKET), before);
    }
    let found = status(&home, &[]);
    assert_eq!(check(&found, "snapshot")["outcome"], "failed", "{found:#}");
    home.ok(&["setup", "acme", "--repair"]);
    let revision = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["revision"].clone();
    assert_eq!(revision(&server.object(BUCKET, POINTER).unwrap()), revision(&good));
    home.ok(&GC);
}

#[test]
fn a_push_of_a_docker_v1_image_stores_what_the_bucket_has_lost_a_part_of() {
    for file in ["_v2/blobs", "layer"] {
        let sandbox = Sandbox::new();
        let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
        sandbox.ok(&["push", "acme", "app", "--from", &path]);
        for name in sandbox.files("acme/bucket/app") {
            let path = sandbox.home().join("acme/bucket/app").join(&name);
            let length = path.metadata().unwrap().len();
            if name.contains(file.trim_start_matches("_v2/")) {
                fs::File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap();
            }
        }
        let server = sandbox.serve(&[]);
        let client = Client::new(server.address);
        let tag = || client.get("/v2/app/manifests/latest").body;
        let before = tag();
        // The second repository gets none of the damaged bytes.
        sandbox.ok(&["push", "acme", "other", "--from", &path]);
        client.pull("other", "latest");
        sandbox.ok(&["push", "acme", "app", "--from", &path]);
        client.pull("app", "latest");
        assert_eq!(tag(), before, "{file}: the tag leads to the same manifest");
        let found = status(&sandbox, &["--deep"]);
        assert_eq!(found["healthy"], true, "{file}: {found:#}");
    }
}

#[test]
fn a_push_copies_no_bytes_whose_checksum_is_not_the_records() {
    for source in ["an image of today", "a Docker v1 image"] {
        let server = Server::new(&[BUCKET]);
        let home = sandbox(&server, "");
        let archive = match source {
            "an image of today" => layout(1, 1000),
            _ => Export::chain("app", 2).tar(),
        };
        let path = home.write("app.tar", archive);
        home.ok(&["push", "acme", "app", "--from", &path]);
        // Somebody has replaced all layers by others of the same length.
        let is_layer = |key: &&String| key.contains("/_v2/blobs/") || key.ends_with("/layer");
        let stored: Vec<String> = server.keys(BUCKET).iter().filter(is_layer).cloned().collect();
        let good: Vec<Vec<u8>> = stored.iter().map(|key| server.object(BUCKET, key).unwrap()).collect();
        stored.iter().for_each(|key| flip_object(&server, key));
        server.forget();
        home.ok(&["push", "acme", "other", "--from", &path]);
        assert_eq!(server.count("CopyObject"), 0, "{source}");
        for (key, good) in stored.iter().zip(&good) {
            let copied = server.object(BUCKET, &key.replace("reg/app/", "reg/other/")).unwrap();
            assert!(copied == *good, "{source}: {key}");
        }
        // The bytes of the record are copied.
        stored.iter().zip(&good).for_each(|(key, good)| server.put(BUCKET, key, good));
        server.forget();
        home.ok(&["push", "acme", "third", "--from", &path]);
        assert!(server.count("CopyObject") > 0, "{source}");
    }
}

#[test]
fn a_damaged_note_of_the_storage_is_mended() {
    let server = Server::new(&[BUCKET]);
    let home = sandbox(&server, "");
    push(&home, "one", 1);
    let note = home.home().join("acme/storage.json");
    let good = fs::read(&note).unwrap();
    fs::write(&note, &good[..good.len() / 2]).unwrap();
    let failure = home.fails(4, &["gc", "acme"]);
    assert!(failure.contains("storage.json") && failure.contains("--repair"), "{failure}");
    let said = home.ok(&["setup", "acme", "--repair"]);
    assert!(said.contains("is made anew"), "{said}");
    assert_eq!(fs::read(&note).unwrap(), good);
    push(&home, "two", 2);
}

#[test]
fn damaged_format_numbers_are_mended() {
    let sandbox = Sandbox::new();
    push(&sandbox, "one", 1);
    for name in ["_format", "acme/metadata.git/raas-format"] {
        for damaged in [&b"\xb1\n"[..], b"!\n"] {
            let file = sandbox.home().join(name);
            fs::write(&file, damaged).unwrap();
            let failure = sandbox.fails(4, &["gc", "acme"]);
            assert!(failure.contains("setup acme --repair"), "{failure}");
            let said = sandbox.ok(&["setup", "acme", "--repair"]);
            assert!(said.contains("format numbers"), "{said}");
            assert_eq!(fs::read(&file).unwrap(), b"1\n");
        }
        // A newer number may be a newer raas's: the operator decides.
        let file = sandbox.home().join(name);
        fs::write(&file, "3\n").unwrap();
        let found = status(&sandbox, &["--deep"]);
        assert!(check(&found, "integrity")["details"].to_string().contains("has format 3"), "{found:#}");
        let failure = sandbox.fails(4, &["setup", "acme", "--repair"]);
        assert!(failure.contains("upgrade this raas") && failure.contains("write `1` into"), "{failure}");
        fs::write(&file, "1\n").unwrap();
    }
}

#[test]
fn a_server_whose_home_vanishes_keeps_serving() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    for vendor in ["acme", "bigdatainc"] {
        sandbox.ok(&["push", vendor, "app", "--from", &path]);
    }
    let log = sandbox.path("log");
    let server = sandbox.serve_logged(&[], fs::File::create(&log).unwrap());
    let status = |vendor: &str| {
        let client = Client::of(server.address, &format!("{vendor}.localhost:{}", server.address.port()));
        client.get("/v2/app/manifests/latest").status
    };
    wait_for("the server answers", || status("acme") == 200);
    let away = sandbox.path("away");
    fs::rename(sandbox.home(), &away).unwrap();
    // An empty folder stays, as where a file system was mounted.
    fs::create_dir(sandbox.home()).unwrap();
    wait_for("the log says so", || fs::read_to_string(&log).unwrap().contains("missing from the home"));
    assert_eq!((status("acme"), status("bigdatainc")), (200, 200));
    fs::remove_dir(sandbox.home()).unwrap();
    fs::rename(&away, sandbox.home()).unwrap();
    // A vendor that is removed from its home is not served any more.
    fs::remove_dir_all(sandbox.home().join("bigdatainc")).unwrap();
    wait_for("the vendor is withdrawn", || status("bigdatainc") == 404);
    assert_eq!(status("acme"), 200);
}

#[test]
fn every_kind_of_flipped_object_is_found_and_mended() {
    type IsOfKind = fn(&str) -> bool;
    let kinds: [(&str, IsOfKind); 6] = [
        ("a tag list", |name| name.ends_with("tags/list")),
        ("a manifest by tag", |name| name.ends_with("manifests/2/latest")),
        ("a manifest by digest", |name| name.contains("manifests/2/sha256:")),
        ("a blob", |name| name.contains("/blobs/")),
        ("a json", |name| name.ends_with("/json")),
        ("an ancestry", |name| name.ends_with("/ancestry")),
    ];
    for (kind, is_meant) in kinds {
        let sandbox = Sandbox::new();
        let path = fixtures::pulp2();
        for name in ["app", "other"] {
            sandbox.ok(&["push", "acme", name, "--from", path.to_str().unwrap()]);
        }
        let server = sandbox.serve(&[]);
        assert_eq!(status(&sandbox, &["--deep"])["healthy"], true, "{kind}");
        let files = sandbox.files("acme/bucket");
        let name = files.iter().find(|name| name.starts_with("app/") && is_meant(name)).unwrap();
        flip(&sandbox.home().join("acme/bucket").join(name));
        let found = status(&sandbox, &["--deep"]);
        let content = check(&found, "content");
        assert_eq!(content["outcome"], "failed", "{kind}: {found:#}");
        assert!(content["details"].to_string().contains(name), "{kind}: {found:#}");
        // The other repository has the same content.
        sandbox.ok(&["setup", "acme", "--repair"]);
        let found = status(&sandbox, &["--deep"]);
        assert_eq!(found["healthy"], true, "{kind}: {found:#}");
        Client::new(server.address).pull("app", "latest");
    }
}

#[test]
fn damaged_content_without_another_copy_is_stored_anew_by_the_next_push() {
    let sandbox = Sandbox::new();
    push(&sandbox, "app", 1);
    let blob = sandbox.files("acme/bucket/app/_v2/blobs").remove(0);
    flip(&sandbox.home().join("acme/bucket/app/_v2/blobs").join(&blob));
    let output = sandbox.run(&["setup", "acme", "--repair"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("Not repaired: app/_v2/blobs/{blob}")) && said.contains("push app again"),
        "{said}"
    );
    push(&sandbox, "app", 1);
    let server = sandbox.serve(&[]);
    Client::new(server.address).pull("app", "1.0");
    assert_eq!(status(&sandbox, &["--deep"])["healthy"], true);
}

#[test]
fn flipped_metadata_in_the_bucket_is_found_and_mended() {
    for kind in [".pack", ".tar.gz", "current"] {
        let server = Server::new(&[BUCKET]);
        let home = sandbox(&server, "");
        push(&home, "one", 1);
        push(&home, "two", 2);
        let _serving = home.serve(&[]);
        assert_eq!(status(&home, &["--deep"])["healthy"], true, "{kind}");
        let keys: Vec<String> = server.keys(BUCKET).into_iter().filter(|key| key.ends_with(kind)).collect();
        assert!(!keys.is_empty());
        for key in keys {
            flip_object(&server, &key);
            let found = status(&home, &["--deep"]);
            assert_eq!(check(&found, "snapshot")["outcome"], "failed", "{key}: {found:#}");
            home.ok(&["setup", "acme", "--repair"]);
            let found = status(&home, &["--deep"]);
            assert_eq!(found["healthy"], true, "{key}: {found:#}");
        }
        // Another home can be made from the bucket.
        let other = sandbox(&server, "");
        other.ok(&["setup", "acme"]);
        assert_eq!(other.json(&["log", "acme", "--json"]), home.json(&["log", "acme", "--json"]));
    }
}

#[test]
fn a_record_is_mended_from_the_history_in_the_bucket() {
    let server = Server::new(&[BUCKET]);
    let home = sandbox(&server, "");
    push(&home, "one", 1);
    push(&home, "two", 2);
    let log = home.json(&["log", "acme", "--json"]);
    for damage in ["objects", "everything"] {
        let folder = home.home().join("acme/metadata.git");
        fs::remove_dir_all(if damage == "objects" { folder.join("objects") } else { folder }).unwrap();
        home.fails(4, &["setup", "acme"]);
        home.ok(&["setup", "acme", "--repair"]);
        assert_eq!(home.json(&["log", "acme", "--json"]), log, "{damage}");
    }
    push(&home, "three", 3);
}

#[test]
fn a_publication_whose_history_is_lost_everywhere_is_made_again_if_the_operator_says_so() {
    for checkout_is_lost in [false, true] {
        let server = Server::new(&[BUCKET]);
        let home = sandbox(&server, "");
        push(&home, "one", 1);
        push(&home, "two", 2);
        fs::remove_dir_all(home.home().join("acme/metadata.git/objects")).unwrap();
        let history: Vec<String> =
            server.keys(BUCKET).into_iter().filter(|key| key.starts_with("reg/_record/")).collect();
        history.iter().for_each(|key| server.remove(BUCKET, key));
        if checkout_is_lost {
            // The parts in the bucket are a good copy too.
            fs::remove_dir_all(home.home().join("acme/checkout/crane")).unwrap();
        }
        let before = server.keys(BUCKET);
        let failure = home.fails(4, &["setup", "acme", "--repair"]);
        assert!(failure.contains("another home") && failure.contains("--without-history"), "{failure}");
        assert_eq!(server.keys(BUCKET), before);
        let said = home.ok(&["setup", "acme", "--repair", "--without-history"]);
        assert!(said.contains("made again") && said.contains("Restart the servers"), "{said}");
        let _serving = home.serve(&[]);
        let found = status(&home, &["--deep"]);
        assert_eq!(found["healthy"], true, "{found:#}");
        push(&home, "three", 3);
        // Another home can be made from the bucket, and has all images.
        let other = sandbox(&server, "");
        other.ok(&["setup", "acme"]);
        let serving = other.serve(&[]);
        let client = Client::new(serving.address);
        for name in ["one", "two", "three"] {
            assert_eq!(client.get(&format!("/v2/{name}/manifests/1.0")).status, 200, "{name}");
        }
    }
}

#[test]
fn a_folder_home_is_made_anew_from_its_configuration_repository_and_its_bucket() {
    let sandbox = Sandbox::new();
    let repository = sandbox.path("conf.git");
    let repository = repository.to_str().unwrap();
    let made =
        Command::new("git").args(["init", "--bare", "--quiet", "--initial-branch=main", repository]).status();
    assert!(made.unwrap().success());
    let run = |arguments: &[&str]| {
        sandbox.command(arguments).env("RAAS_CONF_REPO", format!("file://{repository}")).output().unwrap()
    };
    for (name, seed) in [("app", 1), ("tools/backup", 2)] {
        let path = sandbox.write("app.tar", layout(seed, 1000));
        succeeded(&run(&["push", "acme", name, "--from", &path]));
    }
    for folder in ["metadata.git", "checkout"] {
        fs::remove_dir_all(sandbox.home().join("acme").join(folder)).unwrap();
    }
    let said = succeeded(&run(&["setup", "acme", "--repair"]));
    assert!(said.contains("made again"), "{said}");
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    ["app", "tools/backup"].iter().for_each(|name| drop(client.pull(name, "1.0")));
    assert_eq!(status(&sandbox, &["--deep"])["healthy"], true);
}

#[test]
fn a_reading_goes_on_where_it_ended_and_has_metrics() {
    let sandbox = Sandbox::new();
    push(&sandbox, "app", 1);
    let _server = sandbox.serve(&[]);
    let metrics = sandbox.path("raas.prom");
    let deep = ["--deep", "--resume", "--rate", "1G", "--metrics", metrics.to_str().unwrap()];
    let first = status(&sandbox, &deep);
    assert_eq!(first["healthy"], true, "{first:#}");
    let objects = first["reading"]["objects"].as_u64().unwrap();
    assert!(objects > 3 && first["reading"]["finished"].is_string(), "{first:#}");
    let page = fs::read_to_string(&metrics).unwrap();
    assert!(page.contains(&format!("raas_scrub_objects{{vendor=\"acme\"}} {objects}\n")), "{page}");
    // The reading was stopped after the first object, and the second object is damaged.
    let file = sandbox.home().join("acme/scrub.json");
    let mut reading: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let keys = sandbox.files("acme/bucket");
    reading["finished"] = Value::Null;
    reading["after"] = keys[0].clone().into();
    fs::write(&file, reading.to_string()).unwrap();
    [&keys[0], &keys[1]].iter().for_each(|key| flip(&sandbox.home().join("acme/bucket").join(key)));
    let second = status(&sandbox, &deep);
    let wrong = second["reading"]["wrong"].as_object().unwrap();
    assert!(!wrong.contains_key(&keys[0]) && wrong.contains_key(&keys[1]), "{second:#}");
    // A finished reading reads nothing again but what was wrong.
    sandbox.run(&["setup", "acme", "--repair"]);
    push(&sandbox, "app", 1);
    let third = status(&sandbox, &deep);
    assert_eq!(third["reading"]["objects"], second["reading"]["objects"]);
    assert_eq!(third["reading"]["wrong"].as_object().unwrap().len(), 0, "{third:#}");
}
