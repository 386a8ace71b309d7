//! Images that are kept like their sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use raas_testkit::http::Reply;
use raas_testkit::oci::Layout;
use raas_testkit::pulp3::Pulp;
use raas_testkit::registry::{Registry, error};
use raas_types::Descriptor;
use serde_json::{Value, json};

use crate::sandbox::Sandbox;

/// A registry with an image under each of these tags.
fn filled(registry: &Registry, layout: &mut Layout, tags: &[&str]) -> Vec<Descriptor> {
    let images: Vec<Descriptor> = tags.iter().map(|tag| layout.simple_image(tag)).collect();
    registry.fill(layout);
    tags.iter().zip(&images).for_each(|(tag, image)| registry.tag(tag, &image.digest));
    images
}

fn configure(sandbox: &Sandbox, rules: &[(&str, String)]) {
    let rules = rules.iter().map(|(image, value)| format!("sync.{image} = {value}\n"));
    sandbox.write("raas.cfg", format!("[acme]\n{}", rules.collect::<String>()));
}

/// The report of a run with this exit code.
fn sync(sandbox: &Sandbox, code: i32, arguments: &[&str]) -> Value {
    let output = sandbox.run(&[&["sync", "--json"], arguments].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"))
}

#[test]
fn what_is_new_or_moved_is_published_and_nothing_else_is_fetched() {
    let sandbox = Sandbox::new();
    let registry = Registry::new("team/app");
    let mut layout = Layout::new();
    let images = filled(&registry, &mut layout, &["1.0", "1.1", "2.0-rc1"]);
    configure(&sandbox, &[("app", format!("{}\n    tags = !*-rc*", registry.address()))]);

    let foreseen = sync(&sandbox, 0, &["--dry-run"]);
    assert_eq!(foreseen["repositories"][0]["changed_tags"], json!(["1.0", "1.1"]));
    assert_eq!(sandbox.commits("acme"), 0);
    let report = sync(&sandbox, 0, &["acme", "app"]);
    assert_eq!(report["repositories"][0]["outcome"], json!("changed"));
    assert_eq!(sandbox.commits("acme"), 1);

    // Nothing new: the list and one HEAD for each tag.
    drop(registry.take_log());
    let report = sync(&sandbox, 0, &[]);
    assert_eq!(report["repositories"][0]["outcome"], json!("unchanged"));
    assert_eq!(report["repositories"][0]["requests"], json!(3));
    let log = registry.take_log();
    assert_eq!(
        log.iter().filter(|line| line.starts_with("HEAD /v2/team/app/manifests/")).count(),
        2,
        "{log:?}"
    );
    assert_eq!(log.len(), 3);

    // A tag moves, and another is signed.
    let newer = layout.simple_image("newer");
    let signature = layout.cosign_signature(&images[1]);
    registry.fill(&layout);
    registry.tag("1.0", &newer.digest);
    registry.tag(&format!("sha256-{}.sig", images[1].digest.hex()), &signature.digest);
    let report = sync(&sandbox, 0, &[]);
    assert_eq!(report["repositories"][0]["changed_tags"], json!(["1.0", "1.1"]));
    assert_eq!(sandbox.commits("acme"), 2);
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["outcome"], json!("unchanged"));
}

#[test]
fn a_thousand_unchanged_tags_cost_a_question_each() {
    const TAGS: usize = 1000;
    let sandbox = Sandbox::new();
    let registry = Registry::new("team/app");
    let mut layout = Layout::new();
    let images: Vec<Descriptor> = (0..50).map(|n| layout.simple_image(&format!("{n}"))).collect();
    registry.fill(&layout);
    for n in 0..TAGS {
        registry.tag(&format!("1.{n}"), &images[n % images.len()].digest);
    }
    configure(&sandbox, &[("app", registry.address())]);
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["changed_tags"].as_array().unwrap().len(), TAGS);

    drop(registry.take_log());
    let bodies = Arc::new(AtomicUsize::new(0));
    let sent = bodies.clone();
    registry.change(move |asked, _, reply| {
        let is_sent = asked.target.contains("/manifests/") && reply.status != 304;
        sent.fetch_add(usize::from(is_sent), Ordering::SeqCst);
        reply
    });
    let report = sync(&sandbox, 0, &[]);
    assert_eq!(report["repositories"][0]["outcome"], json!("unchanged"));
    let log = registry.take_log();
    assert_eq!(report["repositories"][0]["requests"], json!(log.len()));
    assert!(log.len() <= TAGS + 10, "{}", log.len());
    // The condition spares the registry the reading of the manifest.
    assert_eq!(bodies.load(Ordering::SeqCst), 0);
}

#[test]
fn tags_are_removed_only_as_far_as_prune_allows() {
    let sandbox = Sandbox::new();
    let (registry, all) = (Registry::new("app"), Registry::new("app"));
    let mut layout = Layout::new();
    filled(&all, &mut layout, &["1", "2", "3", "4"]);
    sandbox.ok(&["push", "acme", "app", "--from", &all.address()]);
    let images = filled(&registry, &mut Layout::new(), &["1", "2"]);
    drop(images);
    configure(&sandbox, &[("app", format!("{}\n    prune = 1", registry.address()))]);
    let report = sync(&sandbox, 1, &[]);
    let error = report["repositories"][0]["error"]["message"].as_str().unwrap();
    assert!(error.contains("2 published tags are none of the wanted tags of docker://"), "{error}");
    assert!(error.contains("and `prune` allows to remove 1: 3, 4"), "{error}");
    assert_eq!(sandbox.commits("acme"), 1);
    let report = sync(&sandbox, 0, &["--force"]);
    assert_eq!(report["repositories"][0]["removed_tags"], json!(["3", "4"]));
    assert_eq!(sandbox.commits("acme"), 2);
    // A source without any wanted tag removes nothing, whatever is forced.
    registry.change(|_, _, _| Reply::new(200, r#"{"tags":[]}"#));
    let report = sync(&sandbox, 1, &["--force"]);
    assert!(report["repositories"][0]["error"]["message"].as_str().unwrap().contains("none of the tags"));
    assert_eq!(sandbox.commits("acme"), 2);
}

#[test]
fn a_failure_of_one_image_does_not_stop_the_others() {
    let sandbox = Sandbox::new();
    let (bad, good) = (Registry::new("bad"), Registry::new("good"));
    filled(&good, &mut Layout::new(), &["1"]);
    bad.change(|_, _, _| error(403, "DENIED"));
    configure(&sandbox, &[("bad", bad.address()), ("good", good.address())]);
    let metrics = sandbox.path("raas.prom");
    let report = sync(&sandbox, 1, &["--metrics", metrics.to_str().unwrap()]);
    assert_eq!(report["repositories"][0]["outcome"], json!("failed"));
    assert!(report["repositories"][0]["error"]["message"].as_str().unwrap().contains("DENIED"));
    assert_eq!(report["repositories"][1]["outcome"], json!("changed"));
    let metrics = std::fs::read_to_string(metrics).unwrap();
    assert!(metrics.contains("raas_sync_failed{isv=\"acme\",image=\"bad\"} 1\n"), "{metrics}");
    assert!(metrics.contains("raas_sync_failed{isv=\"acme\",image=\"good\"} 0\n"), "{metrics}");
}

#[test]
fn two_runs_at_once_and_runs_without_a_rule_are_refused() {
    let sandbox = Sandbox::new();
    assert!(sandbox.fails(2, &["sync"]).contains("no section of the configuration has a `sync.IMAGE`"));
    configure(&sandbox, &[("app", "docker://x.invalid/app".into())]);
    assert!(sandbox.fails(2, &["sync", "acme", "other"]).contains("has no `sync.other`"));
    std::fs::create_dir_all(sandbox.home()).unwrap();
    let lock = std::fs::File::create(sandbox.home().join("_sync")).unwrap();
    lock.lock().unwrap();
    assert!(sandbox.fails(4, &["sync"]).contains("another `raas sync`"));
    sandbox.write("raas.cfg", "[acme]\nsync.app = docker://u:hunter2@x.org/app\n");
    let error = sandbox.fails(2, &["sync"]);
    assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
}

#[test]
fn chosen_platforms_are_unchanged_until_their_source_moves() {
    let sandbox = Sandbox::new();
    let registry = Registry::new("app");
    let mut layout = Layout::new();
    let (amd64, arm64) = (layout.simple_image("amd64"), layout.simple_image("arm64"));
    let index = layout.index(&[amd64.clone(), arm64]);
    registry.fill(&layout);
    registry.tag("1", &index.digest);
    configure(&sandbox, &[("app", format!("{}\n    platforms = linux/amd64", registry.address()))]);
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["changed_tags"], json!(["1"]));
    let listed = sandbox.json(&[
        "push",
        "acme",
        "app",
        "--from",
        &registry.address(),
        "--platform",
        "linux/amd64",
        "--json",
    ]);
    assert_eq!(listed["changed"], json!(false));
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["outcome"], json!("unchanged"));
    // The note is of these platforms only, and a lost note costs a run that changes nothing.
    std::fs::remove_file(sandbox.home().join("acme/sync.json")).unwrap();
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["changed_tags"], json!(["1"]));
    assert_eq!(sandbox.commits("acme"), 1);
    let newer = layout.simple_image("newer");
    let index = layout.index(&[amd64, newer]);
    registry.fill(&layout);
    registry.tag("1", &index.digest);
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["changed_tags"], json!(["1"]));
    configure(
        &sandbox,
        &[("app", format!("{}\n    platforms = linux/amd64, linux/arm64", registry.address()))],
    );
    // Another choice is a change. No image is for linux/arm64, and a dry run fails as the run would.
    assert_eq!(sync(&sandbox, 1, &["--dry-run"])["repositories"][0]["changed_tags"], json!(["1"]));
}

#[test]
fn attachments_come_along_as_the_rule_says() {
    let registry = Registry::new("app");
    let mut layout = Layout::new();
    let image = filled(&registry, &mut layout, &["1"]).remove(0);
    let signature = layout.cosign_signature(&image);
    registry.fill(&layout);
    let signature_tag = format!("sha256-{}.sig", image.digest.hex());
    registry.tag(&signature_tag, &signature.digest);
    let tags = |sandbox: &Sandbox| {
        let document = std::fs::read(sandbox.home().join("acme/checkout/crane/data/app.json")).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        document["raas"]["tags"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("app", format!("{}\n    digest_tags = no", registry.address()))]);
    sync(&sandbox, 0, &[]);
    assert_eq!(tags(&sandbox), ["1"]);
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["outcome"], json!("unchanged"));
    configure(&sandbox, &[("app", registry.address())]);
    sync(&sandbox, 0, &[]);
    assert_eq!(tags(&sandbox), ["1", signature_tag.as_str()]);

    // A new attachment in the list of referrers is a change only if the rule says so.
    registry.attach(&image.digest, &[]);
    let attached = layout.artifact(&image, "application/vnd.example.sbom", b"sbom");
    registry.fill(&layout);
    registry.attach(&image.digest, &[attached]);
    let report = sync(&sandbox, 0, &[]);
    assert_eq!(report["repositories"][0]["outcome"], json!("unchanged"), "{report}");
    configure(&sandbox, &[("app", format!("{}\n    referrers = compare", registry.address()))]);
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["changed_tags"], json!(["1"]));
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["outcome"], json!("unchanged"));
}

#[test]
fn status_compares_an_image_with_its_source() {
    let sandbox = Sandbox::new();
    let pulp = Pulp::new("acme/app");
    let mut layout = Layout::new();
    let images = filled(&pulp.registry, &mut layout, &["1", "2"]);
    sandbox.write("raas.cfg", format!("{}\n[acme]\nsync.app = pulp\n", pulp.section()));
    assert_eq!(sync(&sandbox, 0, &[])["repositories"][0]["outcome"], json!("changed"));
    let _server = sandbox.serve(&["acme"]);
    let check = |code: i32, arguments: &[&str]| {
        let output = sandbox.run(&[&["status", "acme", "app", "--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["vendors"][0]["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["name"] == "source")
            .unwrap()
            .clone()
    };
    let healthy = check(0, &["--pulp"]);
    assert_eq!(healthy["outcome"], json!("ok"), "{healthy}");
    pulp.registry.tag("1", &images[1].digest);
    pulp.registry.tag("3", &images[1].digest);
    for arguments in [vec!["--pulp".to_owned()], vec!["--source".into(), pulp.registry.address()]] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let different = check(1, &arguments);
        let details = different["details"].to_string();
        assert!(details.contains("tag 1: sha256") && details.contains("tag 3: sha256"), "{details}");
        assert!(!details.contains("tag 2"), "{details}");
    }
    pulp.set(|facts| facts.base_path = "elsewhere".into());
    let gone = check(1, &["--pulp"]);
    assert!(gone["found"].as_str().unwrap().contains("no distribution with the base path"), "{gone}");
}
