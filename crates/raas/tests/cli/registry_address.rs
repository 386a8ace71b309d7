//! A registry whose servers run elsewhere: `raas status` asks it, and `raas push` waits for it, at `registry_host`.

use std::fs;

use raas_testkit::s3;
use serde_json::Value;

use crate::client::Client;
use crate::s3::{BUCKET, layout, sandbox};
use crate::sandbox::digest_of;

#[test]
fn status_asks_the_registry_and_push_waits_for_it_and_prints_it() {
    let service = s3::Server::new(&[BUCKET]);
    // The registry and the bucket have one address here, so clients cannot be redirected.
    let sandbox = sandbox(&service, "access = proxy\n");
    let push = |seed: u64| {
        let path = sandbox.write("app.tar", layout(seed, 1000));
        let output = sandbox.run(&["push", "acme", "app", "--json", "--from", &path]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    push(1);
    let status = |code: i32| {
        let output = sandbox.run(&["status", "acme", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{status:#}");
        let checks = status["vendors"][0]["checks"].as_array().unwrap();
        checks.iter().find(|c| c["name"] == "registry" || c["name"] == "server").unwrap().clone()
    };
    let unknown = status(1);
    assert!(unknown["fix"].as_str().unwrap().contains("set `registry_host` in [acme]"), "{unknown}");

    let server = sandbox.serve_alone(&["--from-config"]);
    let config = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    let address = server.address;
    sandbox.write("raas.cfg", format!("{config}\nregistry_host = {address}\n"));
    let served = status(0);
    assert_eq!((&served["name"], &served["outcome"]), (&"registry".into(), &"ok".into()), "{served}");
    assert!(served["found"].as_str().unwrap().starts_with(&address.to_string()), "{served}");

    let report = push(2);
    assert_eq!(report["served"], true);
    assert_eq!(report["reference"], format!("{address}/app:1.0"));
    let digest = &Client::new(address).get("/v2/app/manifests/1.0").headers["docker-content-digest"];
    assert_eq!(*digest, digest_of(&report, "1.0").as_str().unwrap());

    // A registry that does not answer is no failure of the push, and the push says so.
    drop(server);
    let path = sandbox.write("app.tar", layout(3, 1000));
    let output = sandbox.run(&["push", "acme", "app", "--from", &path]);
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && error.contains("the registry does not serve it yet"), "{error}");
    assert!(out.contains(&format!("{address} does not serve it yet")), "{out}");
    assert_eq!(status(1)["outcome"], "failed");
}
