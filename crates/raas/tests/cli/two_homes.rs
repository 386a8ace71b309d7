//! Operators on several machines who publish to the same bucket.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use raas_testkit::docker_save::{self, LayerPlaces, Saved};
use raas_testkit::layers::{layer, noise};
use raas_testkit::s3::{Fault, Server, What};
use rustix::process::Signal;
use serde_json::Value;

use crate::choosing::whole_and_incremental;
use crate::s3::{BUCKET, assert_stored, layout, sandbox};
use crate::sandbox::{Sandbox, send, succeeded};

fn two_homes() -> (Server, Sandbox, Sandbox) {
    let server = Server::new(&[BUCKET]);
    let (one, two) = (sandbox(&server, ""), sandbox(&server, ""));
    (server, one, two)
}

/// Publishes `one:1.0`.
fn publish_one(home: &Sandbox) {
    let path = home.write("app.tar", layout(1, 1000));
    home.ok(&["push", "acme", "one", "--from", &path]);
}

/// Two homes. The first has published `app:1`. Also returns its next source.
fn an_image_and_its_next() -> (Server, Sandbox, Sandbox, String) {
    let (server, one, two) = two_homes();
    let [first, second] = [1, 2].map(|seed| one.write(&format!("{seed}.tar"), saved(seed, "app:1")));
    one.ok(&["push", "acme", "app", "--from", &first]);
    two.ok(&["setup", "acme"]);
    (server, one, two, second)
}

/// An image with this tag only.
fn saved(seed: u64, name: &str) -> Vec<u8> {
    let layers = [layer(&[("a", &noise(seed, 500))])];
    docker_save::newer(&[Saved { names: &[name], layers: &layers }], LayerPlaces::Folders).tar()
}

/// The published tags, as `image:tag`.
fn published(home: &Sandbox) -> BTreeSet<String> {
    let listing = home.json(&["list", "acme", "--json"]);
    let repositories = listing["vendors"][0]["repositories"].as_array().unwrap();
    let tags = |repository: &Value| {
        let name = repository["repository"].as_str().unwrap().to_owned();
        let tags = repository["tags"].as_array().unwrap().iter();
        tags.map(|tag| format!("{name}:{}", tag["tag"].as_str().unwrap())).collect::<Vec<_>>()
    };
    repositories.iter().flat_map(tags).collect()
}

#[test]
fn each_home_publishes_on_top_of_the_others_publications() {
    let (server, one, two) = two_homes();
    publish_one(&one);
    // A new home takes in the earlier publications.
    two.ok(&["setup", "acme"]);
    assert_eq!(
        two.json(&["log", "acme", "--json"])["publications"].clone(),
        one.json(&["log", "acme", "--json"])["publications"].clone()
    );
    let path = two.write("app.tar", layout(1, 1000));
    server.forget();
    let report = two.json(&["push", "acme", "one", "--json", "--from", &path]);
    assert_eq!((&report["changed"], &report["stored"]["objects"]), (&false.into(), &0.into()));
    let path = two.write("two.tar", layout(2, 1000));
    two.ok(&["push", "acme", "two", "--from", &path]);
    assert_eq!(published(&one), ["one:1.0", "two:1.0"].map(String::from).into());
    // A home can roll back a publication of the other home. Its content is no garbage.
    let path = two.write("three.tar", layout(3, 1000));
    two.ok(&["push", "acme", "one", "--from", &path]);
    one.ok(&["rollback", "acme", "one"]);
    one.ok(&["gc", "acme", "--yes", "--keep-days", "0", "--grace-hours", "0"]);
    two.ok(&["unpublish", "acme", "two"]);
    assert_eq!(published(&one), ["one:1.0".to_owned()].into());
    assert_stored(&one);
    assert_stored(&two);
    let log = |home: &Sandbox| home.json(&["log", "acme", "--json"])["publications"].clone();
    assert_eq!((log(&one), log(&two).as_array().unwrap().len()), (log(&two), 5));
    assert!(server.keys(BUCKET).iter().all(|key| !key.contains("_turns")));
}

#[test]
fn concurrent_homes_lose_nothing() {
    let server = Server::new(&[BUCKET]);
    let homes: Vec<Sandbox> = (0..4).map(|_| sandbox(&server, "")).collect();
    let mut running = Vec::new();
    let mut expected = BTreeSet::new();
    for (n, home) in homes.iter().enumerate() {
        // Each home pushes a tag of a common image, and an image of its own.
        for (image, tag) in [("shared".to_owned(), format!("{n}")), (format!("own{n}"), "1".to_owned())] {
            let name = format!("{image}:{tag}");
            let path = home.write(&format!("{image}.tar"), saved(n as u64, &name));
            let mut command = home.command(&["push", "acme", &image, "--from", &path]);
            running.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
            expected.insert(name);
        }
    }
    for child in running {
        succeeded(&child.wait_with_output().unwrap());
    }
    for home in &homes {
        assert_eq!(published(home), expected);
    }
    assert_stored(&homes[0]);
    assert_eq!(
        homes[0].json(&["log", "acme", "--json"])["publications"].clone().as_array().unwrap().len(),
        8
    );
}

#[test]
fn a_publication_that_never_reached_the_bucket_is_set_aside_and_reported() {
    let (server, one, two) = two_homes();
    publish_one(&one);
    two.ok(&["setup", "acme"]);
    // The service refuses the first object after the commit.
    let lost = one.write("lost.tar", layout(2, 1000));
    let keys_before_commit = 4 + 1;
    server.fail(Fault {
        after: keys_before_commit,
        ..Fault::always("PutObject", What::Refuse(403, "AccessDenied"))
    });
    one.fails(4, &["push", "acme", "lost", "--from", &lost]);
    server.behave();
    assert_eq!(one.commits("acme"), 2, "the record has the commit");
    // The lease was left behind, as after a kill. No other home has published since, so the same home continues.
    let path = two.write("two.tar", layout(3, 1000));
    two.ok(&["push", "acme", "two", "--from", &path]);
    let output = one.run(&["push", "acme", "lost", "--from", &lost]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    succeeded(&output);
    assert!(
        said.contains("s3://acme-images/reg does not have commit") && said.contains("refs/raas/aside/"),
        "{said}"
    );
    let all = ["lost:1.0", "one:1.0", "two:1.0"].map(String::from);
    assert_eq!((published(&one), published(&two)), (all.clone().into(), all.into()));
}

/// Programs that read the bucket directly find the published manifest under a tag, not one that is not published yet.
#[test]
fn the_next_home_repairs_half_stored_tags() {
    let (server, one, two, second) = an_image_and_its_next();
    let of_tag = || server.object(BUCKET, "reg/app/_v2/manifests/2/1").unwrap();
    let published = of_tag();
    // The service accepts the layer, the config, the lease, the manifest by its digest and by its tag, and nothing after.
    let fault = Fault { after: 5, ..Fault::always("PutObject", What::Refuse(403, "AccessDenied")) };
    server.fail(fault);
    one.fails(4, &["push", "acme", "app", "--from", &second]);
    server.behave();
    assert_ne!(of_tag(), published);
    assert!(
        server.keys(BUCKET).iter().any(|key| key.contains("_turns/")),
        "the lease remains for other homes to reclaim"
    );
    server.age_objects("_turns/", Duration::from_secs(600));
    let path = two.write("two.tar", layout(3, 1000));
    two.ok(&["push", "acme", "two", "--from", &path]);
    assert_eq!(of_tag(), published);
    one.ok(&["push", "acme", "app", "--from", &second]);
    assert_ne!(of_tag(), published);
    assert_stored(&one);
}

#[test]
fn a_failed_first_publication_blocks_nobody() {
    let (server, one, two) = two_homes();
    let first = one.write("first.tar", saved(1, "first:1"));
    // The commit is made, but its history does not reach the bucket.
    server.fail(Fault { key: "_record/", ..Fault::always("PutObject", What::Refuse(403, "AccessDenied")) });
    one.fails(4, &["push", "acme", "first", "--from", &first]);
    server.behave();
    assert_eq!(one.commits("acme"), 1);
    server.age_objects("_turns/", Duration::from_secs(600));
    let second = two.write("second.tar", saved(2, "second:1"));
    two.ok(&["push", "acme", "second", "--from", &second]);
    one.ok(&["push", "acme", "first", "--from", &first]);
    let all: BTreeSet<String> = ["first:1", "second:1"].map(String::from).into();
    assert_eq!((published(&one), published(&two)), (all.clone(), all));
    assert_stored(&one);
}

#[test]
fn an_interrupted_run_releases_its_lease_for_the_next_home() {
    let (server, one, two, second) = an_image_and_its_next();
    let of_tag = || server.object(BUCKET, "reg/app/_v2/manifests/2/1").unwrap();
    let published = of_tag();
    // The service delays the request after the manifest of the tag.
    server.fail(Fault { after: 5, ..Fault::always("PutObject", What::Slow(Duration::from_secs(5))) });
    let mut command = one.command(&["push", "acme", "app", "--from", &second]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while of_tag() == published {
        assert!(begun.elapsed() < Duration::from_secs(20), "the push does not reach the delayed request");
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(50));
    server.behave();
    send(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let path = two.write("two.tar", layout(3, 1000));
    let begun = Instant::now();
    two.ok(&["push", "acme", "two", "--from", &path]);
    assert!(begun.elapsed() < Duration::from_secs(60), "the next home does not wait for a released lease");
    assert_eq!(of_tag(), published);
    assert!(server.keys(BUCKET).iter().all(|key| !key.contains("_turns/")));
}

#[test]
fn content_that_is_removed_before_the_commit_is_not_published() {
    let server = Server::new(&[BUCKET]);
    let home = sandbox(&server, "");
    let path = home.write("app.tar", saved(1, "app:1"));
    // The service delays the lease, which comes after the layer and the config.
    server.fail(Fault { after: 2, ..Fault::once("PutObject", What::Slow(Duration::from_secs(1))) });
    let mut command = home.command(&["push", "acme", "app", "--from", &path]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while server.count("PutObject") < 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the push does not reach the delayed request");
        thread::sleep(Duration::from_millis(5));
    }
    let blob = server.keys(BUCKET).into_iter().find(|key| key.contains("/blobs/")).unwrap();
    server.remove(BUCKET, &blob);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("is not in s3://acme-images/reg any more") && said.contains("raas gc"), "{said}");
    assert_eq!(home.commits("acme"), 0);
    home.ok(&["push", "acme", "app", "--from", &path]);
    assert_stored(&home);
}

#[test]
fn another_registry_in_the_bucket_is_left_unchanged() {
    let (server, one, two) = two_homes();
    publish_one(&one);
    // The other home has published to a folder before.
    let bucket = std::fs::read_to_string(two.path("raas.cfg")).unwrap();
    two.write("raas.cfg", "");
    let path = two.write("app.tar", layout(2, 1000));
    two.ok(&["push", "acme", "two", "--from", &path]);
    two.write("raas.cfg", bucket);
    assert!(two.fails(2, &["push", "acme", "two", "--from", &path]).contains("this command would use s3://"));
    // Somebody has told the home that the bucket is its storage.
    std::fs::copy(one.home().join("acme/storage.json"), two.home().join("acme/storage.json")).unwrap();
    let before = server.keys(BUCKET);
    for arguments in [
        &["push", "acme", "two", "--from", &path][..],
        &["gc", "acme", "--yes", "--keep-days", "0", "--grace-hours", "0"],
        &["unpublish", "acme", "two"],
        &["setup", "acme"],
    ] {
        let failure = two.fails(4, arguments);
        assert!(failure.contains("another registry") && failure.contains("hint: "), "{failure}");
    }
    assert_eq!(server.keys(BUCKET), before);
    // Commands that only read still show what the home knows.
    assert_eq!(published(&two), ["two:1.0".to_owned()].into());
}

#[test]
fn damaged_history_is_not_taken_in() {
    let (server, one, two) = two_homes();
    publish_one(&one);
    let pack = server.keys(BUCKET).into_iter().find(|key| key.contains("_record/")).unwrap();
    let good = server.object(BUCKET, &pack).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    server.put(BUCKET, &pack, &bad);
    assert!(two.fails(4, &["setup", "acme"]).contains("is damaged"));
    server.put(BUCKET, &pack, &good);
    two.ok(&["setup", "acme"]);
    let fsck = |home: &Sandbox| {
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(home.home().join("acme/metadata.git")).args(["fsck", "--strict"]);
        git.stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(fsck(&two));
}

#[test]
fn a_fresh_home_completes_an_incremental_export_from_what_another_home_has_published() {
    let (_server, one, two) = two_homes();
    let [full, incremental] = whole_and_incremental(&one);
    let push = ["push", "acme", "bigdata-app", "--repository", "bigdatainc/bigdata-app", "--from"];
    one.ok(&[&push[..], &[&full]].concat());
    let said = two.ok(&[&push[..], &[&incremental]].concat());
    assert!(said.contains("Nothing changed"), "{said}");
}

#[test]
fn a_home_opens_no_repository_that_another_home_has_protected() {
    let server = Server::new(&[BUCKET]);
    let one = sandbox(&server, "");
    let stale = sandbox(&server, "");
    stale.ok(&["setup", "acme", "--create"]);
    let path = one.write("app.tar", layout(1, 1000));
    one.ok(&["push", "acme", "secret", "--protected", "--from", &path]);
    let private = one.path("raas.cfg");
    let private = std::fs::read_to_string(private).unwrap();
    let policy = server.setting(BUCKET, "policy");
    for access in ["access = public\n", "access = cdn\ncdn_url = https://cdn.example.com\n"] {
        let fresh = sandbox(&server, access);
        stale.write("raas.cfg", format!("{private}{access}"));
        for home in [&fresh, &stale] {
            for arguments in [&["setup", "acme", "--create"][..], &["push", "acme", "other", "--from", &path]]
            {
                let failure = home.fails(2, arguments);
                assert!(failure.contains("lets everybody read the manifests and layers"), "{failure}");
                assert!(failure.contains("repositories: secret\n"), "{failure}");
            }
        }
    }
    assert_eq!(server.setting(BUCKET, "policy"), policy);
    assert_eq!(published(&one), ["secret:1.0"].map(String::from).into());
    // A push that makes a bucket opens it only if the bucket is new.
    let creating = sandbox(&server, "access = public\ncreate_bucket = yes\n");
    let failure = creating.fails(2, &["push", "acme", "other", "--from", &path]);
    assert!(failure.contains("repositories: secret\n"), "{failure}");
    assert_eq!(server.setting(BUCKET, "policy"), policy);
}
