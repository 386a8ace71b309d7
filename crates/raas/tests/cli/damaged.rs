//! Damaged state: what cannot be read is not empty, `raas status` finds it, and `raas setup --repair` mends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use raas_testkit::fixtures;
use raas_testkit::pulp2::Export;
use raas_testkit::s3::{Fault, Server, What};
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
    status["vendors"][0]["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
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
fn a_lost_record_and_checkout_are_no_new_vendor() {
    let sandbox = Sandbox::new();
    push(&sandbox, "one", 1);
    push(&sandbox, "two", 2);
    age(&sandbox);
    let stored = sandbox.files("acme/bucket");
    for folder in ["metadata.git", "checkout"] {
        fs::remove_dir_all(sandbox.home().join("acme").join(folder)).unwrap();
    }
    let path = sandbox.write("three.tar", layout(3, 1000));
    let push_three = ["push", "acme", "three", "--from", &path];
    for arguments in [&["setup", "acme"][..], &push_three, &GC, &["list", "acme"], &["list"]] {
        let failure = sandbox.fails(4, arguments);
        assert!(failure.contains("setup acme --repair"), "{arguments:?}: {failure}");
    }
    let output = sandbox.run(&["status"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("FAIL  acme"), "{said}");
    // Without any copy, the repair says so, and makes no empty registry.
    let failure = sandbox.fails(4, &["setup", "acme", "--repair"]);
    assert!(failure.contains("no good copy"), "{failure}");
    sandbox.fails(4, &push_three);
    // A record that is new in spite of that, as an older raas made it, is no reason to remove anything.
    let [bucket, away] = ["acme/bucket", "away"].map(|name| sandbox.home().join(name));
    fs::rename(&bucket, &away).unwrap();
    fs::remove_dir_all(sandbox.home().join("acme/metadata.git")).unwrap();
    sandbox.ok(&["setup", "acme"]);
    fs::remove_dir_all(&bucket).unwrap();
    fs::rename(&away, &bucket).unwrap();
    let failure = sandbox.fails(4, &GC);
    assert!(failure.contains("the record has no publication"), "{failure}");
    assert_eq!(sandbox.files("acme/bucket"), stored);
}

#[test]
fn a_vendor_without_a_readable_checkout_is_an_error() {
    type Damage = fn(&Path);
    let table: [(&str, Damage); 2] = [
        ("--repair", |checkout| fs::remove_dir_all(checkout).unwrap()),
        ("give the user of raas access", |checkout| {
            // Nobody can read a file as a folder, not even root.
            fs::rename(checkout, checkout.with_extension("away")).unwrap();
            fs::write(checkout, "").unwrap();
        }),
    ];
    for (hint, damage) in table {
        let sandbox = Sandbox::new();
        let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
        for vendor in ["acme", "bigdatainc"] {
            sandbox.ok(&["push", vendor, "app", "--from", &path]);
        }
        let checkout = sandbox.home().join("acme/checkout");
        let serving = sandbox.serve(&[]);
        let status_at = |address: std::net::SocketAddr, vendor: &str| {
            let client = Client::of(address, &format!("{vendor}.localhost:{}", address.port()));
            client.get("/v2/app/manifests/latest").status
        };
        wait_for("the server answers", || status_at(serving.address, "acme") == 200);
        damage(&checkout);
        for arguments in
            [&["list", "acme"][..], &["setup", "acme"], &["push", "acme", "app", "--from", &path]]
        {
            let failure = sandbox.fails(4, arguments);
            assert!(failure.contains(hint), "{hint}: {arguments:?}: {failure}");
        }
        for arguments in [&["status"][..], &["status", "acme"]] {
            let output = sandbox.run(arguments);
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.code() == Some(1) && said.contains("FAIL"), "{hint}: {said}");
            assert!(!said.contains("to set up a new vendor"), "{said}");
        }
        // A new server serves the other vendor, and does not say that this one has no images.
        let started = sandbox.serve(&[]);
        wait_for("the other vendor is served", || status_at(started.address, "bigdatainc") == 200);
        let own = status_at(started.address, "acme");
        assert_eq!(own, 503, "{hint}");
        assert_eq!(status_at(serving.address, "acme"), 200, "{hint}: it serves what it has read");
        if checkout.is_file() {
            continue;
        }
        let said = sandbox.ok(&["setup", "acme", "--repair"]);
        assert!(said.contains("checkout for servers was missing"), "{said}");
        wait_for("it is served again", || status_at(started.address, "acme") == 200);
        assert_eq!(sandbox.commits("acme"), 1);
    }
}

#[test]
fn a_push_with_a_checkout_that_cannot_be_changed_makes_no_commit() {
    let sandbox = Sandbox::new();
    push(&sandbox, "one", 1);
    let data = sandbox.home().join("acme/checkout/crane");
    fs::rename(&data, data.with_extension("away")).unwrap();
    fs::write(&data, "").unwrap();
    let path = sandbox.write("two.tar", layout(2, 1000));
    let failure = sandbox.fails(4, &["push", "acme", "two", "--from", &path]);
    assert!(
        failure.contains("cannot change") && failure.contains("give the user of raas access"),
        "{failure}"
    );
    assert_eq!(sandbox.commits("acme"), 1);
}

#[test]
fn a_protected_repository_with_a_damaged_document_is_not_overlooked() {
    let sandbox = Sandbox::new();
    push(&sandbox, "one", 1);
    push(&sandbox, "two", 2);
    sandbox.commit_by_hand("acme", "crane/data/one.json", "{ damaged");
    for pattern in ["one", "*"] {
        let failure = sandbox.fails(4, &["protect", "acme", pattern]);
        assert!(
            failure.contains("crane/data/one.json") && failure.contains("nothing was published"),
            "{failure}"
        );
    }
}

#[test]
fn wrong_answers_of_the_service_remove_nothing() {
    for (many, what) in [
        (true, What::Refuse(404, "NoSuchKey")),
        (true, What::Damage),
        (false, What::Refuse(404, "NoSuchKey")),
        (false, What::Damage),
    ] {
        let server = Server::new(&[BUCKET]);
        let home = sandbox(&server, "");
        // So many objects that the answers contradict each other, or only a few.
        let count = if many { 6 } else { 1 };
        for seed in 0..count {
            push(&home, &format!("app{seed}"), seed);
        }
        let before = server.keys(BUCKET);
        server.fail(Fault { key: "/_v2/", ..Fault::always("GetObject", what.clone()) });
        let output = home.run(&["setup", "acme", "--repair"]);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if many {
            assert_eq!(output.status.code(), Some(4), "{what:?}: {said}");
            assert!(said.contains("and says that it has them as published"), "{said}");
        } else {
            assert_eq!(output.status.code(), Some(1), "{what:?}: {said}");
            assert!(said.contains("Not repaired: app0/_v2/blobs/"), "{said}");
        }
        assert_eq!(server.keys(BUCKET), before, "{what:?}: {said}");
        server.behave();
        // A push may store noted objects once more, which harms nobody.
        push(&home, "app0", 0);
        home.ok(&["setup", "acme", "--repair"]);
        assert!(!home.home().join("acme/damaged-objects.json").exists());
        let _serving = home.serve(&[]);
        let found = status(&home, &["--deep"]);
        assert_eq!(found["healthy"], true, "{found:#}");
    }
}

#[test]
fn damaged_content_in_a_bucket_is_stored_anew_by_the_next_push() {
    for tells_checksums in [true, false] {
        let server = Server::new(&[BUCKET]);
        server.set_tells_checksums(tells_checksums);
        let home = sandbox(&server, "");
        push(&home, "app", 1);
        push(&home, "other", 2);
        let keys = server.keys(BUCKET);
        let blob = keys.iter().find(|key| key.starts_with("reg/app/_v2/blobs/")).unwrap();
        let good = server.object(BUCKET, blob).unwrap();
        flip_object(&server, blob);
        let output = home.run(&["setup", "acme", "--repair"]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("push app again"), "{said}");
        push(&home, "app", 1);
        assert!(server.object(BUCKET, blob).unwrap() == good);
        home.ok(&["setup", "acme", "--repair"]);
    }
}

#[test]
fn a_pointer_that_names_something_else_is_mended_and_reported() {
    let server = Server::new(&[BUCKET]);
    let home = sandbox(&server, "");
    push(&home, "one", 1);
    push(&home, "two", 2);
    let _serving = home.serve(&[]);
    let good = server.object(BUCKET, POINTER).unwrap();
    let with = |key: &str, value: &str| {
        let mut pointer: raas_types::Pointer = raas_types::Pointer::parse(&good).unwrap();
        match key {
            "vendor" => pointer.vendor = Some(value.parse().unwrap()),
            _ => pointer.revision = value.to_owned(),
        }
        server.put(BUCKET, POINTER, &pointer.to_bytes());
    };
    with("vendor", "bigdatainc");
    let found = status(&home, &["--deep"]);
    assert_eq!(check(&found, "snapshot")["outcome"], "failed", "{found:#}");
    let said = home.ok(&["setup", "acme", "--repair"]);
    assert!(said.contains("Repaired: The pointer of the bucket was wrong"), "{said}");
    assert_eq!(status(&home, &["--deep"])["healthy"], true);
    // A commit that no home has.
    with("revision", &"f".repeat(40));
    let found = status(&home, &["--deep"]);
    let fix = check(&found, "snapshot").to_string();
    assert!(fix.contains("--repair --without-history") && !fix.contains("remove"), "{fix}");
    home.ok(&["setup", "acme", "--repair", "--without-history"]);
    let found = status(&home, &["--deep"]);
    assert_eq!(found["healthy"], true, "{found:#}");
    // Another vendor's registry.
    with("revision", &"e".repeat(40));
    let mut pointer = raas_types::Pointer::parse(&server.object(BUCKET, POINTER).unwrap()).unwrap();
    pointer.vendor = Some("bigdatainc".parse().unwrap());
    server.put(BUCKET, POINTER, &pointer.to_bytes());
    let found = status(&home, &["--deep"]);
    assert!(check(&found, "snapshot")["fix"].as_str().unwrap().contains("s3_bucket"), "{found:#}");
    // A pointer that is lost.
    server.remove(BUCKET, POINTER);
    let said = home.ok(&["setup", "acme", "--repair"]);
    assert!(said.contains("The pointer of the bucket was missing"), "{said}");
}

/// The pointer is lost, and so is the knowledge which of two commits another home has published last.
#[test]
fn of_several_ends_of_a_history_without_a_pointer_the_operator_chooses() {
    let (server, one, two) = homes_with_two_ends();
    let ends: Vec<String> = [&one, &two].map(|home| home.head("acme")).into();
    let before = server.keys(BUCKET);
    for home in [&one, &two] {
        for arguments in [&["setup", "acme", "--repair"][..], &["setup", "acme"]] {
            let failure = home.fails(4, arguments);
            assert!(ends.iter().all(|end| failure.contains(end.as_str())), "{failure}");
            assert!(failure.contains("--accept-history COMMIT"), "{failure}");
            assert!(failure.contains("the last publication of this home"), "{failure}");
        }
    }
    let wrong = one.fails(2, &["setup", "acme", "--repair", "--accept-history", "ffffffff"]);
    assert!(ends.iter().all(|end| wrong.contains(end.as_str())), "{wrong}");
    let without_the_lease =
        |keys: Vec<String>| keys.into_iter().filter(|key| !key.contains("_turns/")).collect::<Vec<_>>();
    assert_eq!(without_the_lease(server.keys(BUCKET)), without_the_lease(before));
    assert_eq!([&one, &two].map(|home| home.head("acme")), ends[..], "nothing was chosen");
    // A home that has published the other end takes the chosen one.
    let said = one.ok(&["setup", "acme", "--repair", "--accept-history", &ends[1][..10]]);
    assert!(said.contains("set aside") && said.contains(&ends[1]), "{said}");
    assert_eq!(one.head("acme"), ends[1]);
    let pointer: Value = serde_json::from_slice(&server.object(BUCKET, POINTER).unwrap()).unwrap();
    assert_eq!(pointer["revision"], ends[1].as_str());
    // Again, it changes nothing.
    one.ok(&["setup", "acme", "--repair", "--accept-history", &ends[1]]);
    let failure = one.fails(2, &["setup", "acme", "--repair", "--accept-history", &ends[0]]);
    assert!(failure.contains("has a pointer"), "{failure}");
    two.ok(&["setup", "acme"]);
    // This home remembers the choice: the commit that was set aside is no end any more.
    server.remove(BUCKET, POINTER);
    one.ok(&["setup", "acme", "--repair"]);
    assert_eq!(one.head("acme"), ends[1]);
    let _serving = one.serve(&[]);
    let found = status(&one, &["--deep"]);
    assert_eq!(found["healthy"], true, "{found:#}");
}

/// A new machine chooses too.
#[test]
fn a_new_home_chooses_between_several_ends() {
    let (server, one, _two) = homes_with_two_ends();
    let fresh = sandbox(&server, "");
    let failure = fresh.fails(4, &["setup", "acme"]);
    let end = one.head("acme");
    assert!(failure.contains(&end) && failure.contains("--accept-history"), "{failure}");
    fresh.ok(&["setup", "acme", "--repair", "--accept-history", &end]);
    assert_eq!(fresh.head("acme"), end);
}

/// What everybody could read is checked before the repair, which needs to know what is published.
#[test]
fn a_damaged_pointer_of_a_public_bucket_is_mended() {
    let server = Server::new(&[BUCKET]);
    let home = sandbox(&server, "access = public\n");
    push(&home, "one", 1);
    let end = home.head("acme");
    for arguments in
        [&["setup", "acme", "--repair"][..], &["setup", "acme", "--repair", "--accept-history", &end]]
    {
        server.put(BUCKET, POINTER, b"{");
        home.fails(4, &["setup", "acme"]);
        home.ok(arguments);
        let pointer: Value = serde_json::from_slice(&server.object(BUCKET, POINTER).unwrap()).unwrap();
        assert_eq!(pointer["revision"], end.as_str());
    }
}

/// Two homes that have each published on top of the same commit, and a bucket with the history of both and without a
/// pointer.
fn homes_with_two_ends() -> (Server, Sandbox, Sandbox) {
    let server = Server::new(&[BUCKET]);
    let (one, two) = (sandbox(&server, ""), sandbox(&server, ""));
    push(&one, "base", 1);
    two.ok(&["setup", "acme"]);
    let before = server.object(BUCKET, POINTER).unwrap();
    push(&one, "one", 2);
    // As if the first home had been killed before it wrote the pointer.
    server.put(BUCKET, POINTER, &before);
    push(&two, "two", 3);
    server.remove(BUCKET, POINTER);
    (server, one, two)
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
fn a_push_links_no_damaged_file() {
    for archive in [layout(1, 1000), Export::chain("app", 2).tar()] {
        let sandbox = Sandbox::new();
        let path = sandbox.write("app.tar", archive);
        sandbox.ok(&["push", "acme", "app", "--from", &path]);
        let bucket = sandbox.home().join("acme/bucket");
        let is_layer = |key: &String| key.contains("/_v2/blobs/") || key.ends_with("/layer");
        let stored: Vec<String> = sandbox.files("acme/bucket").into_iter().filter(is_layer).collect();
        assert!(stored.len() > 2);
        let good: Vec<Vec<u8>> = stored.iter().map(|key| fs::read(bucket.join(key)).unwrap()).collect();
        stored.iter().for_each(|key| flip(&bucket.join(key)));
        sandbox.ok(&["push", "acme", "other", "--from", &path]);
        for (key, good) in stored.iter().zip(&good) {
            assert!(fs::read(bucket.join(key.replacen("app/", "other/", 1))).unwrap() == *good, "{key}");
        }
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
fn a_server_whose_home_vanishes_or_is_removed_keeps_serving() {
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
    let logged = |text: &str| fs::read_to_string(&log).unwrap().matches(text).count();
    let is_registered = || sandbox.files("_servers").iter().any(|name| name.ends_with(".json"));
    let gone = "the files of a vendor are gone";
    wait_for("the log says so", || logged(gone) == 2);
    assert_eq!((status("acme"), status("bigdatainc")), (200, 200));
    // The server registers itself again, and a command says where the vendor is.
    wait_for("it is found", is_registered);
    let found = sandbox.run(&["status", "acme"]);
    let said = String::from_utf8(found.stdout).unwrap();
    assert!(said.contains("is gone; the server on ") && said.contains("from your backup"), "{said}");
    assert!(!said.contains("to set up a new vendor"), "{said}");
    fs::remove_dir_all(sandbox.home()).unwrap();
    fs::rename(&away, sandbox.home()).unwrap();
    wait_for("the log says so", || logged("the files of a vendor are back") == 2);
    // `rm -rf` of a vendor or of the home, which removes the files one after the other, withdraws nobody.
    let copy = sandbox.path("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(sandbox.home()).arg(&copy).status().unwrap();
    assert!(copied.success());
    // A copied registration is nobody's, and commands would remove it.
    fs::remove_dir_all(copy.join("_servers")).unwrap();
    for folder in [sandbox.home().join("bigdatainc"), sandbox.home()] {
        let before = logged(gone);
        while fs::remove_dir_all(&folder).is_err() {}
        wait_for("the log says so", || logged(gone) > before);
        assert_eq!((status("acme"), status("bigdatainc")), (200, 200));
    }
    assert_eq!(logged("site removed"), 0);
    // What is restored is followed again, and the server found.
    while sandbox.home().exists() {
        fs::remove_dir_all(sandbox.home()).unwrap_or_default();
    }
    fs::rename(&copy, sandbox.home()).unwrap();
    wait_for("it is found", || sandbox.ok(&["list", "acme"]).contains("app") && is_registered());
    sandbox.ok(&["push", "acme", "other", "--from", &path]);
    // A vendor that publishes nothing goes with its files.
    sandbox.ok(&["remove", "bigdatainc", "--yes"]);
    assert_eq!(status("bigdatainc"), 404);
    fs::remove_dir_all(sandbox.home().join("bigdatainc")).unwrap();
    wait_for("the vendor is withdrawn", || logged("site removed") == 1);
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
        assert_eq!(
            other.json(&["log", "acme", "--json"])["publications"].clone(),
            home.json(&["log", "acme", "--json"])["publications"].clone()
        );
    }
}

#[test]
fn a_record_is_mended_from_the_history_in_the_bucket() {
    let server = Server::new(&[BUCKET]);
    let home = sandbox(&server, "");
    push(&home, "one", 1);
    push(&home, "two", 2);
    let log = home.json(&["log", "acme", "--json"])["publications"].clone();
    for damage in ["objects", "everything"] {
        let folder = home.home().join("acme/metadata.git");
        fs::remove_dir_all(if damage == "objects" { folder.join("objects") } else { folder }).unwrap();
        home.fails(4, &["setup", "acme"]);
        home.ok(&["setup", "acme", "--repair"]);
        assert_eq!(home.json(&["log", "acme", "--json"])["publications"].clone(), log, "{damage}");
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
    let lose = || {
        for folder in ["metadata.git", "checkout"] {
            fs::remove_dir_all(sandbox.home().join("acme").join(folder)).unwrap();
        }
    };
    lose();
    assert_eq!(run(&["setup", "acme"]).status.code(), Some(4));
    let said = succeeded(&run(&["setup", "acme", "--repair"]));
    assert!(said.contains("made again"), "{said}");
    // A record that was begun anew after a loss, as an older raas did, lacks what the backup has.
    let [bucket, away] = ["acme/bucket", "away"].map(|name| sandbox.home().join(name));
    fs::rename(&bucket, &away).unwrap();
    lose();
    let path = sandbox.write("app.tar", layout(3, 1000));
    succeeded(&run(&["push", "acme", "new", "--from", &path]));
    fs::remove_dir_all(&bucket).unwrap();
    fs::rename(&away, &bucket).unwrap();
    succeeded(&run(&["push", "acme", "new", "--from", &path]));
    let output = run(&["setup", "acme", "--repair"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.code() == Some(1) && said.contains("never had: app.json, tools/backup.json"),
        "{said}"
    );
    lose();
    succeeded(&run(&["setup", "acme", "--repair"]));
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
    let objects = first["vendors"][0]["scrub"]["objects"].as_u64().unwrap();
    assert!(objects > 3 && first["vendors"][0]["scrub"]["finished"].is_string(), "{first:#}");
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
    let wrong = second["vendors"][0]["scrub"]["wrong"].as_array().unwrap();
    let objects: Vec<&str> = wrong.iter().map(|wrong| wrong["object"].as_str().unwrap()).collect();
    assert_eq!(objects, [keys[1].as_str()], "{second:#}");
    // A finished reading reads nothing again but what was wrong.
    sandbox.run(&["setup", "acme", "--repair"]);
    push(&sandbox, "app", 1);
    let third = status(&sandbox, &deep);
    assert_eq!(third["vendors"][0]["scrub"]["objects"], second["vendors"][0]["scrub"]["objects"]);
    assert_eq!(third["vendors"][0]["scrub"]["wrong"].as_array().unwrap().len(), 0, "{third:#}");
}
