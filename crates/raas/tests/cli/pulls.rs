//! `raas pulls` counts the server's own log.

use std::fs::{self, File};

use raas_testkit::fixtures;

use crate::client::Client;
use crate::sandbox::Sandbox;

#[test]
fn a_servers_access_log_is_counted() {
    let sandbox = Sandbox::new();
    let from = fixtures::path("bigdata-app.tar");
    sandbox.ok(&["push", "acme", "app", "--from", from.to_str().unwrap()]);
    let log = sandbox.path("access.log");
    let server = sandbox.serve_logged(&["--log", "json", "acme"], File::create(&log).unwrap());
    let client = Client::new(server.address);
    client.pull("app", "latest");
    client.pull("app", "latest");
    server.stop();
    let log = log.to_str().unwrap();
    let report = sandbox.json(&["pulls", "acme", log, "--json"]);
    let image = &report["repositories"][0];
    assert_eq!(
        (&image["repository"], &image["pulls"], &image["pulls_by_tag"][0]["tag"]),
        (&"app".into(), &1.into(), &"latest".into())
    );
    assert!(
        report["lines"]["access"].as_u64() > Some(2) && report["lines"]["other"].as_u64() > Some(0),
        "{report}"
    );
    let told = sandbox.ok(&["pulls", log]);
    assert!(told.contains("acme app: 1 pull\n") && told.ends_with("1 pull of 1 image\n"), "{told}");
    fs::write(log, "2026-11-24T09:00:00Z  INFO access: method=\"GET\"\n").unwrap();
    assert!(sandbox.fails(3, &["pulls", log]).contains("is a text log"));
}
