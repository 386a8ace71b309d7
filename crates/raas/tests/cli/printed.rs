//! What commands print: failures as JSON, nothing with `-q`, and a server's log that is JSON throughout.

use std::fs::{self, File};

use raas_testkit::fixtures;
use serde_json::{Value, json};

use crate::client::Client;
use crate::sandbox::Sandbox;

#[test]
fn a_failure_is_json_too() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["push", "acme", "app", "--from", "nowhere.tar", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let failure: Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = &failure["error"];
    assert!(error["message"].as_str().unwrap().contains("nowhere.tar"), "{error}");
    assert!(error["causes"][0].as_str().unwrap().contains("No such file"), "{error}");
    assert_eq!((&error["exit_code"], error["hints"].as_array().unwrap().len()), (&json!(2), 1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: "));
}

#[test]
fn quiet_commands_print_results_and_failures_only() {
    let sandbox = Sandbox::new();
    let path = fixtures::pulp2();
    let push = ["push", "acme", "app", "-q", "--from", path.to_str().unwrap()];
    let output = sandbox.run(&push);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("docker pull "));
    assert!(sandbox.fails(2, &["list", "nobody", "-q"]).starts_with("error: "));
    let output = sandbox.run(&["list", "acme", "-v"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("Home: {}\nConfiguration: none\n", sandbox.home().display()));
    assert_eq!(sandbox.run(&["list", "-q", "-v"]).status.code(), Some(2));
}

#[test]
fn a_json_log_has_no_other_lines() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["push", "acme", "app", "--from", fixtures::pulp2().to_str().unwrap()]);
    let log = sandbox.path("log");
    let server = sandbox.serve_logged(&["--log", "json"], File::create(&log).unwrap());
    Client::new(server.address).pull("app", "latest");
    assert_eq!(server.stop(), Some(0));
    // A server that cannot start says so in the same form.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = sandbox.run(&["serve", "--listen", &address, "--log", "json"]);
    assert_eq!(failed.status.code(), Some(4));
    let text = fs::read_to_string(&log).unwrap() + &String::from_utf8(failed.stderr).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let said = |words: &str| {
        lines.iter().any(|line| line["message"].as_str().is_some_and(|message| message.contains(words)))
    };
    assert!(said("Serving acme on http://") && said("Stopping after the requests"), "{text}");
    assert!(said(&format!("cannot listen on {address}")), "{text}");
}
