//! `raas setup`, `raas status` and `raas lint`.

use std::fs;
use std::time::{Duration, SystemTime};

use raas_testkit::{fixtures, pulp2::Export};
use serde_json::Value;

use crate::sandbox::Sandbox;

fn check<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["vendors"][0]["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

fn status(sandbox: &Sandbox, code: i32, more: &[&str]) -> Value {
    let output = sandbox.run(&[&["status", "acme", "--json"], more].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    serde_json::from_str(&said).unwrap()
}

#[test]
fn setup_can_be_run_again_and_reports_what_it_found() {
    let sandbox = Sandbox::new();
    let first = sandbox.json(&["setup", "acme", "--json"]);
    assert_eq!((&first["existed"], &first["servers"]), (&false.into(), &Value::Array(vec![])));
    assert_eq!(first["conditional_writes"], Value::Null, "a folder has none: {first}");
    let files = sandbox.files("acme");
    let server = sandbox.serve(&[]);
    let second = sandbox.json(&["setup", "acme", "--json"]);
    assert_eq!(second["existed"], true);
    assert_eq!(second["servers"][0], server.address.to_string());
    assert_eq!(sandbox.files("acme"), files);
    // The server also serves a vendor that is set up later.
    let third = sandbox.json(&["setup", "bigdatainc", "--json"]);
    assert_eq!(third["servers"][0], server.address.to_string());
}

#[test]
fn status_is_healthy_only_if_every_check_holds() {
    let sandbox = Sandbox::new();
    let domain = status(&sandbox, 1, &[]);
    assert!(check(&domain, "domain")["fix"].as_str().unwrap().contains("`raas setup acme`"), "{domain}");
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    sandbox.ok(&["push", "acme", "app/tools", "--from", &path]);
    assert_eq!(check(&status(&sandbox, 1, &[]), "server")["outcome"], "failed");
    let _server = sandbox.serve(&[]);
    let good = status(&sandbox, 0, &[]);
    assert!(
        good["vendors"][0]["checks"].as_array().unwrap().iter().all(|check| check["outcome"] == "ok"),
        "{good:#}"
    );
    status(&sandbox, 0, &["app"]);
    assert_eq!(check(&status(&sandbox, 1, &["nothing"]), "metadata")["outcome"], "failed");

    let bucket = sandbox.home().join("acme/bucket");
    let blob = sandbox.files("acme/bucket/app/tools/_v2/blobs").remove(0);
    let blob = bucket.join("app/tools/_v2/blobs").join(blob);
    let content = fs::read(&blob).unwrap();
    // A change in place would change the other repository's object too, since both are links to one file.
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, b"short").unwrap();
    let broken = status(&sandbox, 1, &[]);
    assert!(
        check(&broken, "images")["details"][0].as_str().unwrap().contains("5 bytes are stored"),
        "{broken:#}"
    );
    status(&sandbox, 0, &["app"]);
    status(&sandbox, 1, &["app/tools"]);
    fs::remove_file(&blob).unwrap();
    assert!(check(&status(&sandbox, 1, &[]), "images")["details"][0].as_str().unwrap().contains("missing"));
    fs::write(&blob, content).unwrap();

    // Only what `raas gc` removes is left over. It removes nothing that is younger than a day.
    let stray = bucket.join(format!("app/_v2/blobs/sha256:{}", "0".repeat(64)));
    fs::write(&stray, b"x").unwrap();
    let has_leftovers = |status: &Value| {
        status["vendors"][0]["checks"].as_array().unwrap().iter().any(|check| check["name"] == "leftovers")
    };
    assert!(!has_leftovers(&status(&sandbox, 0, &[])));
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 86_400);
    fs::File::options().write(true).open(&stray).unwrap().set_modified(two_days_ago).unwrap();
    let found = status(&sandbox, 0, &[]);
    assert_eq!(check(&found, "leftovers")["outcome"], "warning");
    assert_eq!(check(&found, "leftovers")["details"].as_array().unwrap().len(), 1);
    let removed = sandbox.json(&["gc", "acme", "--yes", "--json"]);
    assert_eq!(removed["garbage"].as_array().unwrap().len(), 1, "{removed}");
    assert!(!has_leftovers(&status(&sandbox, 0, &[])));

    let data = sandbox.home().join("acme/checkout/crane/data");
    fs::write(data.join("app.json"), b"{}").unwrap();
    let odd = status(&sandbox, 1, &[]);
    assert_eq!(check(&odd, "metadata")["outcome"], "failed");
    assert_eq!(check(&odd, "record")["details"][0], "crane/data/app.json: missing or changed");
    sandbox.ok(&["setup", "acme"]);
    let manifests = data.join("app/_manifests/sha256");
    fs::remove_dir_all(&manifests).unwrap();
    assert_eq!(check(&status(&sandbox, 1, &[]), "record")["outcome"], "failed");
    sandbox.ok(&["setup", "acme"]);
    status(&sandbox, 0, &[]);
}

#[test]
fn lint_reports_every_problem_with_its_location() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["push", "acme", "app", "--from", fixtures::pulp2().to_str().unwrap()]);
    let data = sandbox.home().join("acme/checkout/crane/data");
    let (v4, v1) = (data.join("app.json"), data.join("app/_v1.json"));
    let said = sandbox.ok(&["lint", v4.to_str().unwrap(), v1.to_str().unwrap()]);
    assert_eq!(said.matches(": ok").count(), 2, "{said}");
    let bad = sandbox.write("bad.json", r#"{"type": "pulp-docker-redirect", "version": 1, "url": "x"}"#);
    let output = sandbox.run(&["lint", v4.to_str().unwrap(), &bad]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("bad.json: error: /repo-registry-id: missing"), "{said}");
    let output = sandbox.fed(b"[]", &["lint", "-", "--json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let linted = &findings["files"][0];
    assert_eq!((&linted["file"], &linted["findings"][0]["severity"]), (&"-".into(), &"error".into()));
    let output = sandbox.run(&["lint", "nowhere.json", data.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.matches(": ok").count(), 2, "a folder's documents, and what can be read first: {said}");
}

/// The keys that a legacy Crane reads from documents of each version, with their types.
#[test]
fn documents_have_all_keys_that_a_legacy_crane_reads() {
    let sandbox = Sandbox::new();
    let layout = fixtures::oci_multi();
    sandbox.ok(&["push", "acme", "app", "--from", fixtures::pulp2().to_str().unwrap()]);
    sandbox.ok(&["push", "acme", "app", "--from", layout.to_str().unwrap()]);
    let read = |name: &str| -> Value {
        let path = sandbox.home().join("acme/checkout/crane/data").join(name);
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let (v4, v1) = (read("app.json"), read("app/_v1.json"));
    for document in [&v4, &v1] {
        assert_eq!(document["type"], "pulp-docker-redirect");
        assert_eq!(document["repository"], "acme-app");
        assert_eq!(document["repo-registry-id"], "app");
        assert_eq!(document["protected"], false);
    }
    let bucket = sandbox.home().join("acme/bucket");
    assert_eq!(v1["url"], format!("file://{}/app/", bucket.display()));
    assert_eq!(v4["url"], format!("file://{}/app/_v2/", bucket.display()));
    assert_eq!(v1["images"].as_array().unwrap().len(), 7);
    assert!(v1["images"][0]["id"].is_string());
    let top = v1["tags"]["latest"].as_str().unwrap();
    assert!(bucket.join(format!("app/{top}/ancestry")).is_file());
    let strings = |key: &str| -> Vec<String> {
        v4[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    assert!(strings("schema2_data").contains(&"latest".to_owned()));
    assert!(strings("manifest_list_data").contains(&"2.0".to_owned()));
    let entry = &v4["manifest_list_amd64_tags"]["2.0"];
    assert!(strings("schema2_data").contains(&entry[0].as_str().unwrap().to_owned()));
    assert_eq!(entry[1], 2);
    // The URLs to which Crane redirects clients have content.
    for (kind, names) in [("2", strings("schema2_data")), ("list", strings("manifest_list_data"))] {
        for name in names {
            assert!(bucket.join(format!("app/_v2/manifests/{kind}/{name}")).is_file(), "{kind}/{name}");
        }
    }
    assert!(bucket.join("app/_v2/tags/list").is_file());
}
