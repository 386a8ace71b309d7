//! A home and a bucket that an older release has written, opened by this one.
//!
//! `fixtures/older-release.tar.zst` was written by the last release without format numbers. It has a folder `home` with the
//! vendor `acme`, and a folder `bucket` with the objects of the same vendor in S3. Both have the publications `app:1.0` and
//! then `app:2.0`.

use std::fs;
use std::io::Read;
use std::path::Path;

use raas_testkit::s3::Server;
use serde_json::Value;

use crate::client::Client;
use crate::s3::{BUCKET, assert_stored, layout, sandbox};
use crate::sandbox::Sandbox;
use crate::serve::wait_for;

/// Unpacks a folder of the fixture.
fn unpack(folder: &str, each: &mut dyn FnMut(&Path, Vec<u8>)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/older-release.tar.zst");
    let packed = fs::File::open(path).unwrap();
    let mut archive = tar::Archive::new(zstd::Decoder::new(packed).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let Ok(below) = path.strip_prefix(folder) else { continue };
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            each(below, bytes);
        }
    }
}

/// A sandbox with the home of the fixture.
fn older_home() -> Sandbox {
    let sandbox = Sandbox::new();
    unpack("home", &mut |path, bytes| {
        let path = sandbox.home().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    });
    // A tar of files only: git and raas need these empty folders.
    for folder in ["acme/metadata.git/objects", "acme/metadata.git/refs/heads", "acme/uploads"] {
        fs::create_dir_all(sandbox.home().join(folder)).unwrap();
    }
    sandbox
}

/// A service with the bucket of the fixture.
fn older_bucket() -> Server {
    let server = Server::new(&[BUCKET]);
    unpack("bucket", &mut |path, bytes| server.put(BUCKET, path.to_str().unwrap(), &bytes));
    server
}

fn tags(sandbox: &Sandbox) -> Vec<String> {
    let listing = sandbox.json(&["list", "acme", "--json"]);
    let repositories = listing["vendors"][0]["repositories"].as_array().unwrap();
    let app = repositories.iter().find(|repository| repository["repository"] == "app").unwrap();
    let tags = app["tags"].as_array().unwrap().iter();
    tags.map(|tag| tag["tag"].as_str().unwrap().to_owned()).collect()
}

/// Lists, pushes, rolls back and serves.
fn use_it(sandbox: &Sandbox) {
    assert_eq!(tags(sandbox), ["1.0", "2.0"]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    wait_for("the older publication is served", || client.get("/v2/app/manifests/2.0").status == 200);
    client.pull("app", "1.0");
    client.pull("app", "2.0");

    let path = sandbox.write("new.tar", layout(1, 1000));
    sandbox.ok(&["push", "acme", "new", "--from", &path]);
    client.pull("new", "1.0");
    sandbox.ok(&["rollback", "acme", "app"]);
    assert_eq!(tags(sandbox), ["1.0"]);
    client.pull("app", "1.0");
    assert_eq!(client.get("/v2/app/manifests/2.0").status, 404);
    assert_eq!(sandbox.commits("acme"), 4);
}

#[test]
fn a_home_of_an_older_release_is_used_and_gets_its_format_numbers() {
    let sandbox = older_home();
    use_it(&sandbox);
    for file in ["_format", "acme/metadata.git/raas-format"] {
        assert_eq!(fs::read_to_string(sandbox.home().join(file)).unwrap(), "1\n");
    }
}

#[test]
fn a_bucket_of_an_older_release_is_used_and_gets_its_format_numbers() {
    let server = older_bucket();
    let sandbox = sandbox(&server, "");
    sandbox.ok(&["setup", "acme"]);
    use_it(&sandbox);
    assert_stored(&sandbox);
    let pointer = server.object(BUCKET, "reg/_metadata/current").unwrap();
    let pointer: Value = serde_json::from_slice(&pointer).unwrap();
    assert_eq!((&pointer["format"], &pointer["parts_format"]), (&1.into(), &1.into()));
}

#[test]
fn a_pointer_of_a_newer_release_is_refused_and_not_replaced() {
    let server = older_bucket();
    let sandbox = sandbox(&server, "");
    sandbox.ok(&["setup", "acme"]);
    let serving = sandbox.serve(&[]);
    let client = Client::new(serving.address);
    wait_for("the publication is served", || client.get("/v2/app/manifests/2.0").status == 200);
    let newer = br#"{"format": 2, "parts": "in another form"}"#;
    server.put(BUCKET, "reg/_metadata/current", newer);
    let path = sandbox.write("new.tar", layout(1, 1000));
    for arguments in [
        &["push", "acme", "new", "--from", path.as_str()][..],
        &["rollback", "acme", "app"],
        &["unpublish", "acme", "app"],
        &["gc", "acme", "--yes"],
        &["setup", "acme"],
    ] {
        let failure = sandbox.fails(4, arguments);
        assert!(failure.contains("format of the pointer is 2; this raas knows formats up to 1"), "{failure}");
        assert!(failure.contains("hint: upgrade this raas"), "{failure}");
    }
    assert_eq!(server.object(BUCKET, "reg/_metadata/current").unwrap(), newer);
    client.pull("app", "2.0");
}
