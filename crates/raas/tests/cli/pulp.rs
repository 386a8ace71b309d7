//! Pulp servers beyond Pulp's registry: Pulp 2, exports on request, and uploads.

use std::path::PathBuf;

use raas_testkit::docker_save::{LayerPlaces, Saved, newer, newest, oldest};
use raas_testkit::fixtures;
use raas_testkit::layers::{layer, noise};
use raas_testkit::oci::Layout;
use raas_testkit::pulp2::{Export, id};
use raas_testkit::pulp2_server::{Pulp2Server, SERVED};
use raas_testkit::pulp3::Pulp;
use raas_types::Digest;
use serde_json::json;

use crate::client::Client;
use crate::sandbox::{Sandbox, digest_of};

/// A sandbox with a Pulp 2 server, and a repository `acme-app` on it.
fn with_pulp2() -> (Sandbox, Pulp2Server) {
    let sandbox = Sandbox::new();
    let server = Pulp2Server::new([("acme-app".to_owned(), Export::chain("acme-app", 2).tar())]);
    sandbox.write("raas.cfg", server.section());
    (sandbox, server)
}

#[test]
fn pulp_2_exports_an_image_and_its_tar_is_published() {
    let (sandbox, server) = with_pulp2();
    let output = sandbox.run(&["push", "acme", "app", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&crate::sandbox::succeeded(&output)).unwrap();
    assert_eq!(report["source_kind"], json!("pulp2"));
    assert!(digest_of(&report, "latest").is_string(), "{report}");
    let published = server.state().published.clone();
    assert_eq!(
        published,
        [
            json!({"id": "docker_export_distributor_name_cli", "override_config": {"export_file": format!("{SERVED}acme-app.tar")}})
        ]
    );
    // The progress, and where the server's own documents redirect to.
    let said = String::from_utf8(sandbox.run(&["push", "acme", "app"]).stderr).unwrap();
    assert!(said.contains("Pulp: the export of acme-app is running"), "{said}");
    assert!(said.contains("redirect to https://cdn.example.com/x/"), "{said}");
}

#[test]
fn a_name_with_a_slash_is_an_id_without_one() {
    let sandbox = Sandbox::new();
    let server = Pulp2Server::new([("acme-tools-app".to_owned(), Export::chain("x", 1).tar())]);
    sandbox.write("raas.cfg", server.section());
    sandbox.ok(&["push", "acme", "tools/app"]);
    sandbox.write("raas.cfg", format!("{}base_path = {{isv}}/{{image}}\n", server.section()));
    assert!(
        sandbox
            .fails(2, &["push", "acme", "tools/app"])
            .contains("every `base_path` of [pulpserver] has a slash")
    );
}

#[test]
fn a_pulp_2_server_that_cannot_be_used_says_what_to_do() {
    let (sandbox, server) = with_pulp2();
    let fails = |code: i32| sandbox.fails(code, &["push", "acme", "app"]);
    let with = |change: &dyn Fn(&mut raas_testkit::pulp2_server::State)| change(&mut server.state());

    with(&|state| state.failure = Some("disk is full".into()));
    let failure = fails(4);
    assert!(
        failure.contains("the export of acme-app failed") && failure.contains("PLP0000 disk is full"),
        "{failure}"
    );
    with(&|state| state.failure = None);

    with(&|state| state.has_worker = false);
    let failure = fails(4);
    assert!(failure.contains("has no worker") && failure.contains("raas has canceled it"), "{failure}");
    assert_eq!(server.state().canceled.len(), 1);
    with(&|state| state.has_worker = true);

    sandbox.write("raas.cfg", format!("{}export_path = /srv/elsewhere\n", server.section()));
    let failure = fails(4);
    assert!(failure.contains("is still the file of an earlier export"), "{failure}");
    with(&|state| state.files.clear());
    let failure = fails(4);
    assert!(failure.contains("/srv/elsewhere/acme-app.tar") && failure.contains("export_url"), "{failure}");

    sandbox.write("raas.cfg", server.section().replace("pw", "hunter2"));
    let failure = fails(2);
    assert!(failure.contains("does not accept the login") && !failure.contains("hunter2"), "{failure}");
    sandbox.write("raas.cfg", server.section());

    with(&|state| state.without_distributors = vec!["docker_distributor_export".into()]);
    assert!(fails(3).contains("no distributor of the type docker_distributor_export"));
    with(&|state| drop(state.types.insert("acme-app".into(), "rpm-repo".into())));
    assert!(fails(3).contains("its type is rpm-repo"));
    with(&|state| state.exports.clear());
    let failure = fails(3);
    assert!(
        failure.contains("no repository `acme-app`") && failure.contains("raas pulp-upload acme FILE"),
        "{failure}"
    );

    // Without digests there is nothing to compare.
    with(&|state| drop(state.exports.insert("acme-app".into(), Vec::new())));
    with(&|state| state.types.clear());
    sandbox.write("raas.cfg", format!("{}[acme]\nsync.app = pulp\n", server.section()));
    assert!(sandbox.fails(1, &["sync"]).contains("is a Pulp 2 server"));
    assert_eq!(sandbox.commits("acme"), 0);
}

#[test]
fn an_archive_is_uploaded_to_pulp_2_in_parts_without_masked_ancestors() {
    let sandbox = Sandbox::new();
    let server = Pulp2Server::new([]);
    let layers = [
        layer(&[("base", b"base")]),
        layer(&[("middle", b"middle")]),
        layer(&[("top", &noise(1, 2_500_000))]),
    ];
    let tar = oldest(&[Saved { names: &["acme/app:1.0"], layers: &layers }]).tar();
    let file = sandbox.write("app.tar", &tar);
    let base = id(&format!("base {}", Digest::of(&layers[0]).hex()));
    let middle = id(&format!("{base} {}", Digest::of(&layers[1]).hex()));
    sandbox.write("raas.cfg", format!("[redhat]\nmask_layers = {base} {middle}\n{}", server.section()));
    let report = sandbox.json(&["pulp-upload", "acme", &file, "--json"]);
    assert_eq!((&report["pulp_repository"], &report["existed"]), (&json!("acme-app"), &json!(false)));
    assert_eq!(report["masked_image"], json!(middle));
    let state = server.state();
    assert_eq!(state.made[0]["notes"]["_repo-type"], json!("docker-repo"));
    let (import, bytes) = &state.imports[0];
    assert_eq!(*bytes, tar);
    assert_eq!(import["override_config"], json!({"mask_id": middle}));
    assert_eq!(import["unit_type_id"], json!("docker_image"));
    assert_eq!(state.published, [json!({"id": "docker_web_distributor_name_cli", "override_config": {}})]);
    let parts = state.log.iter().filter(|line| line.starts_with("PUT ")).count();
    assert_eq!(parts, tar.len().div_ceil(1024 * 1024));
    assert!(state.uploads.is_empty(), "the upload is removed at the end");
}

#[test]
fn pulp_2_takes_only_archives_with_docker_v1_images() {
    let (sandbox, server) = with_pulp2();
    let layers = [layer(&[("a", b"a")])];
    let saved = [Saved { names: &["acme/app:1.0"], layers: &layers }];
    let file = sandbox.write("app.tar", newest(&saved).tar());
    let failure = sandbox.fails(3, &["pulp-upload", "acme", &file]);
    assert!(
        failure.contains("has no Docker v1 images") && failure.contains("before version 25"),
        "{failure}"
    );
    assert!(server.state().uploads.is_empty() && server.state().imports.is_empty());
}

#[test]
fn an_archive_is_uploaded_to_the_registry_of_pulp_3() {
    let layers = [layer(&[("base", b"base")]), layer(&[("top", &noise(2, 5_000_000))])];
    let saved =
        [Saved { names: &["x.org:5000/acme/app:1.0", "x.org:5000/acme/app:latest"], layers: &layers }];
    let archives: [(&str, Vec<u8>); 3] = [
        ("newest", newest(&saved).tar()),
        ("newer", newer(&saved, LayerPlaces::Folders).tar()),
        ("oldest", oldest(&saved).tar()),
    ];
    for (name, tar) in archives {
        let sandbox = Sandbox::new();
        let pulp = Pulp::new("acme/app");
        sandbox.write("raas.cfg", pulp.section());
        let file = sandbox.write("app.tar", &tar);
        let report = sandbox.json(&["pulp-upload", "acme", &file, "--json"]);
        let digest = pulp.registry.digest_of("1.0").unwrap();
        let tags = json!([{"tag": "1.0", "digest": digest}, {"tag": "latest", "digest": digest}]);
        assert_eq!(report["tags"], tags, "{name}");
        // What was uploaded can be published, and a second upload sends nothing.
        sandbox.ok(&["push", "acme", "app"]);
        let again = sandbox.json(&["pulp-upload", "acme", &file, "--json"]);
        assert_eq!(again["size"], json!(0), "{name}");
    }
}

#[test]
fn an_upload_names_its_image_and_needs_a_server() {
    let sandbox = Sandbox::new();
    let layers = [layer(&[("a", b"a")])];
    let file = sandbox.write("a.tar", newest(&[Saved { names: &[], layers: &layers }]).tar());
    assert!(sandbox.fails(2, &["pulp-upload", "acme", &file]).contains("no Pulp server is configured"));
    let pulp = Pulp::new("acme/app");
    sandbox.write("raas.cfg", pulp.section());
    let failure = sandbox.fails(2, &["pulp-upload", "acme", &file, "--tag", "1"]);
    assert!(failure.contains("does not name its image") && failure.contains("--image NAME"), "{failure}");
    sandbox.ok(&["pulp-upload", "acme", &file, "--image", "app", "--tag", "1"]);
    assert!(pulp.registry.digest_of("1").is_some());
}

/// The files of an export with the repository `bigdatainc/bigdata-app`.
fn exported() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(fixtures::path("pulp3/new-full")).unwrap();
    folder.map(|entry| entry.unwrap().path()).collect()
}

/// A sandbox with a Pulp 3 that exports into the folder `exports` of the sandbox.
fn with_exports() -> (Sandbox, Pulp, PathBuf) {
    let sandbox = Sandbox::new();
    let pulp = Pulp::new("bigdatainc/bigdata-app");
    let allowed = sandbox.path("exports");
    std::fs::create_dir(&allowed).unwrap();
    {
        let mut exports = pulp.exports();
        exports.allowed.clone_from(&allowed);
        exports.files = exported();
        exports.repository = "bigdatainc/bigdata-app".into();
    }
    sandbox.write("raas.cfg", format!("{}export_path = {}\n", pulp.section(), allowed.display()));
    (sandbox, pulp, allowed)
}

const VIA_EXPORT: [&str; 5] = ["push", "bigdatainc", "bigdata-app", "--via", "export"];

#[test]
fn an_export_is_made_followed_read_and_removed() {
    let (sandbox, pulp, allowed) = with_exports();
    let output = sandbox.run(&VIA_EXPORT);
    crate::sandbox::succeeded(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Pulp: Exporting Artifacts 3 of 4"), "{said}");
    let plain = Sandbox::new();
    let archive = fixtures::toc(&fixtures::path("pulp3/new-full"));
    let name = ["--repository", "bigdatainc/bigdata-app"];
    let archive = ["push", "bigdatainc", "bigdata-app", "--json", "--from", archive.to_str().unwrap()];
    let from_file = plain.json(&[&archive[..], &name].concat());
    let again = sandbox.json(&[&VIA_EXPORT[..], &["--json"]].concat());
    assert_eq!((&again["tags"], &again["changed"]), (&from_file["tags"], &json!(false)));
    assert_eq!(std::fs::read_dir(&allowed).unwrap().count(), 0, "the files of the exports are removed");
    let log: Vec<String> = pulp.exports().log.iter().map(|(line, _)| line.clone()).collect();
    assert!(log.last().unwrap().starts_with("DELETE exporters/core/pulp/"), "{log:?}");
}

#[test]
fn an_export_of_a_private_distribution_is_protected() {
    let (sandbox, pulp, _) = with_exports();
    pulp.set(|facts| facts.private = true);
    let said = String::from_utf8(sandbox.run(&VIA_EXPORT).stderr).unwrap();
    assert!(said.contains("bigdata-app is protected, as its source says"), "{said}");
}

#[test]
fn an_export_that_fails_says_why_and_what_to_do() {
    let (sandbox, pulp, allowed) = with_exports();
    let fails = |code: i32| sandbox.fails(code, &VIA_EXPORT);
    pulp.exports().failure = Some("Remote artifacts cannot be exported.".into());
    let failure = fails(4);
    assert!(failure.contains("it says Remote artifacts cannot be exported."), "{failure}");
    assert!(failure.contains("`immediate`"), "{failure}");
    pulp.exports().failure = None;

    pulp.exports().names_nothing = true;
    let failure = fails(3);
    assert!(failure.contains("names no export that it made"), "{failure}");
    pulp.exports().names_nothing = false;

    pulp.exports().without_worker = true;
    let failure = fails(4);
    assert!(
        failure.contains("has no worker online, so the export of bigdatainc/bigdata-app cannot begin"),
        "{failure}"
    );
    pulp.exports().without_worker = false;
    pulp.exports().workers_leave = true;
    let failure = fails(4);
    assert!(failure.contains("would wait for ever: raas has canceled it"), "{failure}");
    assert!(
        pulp.exports()
            .log
            .iter()
            .any(|(line, body)| line.starts_with("PATCH tasks/") && *body == json!({"state": "canceled"}))
    );
    pulp.exports().workers_leave = false;
    pulp.exports().without_worker = false;

    for (hidden, forbidden) in [(true, false), (false, true)] {
        (pulp.exports().hidden, pulp.exports().forbidden) = (hidden, forbidden);
        let failure = fails(4);
        assert!(
            failure.contains("You do not have permission") && failure.contains("core.pulpexporter_creator"),
            "{failure}"
        );
    }
    pulp.exports().forbidden = false;

    let section = pulp.section();
    sandbox.write("raas.cfg", format!("{section}export_path = /srv/other\n"));
    let failure = fails(4);
    assert!(
        failure.contains("is not an allowed export path") && failure.contains("ALLOWED_EXPORT_PATHS"),
        "{failure}"
    );
    sandbox.write(
        "raas.cfg",
        format!("{section}export_path = {}\nexport_mount = elsewhere\n", allowed.display()),
    );
    let failure = fails(4);
    assert!(failure.contains("cannot read") && failure.contains("export_mount"), "{failure}");
    sandbox.write("raas.cfg", &section);
    assert!(fails(2).contains("--via export needs `export_path`"));
    sandbox.write("raas.cfg", "");
    assert!(fails(2).contains("--via export is for the Pulp server"));
    pulp.set(|facts| {
        facts.distribution = json!({"remote": "/pulp/api/v3/remotes/container/pull-through/1/"});
    });
    sandbox.write("raas.cfg", format!("{section}export_path = {}\n", allowed.display()));
    assert!(fails(3).contains("passes on what another registry has"));
    assert_eq!(sandbox.commits("bigdatainc"), 0);
}

/// A small signature, as far as raas is concerned, in Base64.
const SIGNATURES: [&str; 2] = ["b3dHYndNdk13TVhv", "c2Vjb25k"];

#[test]
fn atomic_signatures_are_published_beside_the_repository_and_served() {
    let sandbox = Sandbox::new();
    let pulp = Pulp::new("acme/app");
    let mut layout = Layout::new();
    let (image, other) = (layout.simple_image("app"), layout.simple_image("other"));
    pulp.registry.fill(&layout);
    pulp.registry.tag("1", &image.digest);
    pulp.registry.tag("2", &other.digest);
    pulp.sign(&image.digest, SIGNATURES[0]);
    sandbox.write("raas.cfg", pulp.section());
    sandbox.ok(&["push", "acme", "app"]);
    let file = |n: usize| format!("app@sha256={}/signature-{n}", image.digest.hex());
    let stored = |n: usize| std::fs::read(sandbox.home().join("acme/bucket").join(file(n)));
    assert_eq!(stored(1).unwrap(), b"owGbwMvMwMXo");
    assert_eq!(sandbox.commits("acme"), 1);

    let server = sandbox.serve(&["acme"]);
    let client = Client::new(server.address);
    let list = |digest: &Digest| client.get(&format!("/extensions/v2/app/signatures/{digest}")).json();
    assert_eq!(client.get("/v2/").headers["x-registry-supports-signatures"], "1");
    let listed = list(&image.digest);
    assert_eq!(listed["signatures"][0]["content"], json!(SIGNATURES[0]));
    assert_eq!(
        (&listed["signatures"][0]["type"], &listed["signatures"][0]["schemaVersion"]),
        (&json!("atomic"), &json!(2))
    );
    assert_eq!(list(&other.digest), json!({"signatures": []}));

    // A further signature keeps the number of the first. A push that changes nothing is none.
    pulp.sign(&image.digest, SIGNATURES[1]);
    sandbox.ok(&["push", "acme", "app"]);
    sandbox.ok(&["push", "acme", "app"]);
    assert_eq!((stored(1).unwrap().len(), stored(2).unwrap()), (12, b"second".to_vec()));
    assert_eq!(sandbox.commits("acme"), 2);

    // A bundle brings them to another home.
    sandbox.ok(&["export", "acme", "app:1", "-o", "bundle.tar"]);
    let (customer, bundle) = (Sandbox::new(), sandbox.path("bundle.tar"));
    customer.ok(&["push", "acme", "app", "--from", bundle.to_str().unwrap()]);
    let brought = |n: usize| std::fs::read(customer.home().join("acme/bucket").join(file(n))).unwrap();
    assert_eq!((brought(1), brought(2)), (b"owGbwMvMwMXo".to_vec(), b"second".to_vec()));

    // Status misses a lost one, and the repair stores it again.
    std::fs::remove_file(sandbox.home().join("acme/bucket").join(file(2))).unwrap();
    let status = String::from_utf8(sandbox.run(&["status", "acme", "app"]).stdout).unwrap();
    assert!(status.contains("signature-2: missing"), "{status}");
    sandbox.ok(&["setup", "acme", "--repair"]);
    assert_eq!(stored(2).unwrap(), b"second");

    // They leave with their manifest.
    sandbox.ok(&["unpublish", "acme", "app:1"]);
    assert_eq!(list(&image.digest), json!({"signatures": []}));
    assert!(stored(1).is_err() && stored(2).is_err());
}
