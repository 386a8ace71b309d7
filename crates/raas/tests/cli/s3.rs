//! Vendors whose objects are in an S3 bucket.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use raas_testkit::docker_save::{self, LayerPlaces, Saved};
use raas_testkit::layers::{Pack, layer, noise};
use raas_testkit::oci::Layout;
use raas_testkit::pulp2::Export;
use raas_testkit::s3::{Fault, Server, What};
use rustix::process::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::sandbox::{Sandbox, send};

pub(crate) const BUCKET: &str = "acme-images";

/// A sandbox whose vendor `acme` has a bucket of this service.
pub(crate) fn sandbox(server: &Server, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let config = format!(
        "[aws]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hunter2\n\n\
         [acme]\ns3_bucket = {BUCKET}\ns3_endpoint = {}\ns3_path_style = yes\ns3_prefix = reg\n{more}",
        server.url()
    );
    sandbox.write("raas.cfg", config);
    sandbox
}

fn check<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["vendors"][0]["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

/// Checks that the bucket has every object of the documents.
pub(crate) fn assert_stored(sandbox: &Sandbox) {
    let output = sandbox.run(&["status", "acme", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["storage", "metadata", "images", "snapshot"] {
        assert_eq!(check(&status, name)["outcome"], "ok", "{status:#}");
    }
}

/// An image with a layer of about this number of bytes.
pub(crate) fn layout(seed: u64, size: usize) -> Vec<u8> {
    let mut layout = Layout::new();
    let small = layout.layer(&[("small", b"small")], Pack::Gzip);
    // The parts differ from each other. Making such a layer is faster than making random bytes.
    let period = noise(seed, 10_007);
    let large = period.repeat(size / period.len() + 1);
    let large = layout.layer(&[("large", &large[..size])], Pack::Plain);
    let image = layout.image("amd64", &[small, large]);
    layout.tag(&image, "1.0");
    layout.tar()
}

#[test]
fn setup_says_whether_the_service_has_conditional_writes() {
    for (heeds, words) in [(true, "has conditional writes"), (false, "has no conditional writes")] {
        let server = Server::new(&[BUCKET]);
        server.set_heeds_conditions(heeds);
        let sandbox = sandbox(&server, "");
        assert_eq!(sandbox.json(&["setup", "acme", "--json"])["conditional_writes"], heeds);
        assert!(sandbox.ok(&["setup", "acme"]).contains(words));
    }
}

#[test]
fn a_service_that_has_lost_conditional_writes_is_found_out_within_a_month() {
    let server = Server::new(&[BUCKET]);
    let home = sandbox(&server, "");
    let path = |seed| home.write(&format!("{seed}.tar"), layout(seed, 1000));
    home.ok(&["push", "acme", "app", "--from", &path(1)]);
    let file = home.home().join("acme/conditional-writes.json");
    let note = || serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(note()["conditional_writes"], true);
    // As if another service answered at the same address.
    server.set_heeds_conditions(false);
    let said = home.run(&["push", "acme", "app", "--from", &path(2)]);
    assert!(!String::from_utf8(said.stderr).unwrap().contains("conditional writes"), "the answer is fresh");
    let mut old = note();
    old["asked"] = (old["asked"].as_u64().unwrap() - 31 * 24 * 3600).into();
    std::fs::write(&file, old.to_string()).unwrap();
    let output = home.run(&["push", "acme", "app", "--from", &path(3)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("has no conditional writes any more"), "{said}");
    assert_eq!(note()["conditional_writes"], false);
    // The same bucket of another service is asked at once.
    server.set_heeds_conditions(true);
    let mut elsewhere = note();
    elsewhere["storage"] = "s3://acme-images/reg http://other.example.com".into();
    std::fs::write(&file, elsewhere.to_string()).unwrap();
    home.ok(&["push", "acme", "app", "--from", &path(4)]);
    assert_eq!(note()["conditional_writes"], true);
}

#[test]
fn every_format_is_stored_in_the_bucket_and_a_second_push_needs_few_requests() {
    let server = Server::new(&[]);
    let sandbox = sandbox(&server, "");
    let missing = sandbox.fails(4, &["setup", "acme"]);
    assert!(missing.contains("raas setup acme --create"), "{missing}");
    let made = sandbox.ok(&["setup", "acme", "--create"]);
    assert!(
        made.contains("Made bucket acme-images") && made.contains("s3://acme-images/reg can be"),
        "{made}"
    );
    let layers = [layer(&[("a", b"a")]), layer(&[("b", &noise(1, 50_000))])];
    let saved = docker_save::newer(&[Saved { names: &["app:1"], layers: &layers }], LayerPlaces::Folders);
    let sources = [
        ("v1", Export::chain("v1", 3).tar()),
        ("saved", saved.tar()),
        ("oci", layout(1, 100_000)),
        ("large", layout(2, 18 << 20)),
    ];
    for (name, bytes) in sources {
        let path = sandbox.write(name, bytes);
        let first = sandbox.json(&["push", "acme", name, "--json", "--from", &path]);
        assert_eq!(first["changed"], true);
        server.forget();
        let keys = server.keys(BUCKET);
        let again = sandbox.json(&["push", "acme", name, "--json", "--from", &path]);
        assert_eq!((&again["changed"], &again["stored"]["objects"]), (&false.into(), &0.into()), "{name}");
        assert_eq!(again["present"]["objects"], {
            let stored = first["stored"]["objects"].as_u64().unwrap();
            stored + first["present"]["objects"].as_u64().unwrap()
        });
        assert_eq!(again["requests"], server.asked().len());
        // The listing of unfinished uploads, two listings for the push and one for the record of tags, the pointer before
        // and after the commit, and its archive.
        assert_eq!(server.asked().len(), 7, "{name}: {:?}", server.asked());
        assert_eq!(server.keys(BUCKET), keys);
    }
    assert!(server.keys(BUCKET).iter().all(|key| key.starts_with("reg/") && !key.contains("_uploads")));
    assert!(server.uploads(BUCKET).is_empty());
    assert_stored(&sandbox);
    let document = fs::read_to_string(sandbox.home().join("acme/checkout/crane/data/oci.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["url"], format!("{}/{BUCKET}/reg/oci/_v2/", server.url()));
    assert!(sandbox.files("acme/bucket").is_empty());
}

#[test]
fn a_public_bucket_that_nobody_may_read_is_found_out() {
    let server = Server::new(&[BUCKET]);
    server.refuse_everybody();
    let home = sandbox(&server, "");
    let path = home.write("app.tar", layout(1, 1000));
    home.ok(&["push", "acme", "app", "--from", &path]);
    let config = fs::read_to_string(home.path("raas.cfg")).unwrap();
    home.write("raas.cfg", format!("{config}access = public\n"));
    let said = home.ok(&["setup", "acme"]);
    assert!(said.contains("answers everybody with 403; run `raas setup acme --create`"), "{said}");
    let status =
        || -> Value { serde_json::from_slice(&home.run(&["status", "acme", "--json"]).stdout).unwrap() };
    assert_eq!(check(&status(), "public")["outcome"], "failed");
    let said = home.ok(&["setup", "acme", "--create"]);
    assert!(!said.contains("with 403"), "{said}");
    assert_eq!(check(&status(), "public")["outcome"], "ok");
}

#[test]
fn the_check_of_the_configuration_opens_each_bucket() {
    let sandbox = Sandbox::new();
    let table = [
        ("[aws]\naws_access_key_id = A\n", "needs `aws_secret_access_key`"),
        ("[aws]\naws_secret_access_key = A\n", "needs `aws_access_key_id`"),
        (
            "[acme]\ns3_bucket = images\ns3_region = eu-1\ns3_endpoint = https://s3.r.acme.com\nregistry_host = r.acme.com\n",
            "the bucket's host images.s3.r.acme.com is below the registry's host r.acme.com",
        ),
    ];
    for (text, expected) in table {
        sandbox.write("raas.cfg", text);
        let failure = sandbox.fails(2, &["config", "check"]);
        assert!(failure.contains(expected), "{failure}");
    }
}

#[test]
fn outdated_metadata_in_the_bucket_is_reported_and_written_again() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let path = sandbox.write("app.tar", layout(1, 1000));
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let status = String::from_utf8(sandbox.run(&["status", "acme"]).stdout).unwrap();
    assert!(!status.contains("leftovers"), "{status}");
    let keys = server.keys(BUCKET);
    let pointer = keys.iter().find(|key| key.ends_with("_metadata/current")).unwrap();
    let good = server.object(BUCKET, pointer).unwrap();
    server.put(BUCKET, pointer, b"{");
    let output = sandbox.run(&["status", "acme", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(check(&status, "snapshot")["outcome"], "failed", "{status:#}");
    // The history has one end. The first home continues from there.
    let other = self::sandbox(&server, "");
    other.ok(&["setup", "acme"]);
    server.remove(BUCKET, pointer);
    sandbox.ok(&["setup", "acme"]);
    // With two ends raas cannot know which of them is published, so it changes nothing, and names both.
    let record = server.keys(BUCKET).into_iter().find(|key| key.contains("/_record/")).unwrap();
    let stranger = Server::new(&[BUCKET]);
    let elsewhere = self::sandbox(&stranger, "");
    elsewhere.ok(&["push", "acme", "two", "--from", &path]);
    let pack = stranger.keys(BUCKET).into_iter().find(|key| key.contains("/_record/")).unwrap();
    let tip = |key: &str| key.split("/_record/").nth(1).unwrap().split('-').next().unwrap().to_owned();
    let ends = [tip(&record), tip(&pack)];
    server.put(BUCKET, &pack, &stranger.object(BUCKET, &pack).unwrap());
    for arguments in [
        &["setup", "acme"][..],
        &["push", "acme", "two", "--from", &path],
        &["gc", "acme", "--yes", "--keep-days", "0", "--grace-hours", "0"],
    ] {
        server.put(BUCKET, pointer, b"{");
        assert!(other.fails(4, arguments).contains("_metadata/current of s3://acme-images/reg is damaged"));
        server.remove(BUCKET, pointer);
        let failure = other.fails(4, arguments);
        assert!(failure.contains("and no _metadata/current"), "{failure}");
        assert!(failure.contains("--accept-history COMMIT"), "{failure}");
        assert!(ends.iter().all(|end| failure.contains(end.as_str())), "{failure}");
    }
    server.remove(BUCKET, &pack);
    assert!(server.object(BUCKET, &record).is_some());
    sandbox.ok(&["setup", "acme"]);
    assert_stored(&sandbox);
    let revision = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["revision"].clone();
    assert_eq!(revision(&server.object(BUCKET, pointer).unwrap()), revision(&good));
}

#[test]
fn foreign_objects_in_the_bucket_are_left_unchanged() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let path = sandbox.write("app.tar", layout(1, 1000));
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    server.put(BUCKET, "reg/website/index.html", b"x");
    let gc = ["gc", "acme", "--yes", "--keep-days", "0", "--grace-hours", "0"];
    sandbox.ok(&gc);
    assert!(server.object(BUCKET, "reg/website/index.html").is_some());
    assert_stored(&sandbox);
    server.put(BUCKET, "reg/vendors/b/_metadata/current", b"{}");
    let failure = sandbox.fails(2, &gc);
    assert!(failure.contains("another registry, below vendors/b/"), "{failure}");
    // Two vendors with the same bucket, after a section was copied.
    let config = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    sandbox.write("raas.cfg", config.replace("[acme]", "[bcme]"));
    let failure = sandbox.fails(2, &["setup", "bcme"]);
    assert!(failure.contains("holds the registry of acme, and not of bcme"), "{failure}");
}

#[test]
fn a_blob_of_another_repository_is_copied_within_the_bucket() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let path = sandbox.write("app.tar", layout(1, 100_000));
    sandbox.ok(&["push", "acme", "one", "--from", &path]);
    server.forget();
    sandbox.ok(&["push", "acme", "two", "--from", &path]);
    assert_eq!(server.count("CopyObject"), 3, "two layers and a config");
    assert_stored(&sandbox);
}

#[test]
fn a_moved_tag_is_stored_and_a_removed_tag_is_deleted() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let image = |seed, names: &[&str]| {
        let layers = [layer(&[("a", &noise(seed, 500))])];
        docker_save::newer(&[Saved { names, layers: &layers }], LayerPlaces::Folders).tar()
    };
    let one = sandbox.write("one.tar", image(1, &["app:1", "app:2"]));
    let two = sandbox.write("two.tar", image(2, &["app:1"]));
    sandbox.ok(&["push", "acme", "app", "--from", &one]);
    let of = |tag: &str| server.object(BUCKET, &format!("reg/app/_v2/manifests/2/{tag}"));
    assert!(of("1").is_some() && of("1") == of("2"));
    sandbox.ok(&["push", "acme", "app", "--from", &two]);
    assert!(of("1") != of("2"));
    sandbox.ok(&["push", "acme", "app", "--prune", "--from", &two]);
    assert!(of("1").is_some() && of("2").is_none());
    // Somebody has replaced the object of a tag by another of the same length.
    let good = of("1").unwrap();
    server.put(BUCKET, "reg/app/_v2/manifests/2/1", &vec![b'x'; good.len()]);
    sandbox.ok(&["push", "acme", "app", "--from", &two]);
    assert_eq!(of("1"), Some(good));
}

/// The service begins to refuse at each request in turn. The publication is whole each time, and the same push again
/// completes it.
#[test]
fn a_failure_of_the_service_at_any_request_leaves_no_half_publication() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let image = |seed| {
        let layers = [layer(&[("a", &noise(seed, 500))]), layer(&[("b", &noise(seed + 1, 500))])];
        docker_save::newer(&[Saved { names: &["app:1"], layers: &layers }], LayerPlaces::Folders).tar()
    };
    let first = sandbox.write("first.tar", image(100));
    sandbox.ok(&["push", "acme", "app", "--from", &first]);
    let mut after = 0;
    loop {
        let path = sandbox.write("next.tar", image(200 + after as u64 * 10));
        let commits = sandbox.commits("acme");
        server.fail(Fault { after, ..Fault::always("*", What::Refuse(403, "AccessDenied")) });
        let output = sandbox.run(&["push", "acme", "app", "--from", &path]);
        server.behave();
        if output.status.success() {
            break;
        }
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert_eq!(error.matches("error: ").count(), 1, "{error}");
        assert!(error.contains("hint: grant s3:"), "{error}");
        let published = sandbox.commits("acme") > commits;
        // Objects of tags are stored after the commit, for programs that read the bucket directly.
        let status = sandbox.run(&["status", "acme", "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        for detail in check(&status, "images")["details"].as_array().into_iter().flatten() {
            assert!(published && detail.as_str().unwrap().contains("/1:"), "{detail}");
        }
        let again = sandbox.json(&["push", "acme", "app", "--json", "--from", &path]);
        assert_eq!(again["changed"], !published);
        let keys = server.keys(BUCKET);
        assert!(keys.iter().all(|key| !key.contains("_uploads")), "{keys:?}");
        after += 1;
    }
    // Refusing the two listings of leftovers alone would not end a push.
    assert!(after > 8, "{after}");
}

#[test]
fn temporary_faults_are_retried() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let path = sandbox.write("app.tar", layout(1, 18 << 20));
    for operation in ["ListObjectsV2", "PutObject", "UploadPart", "CompleteMultipartUpload"] {
        server.fail(Fault::once(operation, What::Refuse(503, "SlowDown")));
    }
    server.fail(Fault::once("UploadPart", What::Reset));
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    assert_stored(&sandbox);
}

#[test]
fn refused_requests_have_a_hint_and_show_no_secret() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let path = sandbox.write("app.tar", layout(1, 1000));
    let table = [
        (
            "PutObject",
            What::Refuse(403, "AccessDenied"),
            "grant s3:PutObject on arn:aws:s3:::acme-images/reg/*",
        ),
        ("*", What::Refuse(403, "ExpiredToken"), "the credentials have expired"),
        ("*", What::Moved("eu-west-1"), "set `s3_region = eu-west-1` in section [acme] of raas.cfg"),
        ("PutObject", What::Refuse(404, "NoSuchBucket"), "raas setup acme --create"),
    ];
    for (operation, what, part) in table {
        server.fail(Fault::always(operation, what));
        let error = sandbox.fails(4, &["push", "acme", "app", "--from", &path]);
        assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        server.behave();
    }
    assert_eq!(sandbox.commits("acme"), 0);
    assert!(server.keys(BUCKET).iter().all(|key| !key.contains("manifests")));
    let acme = format!("[acme]\ns3_bucket = {BUCKET}\ns3_endpoint = {}\ns3_prefix = reg\n", server.url());
    sandbox.write("raas.cfg", format!("[aws]\naws_access_key_id = x\n{acme}"));
    assert!(
        sandbox.fails(2, &["push", "acme", "app", "--from", &path]).contains("needs `aws_secret_access_key`")
    );
    sandbox.write("raas.cfg", acme);
    let error = sandbox.fails(4, &["push", "acme", "app", "--from", &path]);
    assert!(error.contains("there are no credentials to ask with"), "{error}");
}

#[test]
fn a_bucket_below_the_registrys_host_is_rejected() {
    let sandbox = Sandbox::new();
    let config = "[acme]\ns3_bucket = bytes\ns3_endpoint = https://registry.acme.com\nregistry_host = registry.acme.com\n";
    sandbox.write("raas.cfg", config);
    let error = sandbox.fails(2, &["setup", "acme"]);
    assert!(error.contains("below the registry's host registry.acme.com"), "{error}");
}

#[test]
fn no_password_or_key_is_in_the_bucket() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    sandbox.ok(&["setup", "acme"]);
    let hash = "$2y$05$WGLeJ3jOZbOoWk2zP4yBzOuXHjkR7lXcE0pKfgnjPKSnAMvPRUWWC";
    fs::write(sandbox.home().join("acme/htpasswd"), format!("ann:{hash}\n")).unwrap();
    let path = sandbox.write("app.tar", layout(1, 1000));
    sandbox.ok(&["push", "acme", "app", "--from", &path, "--protected"]);
    let add = ["access", "add", "acme", "bigbank", "--repositories", "app", "--format", "json"];
    let secret = sandbox.json(&add)["password"].as_str().unwrap().to_owned();
    let mut all = Vec::new();
    for key in server.keys(BUCKET) {
        let bytes = server.object(BUCKET, &key).unwrap();
        all.extend_from_slice(key.as_bytes());
        all.extend_from_slice(&unpacked(&sandbox, &bytes));
    }
    let has = |text: &str| all.windows(text.len()).any(|part| part == text.as_bytes());
    // The search sees parts of the snapshot and the packs of the history.
    assert!(has("bigbank") && has("Publish app: 1.0"));
    for secret in ["hunter2", "AKIAEXAMPLE", hash, &secret, &secret[secret.len() - 20..]] {
        assert!(!has(secret), "the bucket has {secret}");
    }
}

/// The content of an object, unpacked if it is a gzip file or a pack of git.
fn unpacked(sandbox: &Sandbox, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    if bytes.starts_with(b"\x1f\x8b") {
        GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
        return plain;
    }
    if !bytes.starts_with(b"PACK") {
        return bytes.to_vec();
    }
    let repository = sandbox.path("packs.git");
    let git = |arguments: &[&str], input: &[u8]| {
        let mut command = Command::new("git");
        command
            .arg("--git-dir")
            .arg(&repository)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    };
    git(&["init", "--bare", "--quiet"], b"");
    git(&["unpack-objects", "-q"], bytes);
    git(&["cat-file", "--batch-all-objects", "--batch"], b"")
}

#[test]
fn a_cdn_that_excludes_the_metadata_serves_everything() {
    let service = Server::new(&[BUCKET]);
    // Nothing answers at this address: raas itself never asks a CDN.
    let sandbox = sandbox(&service, "access = cdn\ncdn_url = https://cdn.example.com/acme\n");
    let path = sandbox.write("app.tar", layout(1, 1000));
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let server = sandbox.serve_alone(&["--from-config"]);
    let client = Client::new(server.address);
    let manifest = client.get("/v2/app/manifests/1.0");
    assert_eq!(manifest.status, 200);
    let manifest = manifest.json();
    let layers = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
    for digest in layers.map(|blob| blob["digest"].as_str().unwrap()) {
        let answer = client.get(&format!("/v2/app/blobs/{digest}"));
        let location = answer.headers["location"].to_string();
        assert_eq!(
            (answer.status, &*location),
            (307, &*format!("https://cdn.example.com/acme/reg/app/_v2/blobs/{digest}"))
        );
    }
}

/// Starts a push, and waits until it is in the middle of a large layer.
fn push_midway(sandbox: &Sandbox, server: &Server, path: &str, more: &[&str]) -> Child {
    // The service accepts two parts at once and delays the others.
    let slow = What::Slow(Duration::from_secs(5));
    server.fail(Fault { after: 2, ..Fault::always("UploadPart", slow) });
    let mut command = sandbox.command(&[&["push", "acme", "app", "--from", path], more].concat());
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while server.uploads(BUCKET).first().is_none_or(|(_, parts)| *parts < 2) {
        assert!(begun.elapsed() < Duration::from_secs(20), "no parts come");
        thread::sleep(Duration::from_millis(5));
    }
    server.behave();
    child
}

#[test]
fn the_push_after_a_kill_continues_with_the_stored_parts() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let path = sandbox.write("app.tar", layout(1, 34 << 20));
    let mut child = push_midway(&sandbox, &server, &path, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    // Requests of the killed push may arrive late. They must not count as requests of the next push.
    server.wait_until_alone();
    server.forget();
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    // At least two of seven parts are stored. A busy machine may have to send one of the others twice.
    let (begun, sent) = (server.count("CreateMultipartUpload"), server.count("UploadPart"));
    assert!(begun == 0 && sent < 7, "{:?}", server.asked());
    assert!(server.uploads(BUCKET).is_empty());
    assert_stored(&sandbox);
}

#[test]
fn an_interruption_leaves_no_unfinished_upload() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let path = sandbox.write("app.tar", layout(1, 34 << 20));
    let child = push_midway(&sandbox, &server, &path, &[]);
    send(child.id(), Signal::INT);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(
        said.contains("Interrupted by SIGINT: nothing was published; what was unfinished in s3://"),
        "{said}"
    );
    assert!(server.uploads(BUCKET).is_empty());
    assert_eq!(sandbox.commits("acme"), 0);
}

/// An interrupted push removes both its private clone and its uploads, in any order.
#[test]
fn an_interruption_leaves_no_clone_of_the_configuration_either() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let folder = sandbox.path("conf");
    fs::create_dir(&folder).unwrap();
    fs::rename(sandbox.path("raas.cfg"), folder.join("raas.cfg")).unwrap();
    for arguments in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "x"]] {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@x", "-C"]).arg(&folder).args(arguments);
        assert!(git.status().unwrap().success());
    }
    let path = sandbox.write("app.tar", layout(1, 34 << 20));
    let address = format!("file://{}", folder.display());
    let child = push_midway(&sandbox, &server, &path, &["--config-repo", &address]);
    assert!(fs::read_dir(sandbox.home().join("_config")).unwrap().count() > 0);
    send(child.id(), Signal::INT);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(
        said.contains("Interrupted by SIGINT: nothing was published; what was unfinished in s3://"),
        "{said}"
    );
    assert!(server.uploads(BUCKET).is_empty());
    assert_eq!(fs::read_dir(sandbox.home().join("_config")).unwrap().count(), 0);
}

/// The commit in the bucket's metadata.
fn pointed_at(server: &Server) -> Value {
    let pointer = server.object(BUCKET, "reg/_metadata/current").unwrap();
    serde_json::from_slice::<Value>(&pointer).unwrap()["revision"].clone()
}

#[test]
fn rollback_and_unpublish_change_the_bucket_too() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    for seed in [1, 2] {
        let path = sandbox.write("app.tar", layout(seed, 10_000));
        sandbox.ok(&["push", "acme", "app", "--from", &path]);
    }
    let back = sandbox.json(&["rollback", "acme", "app", "--json"]);
    assert_eq!(pointed_at(&server), back["commit"]);
    assert_stored(&sandbox);
    let gone = sandbox.json(&["unpublish", "acme", "app", "--json"]);
    assert_eq!(pointed_at(&server), gone["commit"]);
    let keys = server.keys(BUCKET);
    assert!(
        !keys.iter().any(|key| key.ends_with("tags/list") || key.ends_with("manifests/2/1.0")),
        "{keys:?}"
    );
    let again = sandbox.json(&["rollback", "acme", "app", "--json"]);
    assert_eq!(pointed_at(&server), again["commit"]);
    assert_stored(&sandbox);
}

#[test]
fn setup_adds_a_given_bucket_to_the_configuration() {
    let server = Server::new(&[BUCKET]);
    let sandbox = Sandbox::new();
    let before =
        "[aws]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hunter2\nregion = eu-central-1\n";
    sandbox.write("raas.cfg", before);
    let setup = |bucket: &str| {
        let mut command = sandbox.command(&["setup", "acme", "--s3bucket", bucket]);
        command.env("AWS_ENDPOINT_URL", server.url()).output().unwrap()
    };
    // Setup does not add a bucket that does not work.
    assert_eq!(setup("no-such-bucket").status.code(), Some(4));
    assert_eq!(fs::read_to_string(sandbox.path("raas.cfg")).unwrap(), before);
    let said = crate::sandbox::succeeded(&setup(BUCKET));
    assert!(said.contains(&format!("s3://{BUCKET}")) && said.contains("Remembered in raas.cfg"), "{said}");
    let after = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    assert_eq!(after, format!("{before}\n[acme]\ns3_bucket = {BUCKET}\n"));
}

#[test]
fn every_command_and_server_heeds_the_endpoint_of_the_environment() {
    let service = Server::new(&[BUCKET]);
    let sandbox = Sandbox::new();
    let keys = "[aws]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hunter2\n";
    let vendor = format!("[acme]\ns3_bucket = {BUCKET}\ns3_path_style = yes\n");
    sandbox.write("raas.cfg", format!("{keys}{vendor}"));
    let path = sandbox.write("app.tar", layout(1, 1000));
    let with = |name: &str, arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env(name, service.url());
        command
    };
    for (name, push) in [("AWS_ENDPOINT_URL", "setup acme"), ("AWS_ENDPOINT_URL_S3", "push acme app --from")]
    {
        let mut arguments: Vec<&str> = push.split(' ').collect();
        arguments.extend(push.ends_with("--from").then_some(&*path));
        crate::sandbox::succeeded(&with(name, &arguments).output().unwrap());
    }
    let serve = ["serve", "--listen", "127.0.0.1:0", "--from-config"];
    let server = crate::sandbox::Server::started(with("AWS_ENDPOINT_URL", &serve));
    let client = Client::new(server.address);
    crate::serve::wait_for("the manifest", || client.get("/v2/app/manifests/1.0").status == 200);
    let manifest = client.get("/v2/app/manifests/1.0").json();
    let blob = client.get(&format!("/v2/app/blobs/{}", manifest["config"]["digest"].as_str().unwrap()));
    assert!(
        blob.headers["location"].starts_with(&format!("{}/{BUCKET}/", service.url())),
        "{:?}",
        blob.headers
    );
    // Without the variable the bucket is one of AWS.
    let said = sandbox.fails(2, &["push", "acme", "app", "--from", &path]);
    assert!(said.contains("of AWS") && said.contains(&service.url()), "{said}");
}

#[test]
fn an_endpoint_that_only_the_profile_names_is_refused() {
    let service = Server::new(&[BUCKET]);
    let profile = format!("[default]\nendpoint_url = {}\n", service.url());
    let services =
        format!("[default]\nservices = local\n[services local]\ns3 =\n  endpoint_url = {}\n", service.url());
    for profile in [profile, services] {
        let sandbox = Sandbox::new();
        let keys = "[aws]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hunter2\n";
        sandbox.write("raas.cfg", format!("{keys}[acme]\ns3_bucket = {BUCKET}\ns3_path_style = yes\n"));
        let file = sandbox.write("profile", profile);
        let output = sandbox.command(&["setup", "acme"]).env("AWS_CONFIG_FILE", file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&service.url()) && said.contains("set `s3_endpoint`"), "{said}");
    }
}

#[test]
fn protected_images_are_never_behind_open_access() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let path = sandbox.write("app.tar", layout(3, 1000));
    for name in ["app", "secret"] {
        sandbox.ok(&["push", "acme", name, "--from", &path]);
    }
    let private = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    let document = sandbox.home().join("acme/checkout/crane/data/secret.json");
    let text = fs::read_to_string(&document).unwrap();
    fs::write(&document, text.replace("\"protected\": false", "\"protected\": true")).unwrap();
    let open = ["access = public\n", "access = cdn\ncdn_url = https://cdn.example.com\n"];
    for access in open {
        sandbox.write("raas.cfg", format!("{private}{access}"));
        server.forget();
        for arguments in [
            &["config", "check"][..],
            &["setup", "acme"],
            &["setup", "acme", "--create"],
            &["push", "acme", "app", "--from", &path],
            &["push", "acme", "other", "--from", &path],
        ] {
            let failure = sandbox.fails(2, arguments);
            assert!(failure.contains("lets everybody read the manifests and layers"), "{failure}");
            assert!(
                failure.contains("repositories: secret\n") && failure.contains("hint: set "),
                "{failure}"
            );
        }
        assert!(server.asked().is_empty(), "nothing was stored: {:?}", server.asked());
        let status: Value =
            serde_json::from_slice(&sandbox.run(&["status", "acme", "--json"]).stdout).unwrap();
        assert_eq!(check(&status, "protected")["outcome"], "failed", "{status:#}");
    }
    // A CDN that checks tokens, and access through the server, open nothing.
    for access in [&format!("{}cdn_akamai_secret = 0a\n", open[1]), "access = proxy\n"] {
        sandbox.write("raas.cfg", format!("{private}{access}"));
        sandbox.ok(&["config", "check"]);
    }
}

#[test]
fn metadata_that_everybody_may_read_is_a_failed_check_with_the_repair() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "access = public\n");
    sandbox.ok(&["setup", "acme", "--create"]);
    let policy = server.setting(BUCKET, "policy").unwrap();
    assert!(!policy.contains("_metadata") && !policy.contains("_record"), "{policy}");
    let storage = || {
        let status: Value =
            serde_json::from_slice(&sandbox.run(&["status", "acme", "--json"]).stdout).unwrap();
        check(&status, "storage").clone()
    };
    assert_eq!(storage()["outcome"], "ok");
    // The policy of an older raas.
    let ancestry = "arn:aws:s3:::acme-images/reg/*/ancestry";
    let older = policy
        .replace(ancestry, &format!("{ancestry}\",\"{}", ancestry.replace("*/ancestry", "_metadata/*")));
    assert_ne!(older, policy);
    server.set(BUCKET, "policy", &older);
    let failed = storage();
    assert_eq!(failed["outcome"], "failed");
    assert!(failed["fix"].as_str().unwrap().contains("raas setup acme --create"), "{failed}");
    sandbox.ok(&["setup", "acme", "--create"]);
    assert_eq!(storage()["outcome"], "ok");
    assert_eq!(server.setting(BUCKET, "policy").unwrap(), policy);
}

#[test]
fn a_home_server_serves_at_once_although_buckets_do_not_answer() {
    let service = Server::new(&[BUCKET]);
    let sandbox = sandbox(&service, "\n[folder]\n");
    let path = sandbox.write("app.tar", layout(1, 1000));
    for vendor in ["acme", "folder"] {
        sandbox.ok(&["push", vendor, "app", "--from", &path]);
    }
    service.fail(Fault::always("*", What::Slow(Duration::from_secs(600))));
    let begun = Instant::now();
    let server = sandbox.serve(&["acme", "folder"]);
    for vendor in ["acme", "folder"] {
        let answer = Client::of(server.address, &format!("{vendor}.localhost")).get("/v2/app/manifests/1.0");
        assert_eq!(answer.status, 200, "{vendor}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(server.stop(), Some(0));
    service.behave();
    service.wait_until_alone();
}
