//! What commands print: failures as JSON, nothing with `-q`, and a server's log that is JSON throughout.

use std::fs::{self, File};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use raas_testkit::fixtures;
use serde_json::{Value, json};

use crate::client::Client;
use crate::printed_json;
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

/// The lines of a log. Each is a JSON object with names that docs/json/log-line.json lists.
fn log_lines(text: &str) -> Vec<Value> {
    let line = |line: &str| {
        let line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let faults = printed_json::faults("log-line", &line);
        assert!(faults.is_empty(), "{faults:?}: {line}");
        assert!((line["target"] == "access") != line["message"].is_string(), "{line}");
        line
    };
    text.lines().map(line).collect()
}

fn says(lines: &[Value], level: &str, words: &str) -> bool {
    let message = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(words));
    lines.iter().any(|line| line["level"] == level && message(line))
}

#[test]
fn a_json_log_has_no_other_lines() {
    let sandbox = Sandbox::new();
    // A setting that the server warns of.
    sandbox.write("raas.cfg", "[redhat]\nlayer_url = http://10.0.0.1/layers\n");
    sandbox.ok(&[
        "--config",
        "/dev/null",
        "push",
        "acme",
        "app",
        "--from",
        fixtures::pulp2().to_str().unwrap(),
    ]);
    let log = sandbox.path("log");
    let server = sandbox.serve_logged(&["--log", "json"], File::create(&log).unwrap());
    let client = Client::new(server.address);
    client.pull("app", "latest");
    assert_eq!(client.get("/v2/nothing/manifests/latest").status, 404);
    // A document that does not load.
    let document = sandbox.home().join("acme/checkout/crane/data/broken.json");
    fs::write(&document, "{\u{1b}").unwrap();
    fs::write(sandbox.home().join("acme/checkout/revision"), "other\n").unwrap();
    let begun = Instant::now();
    while !fs::read_to_string(&log).unwrap().contains("broken.json") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the server does not read the document");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.stop(), Some(0));
    let lines = log_lines(&fs::read_to_string(&log).unwrap());
    assert!(says(&lines, "INFO", "Serving acme on http://"), "{lines:?}");
    assert!(says(&lines, "INFO", "Stopping after the requests"), "{lines:?}");
    assert!(says(&lines, "WARN", "the configuration"), "{lines:?}");
    assert!(says(&lines, "WARN", "a document does not load"), "{lines:?}");
    let pull = lines.iter().find(|line| line["target"] == "access" && line["tag"] == "latest").unwrap();
    let found = [&pull["vendor"], &pull["repository"], &pull["kind"], &pull["method"]];
    assert_eq!(found, ["acme", "app", "manifest", "GET"]);
    assert!(lines.iter().any(|line| line["status"] == 404));
}

#[test]
fn a_server_that_cannot_start_says_so_in_its_log() {
    let sandbox = Sandbox::new();
    let broken = sandbox.write("broken.cfg", "[aws\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    sandbox.ok(&["setup", "acme"]);
    for (arguments, code, words) in [
        (&["serve", "--listen", address.as_str(), "--log", "json"][..], 4, "cannot listen on "),
        (&["serve", "--log=json", "--config", broken.as_str()], 2, "broken.cfg"),
        (&["--config", "nowhere.cfg", "serve", "--log", "json"], 2, "nowhere.cfg"),
        (&["serve", "nobody", "--log", "json"], 2, "nobody"),
        (&["serve", "--log", "json", "--no-such-option"], 2, "--no-such-option"),
    ] {
        let output = sandbox.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let lines = log_lines(&String::from_utf8(output.stderr).unwrap());
        assert!(says(&lines, "ERROR", words), "{arguments:?}: {lines:?}");
    }
}
