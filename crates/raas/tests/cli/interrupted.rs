//! Pushes that are killed at random moments.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use raas_testkit::docker_save::{self, LayerPlaces, Saved};
use raas_testkit::layers::{layer, noise};
use raas_testkit::pulp2::Export;

use crate::client::Client;
use crate::sandbox::Sandbox;

fn archive(seed: u64) -> Vec<u8> {
    let layers: Vec<Vec<u8>> = (0..6).map(|n| layer(&[("noise", &noise(seed * 100 + n, 60_000))])).collect();
    docker_save::newer(&[Saved { names: &["app:latest", "app:1"], layers: &layers }], LayerPlaces::Folders)
        .tar()
}

#[test]
fn after_a_kill_the_publication_is_whole_and_the_next_push_completes() {
    let sandbox = Sandbox::new();
    let old = sandbox.write("old.tar", archive(1));
    let begun = Instant::now();
    sandbox.ok(&["push", "acme", "app", "--from", &old]);
    let whole = begun.elapsed();
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let points = 24;
    let mut killed = 0;
    for point in 0..points {
        // Each push has a new image, so that it has to store everything.
        let new = sandbox.write("new.tar", archive(10 + point));
        let before = client.pull("app", "latest");
        let mut command = sandbox.command(&["push", "acme", "app", "--from", &new]);
        let mut push = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(whole.mul_f64((point as f64 + 0.5) / points as f64));
        push.kill().unwrap();
        killed += u32::from(push.wait().unwrap().code().is_none());
        let after = client.pull("app", "latest");
        assert_eq!(after["linux/amd64"].layers.len(), 6);
        client.pull("app", "1");
        let report = sandbox.json(&["push", "acme", "app", "--from", &new, "--json"]);
        assert_eq!(report["served"], true);
        assert_ne!(client.pull("app", "latest"), before);
    }
    assert!(killed > points as u32 / 4, "the kills came too late to show anything: {killed}");
    let left: Vec<String> = sandbox
        .files(".")
        .into_iter()
        .filter(|name| {
            ["_uploads/", "tmp_", ".new", "unfinished", ".lock"].iter().any(|mark| name.contains(mark))
        })
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let status = sandbox.json(&["status", "acme", "--json"]);
    assert_eq!(status["healthy"], true, "{status:#}");
}

#[test]
fn the_next_server_serves_a_publication_whose_push_was_killed_after_its_commit() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    // The state after a kill between the commit and the checkout.
    let checkout = sandbox.home().join("acme/checkout");
    let bucket = sandbox.files("acme/bucket");
    let named_by_tag = ["manifests/2/latest", "tags/list"];
    for name in named_by_tag {
        std::fs::remove_file(sandbox.home().join("acme/bucket/app/_v2").join(name)).unwrap();
    }
    std::fs::remove_dir_all(&checkout).unwrap();
    std::fs::create_dir(&checkout).unwrap();
    let status = sandbox.run(&["status", "acme", "--json"]);
    assert_eq!(status.status.code(), Some(1));
    let server = sandbox.serve(&[]);
    let begun = Instant::now();
    let client = Client::new(server.address);
    while client.tags("app").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(20));
    }
    client.pull("app", "latest");
    // The snapshot in the bucket is completed too.
    assert_eq!(sandbox.files("acme/bucket"), bucket);
}

#[test]
fn the_next_push_of_any_image_finishes_what_a_killed_push_left() {
    let sandbox = Sandbox::new();
    let [app, other] = ["app", "other"].map(|name| sandbox.write(name, Export::chain(name, 2).tar()));
    sandbox.ok(&["push", "acme", "app", "--from", &app]);
    let bucket = sandbox.files("acme/bucket");
    std::fs::remove_file(sandbox.home().join("acme/bucket/app/_v2/tags/list")).unwrap();
    std::fs::remove_file(sandbox.home().join("acme/checkout/revision")).unwrap();
    sandbox.ok(&["push", "acme", "other", "--from", &other]);
    let now = sandbox.files("acme/bucket");
    assert!(bucket.iter().all(|key| now.contains(key)), "{now:?}");
}

#[test]
fn locks_of_a_killed_git_block_nobody() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let record = sandbox.home().join("acme/metadata.git");
    for name in ["HEAD.lock", "config.lock", "packed-refs.lock", "refs/heads/main.lock"] {
        std::fs::write(record.join(name), "").unwrap();
    }
    let other = sandbox.write("other.tar", Export::chain("other", 2).tar());
    sandbox.ok(&["push", "acme", "other", "--from", &other]);
    assert_eq!(sandbox.commits("acme"), 2);
}
