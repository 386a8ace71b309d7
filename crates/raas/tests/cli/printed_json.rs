//! The JSON of every command is what its schema in docs/json says. Each run of a test with `--json` is compared.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use raas_testkit::{fixtures, schema};
use serde_json::Value;

use crate::s3;
use crate::sandbox::Sandbox;

/// The commands whose words are two.
const GROUPS: [&str; 2] = ["access", "config"];

/// Commands that need a cluster or a Pulp server: the tests of these run them.
const ELSEWHERE: [&str; 2] = ["pulp-upload", "teardown"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json")
}

fn schema_of(name: &str) -> Option<Value> {
    let bytes = fs::read(folder().join(name).with_extension("json")).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// The faults of a value, by the schema of this name.
pub(crate) fn faults(name: &str, value: &Value) -> Vec<String> {
    let schema = schema_of(name).unwrap_or_else(|| panic!("docs/json/{name}.json is not there"));
    schema::faults(&schema, value)
}

/// The name of the schema of a command line: its command's words, joined with `-`.
fn command_of<'a>(arguments: &[&'a str]) -> Option<String> {
    let mut words = arguments.iter().copied().skip_while(|word: &&'a str| {
        // The values of global options are paths, which are no commands.
        !folder().join(word).with_extension("json").is_file() && !GROUPS.contains(word)
    });
    let first = words.next()?;
    Some(if GROUPS.contains(&first) { format!("{first}-{}", words.next()?) } else { first.to_owned() })
}

/// Compares the JSON that a run has printed, if it was asked for any.
///
/// # Panics
/// The output is not one JSON object, or not as the schema says.
pub(crate) fn check(arguments: &[&str], output: &Output) {
    let wants_json = arguments.iter().take_while(|word| **word != "--").any(|word| *word == "--json");
    // A run that a signal has ended prints nothing.
    if !wants_json || output.status.code().is_none_or(|code| code >= 128) {
        return;
    }
    let value: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?} prints no JSON: {error}: {output:?}"));
    let failed = value.get("error").is_some();
    let name = if failed { Some("error".to_owned()) } else { command_of(arguments) };
    let name = name.unwrap_or_else(|| panic!("{arguments:?} has no schema"));
    let faults = faults(&name, &value);
    assert!(faults.is_empty(), "{arguments:?} is not as docs/json/{name}.json says: {faults:#?}\n{value:#}");
    if failed {
        assert_eq!(
            value["error"]["exit_code"].as_i64(),
            output.status.code().map(i64::from),
            "{arguments:?}"
        );
    }
}

#[test]
fn every_command_prints_what_its_schema_says() {
    let sandbox = Sandbox::new();
    let path = fixtures::pulp2();
    let archive = path.to_str().unwrap();
    sandbox.write(
        "raas.cfg",
        format!("[acme]\nregistry_host = registry.invalid\nsync.app = docker://{NOBODY}/app\n"),
    );
    let log = sandbox.write("access.log", "{\"timestamp\":\"2026-11-24T09:00:00Z\",\"target\":\"raas\"}\n");
    let document = sandbox.write("bad.json", "{}");
    sandbox.write("vendor.pub", VENDOR_KEY);
    sandbox.write("layout.tar", s3::layout(1, 1000));
    let mut done = BTreeSet::new();
    let mut run = |code: i32, words: &str| {
        let words = words.replace("ARCHIVE", archive).replace("LOG", &log).replace("DOCUMENT", &document);
        let arguments: Vec<&str> = words.split(' ').chain(["--json"]).collect();
        let output = sandbox.run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(printed.get("error").is_some(), code > 1, "{arguments:?}: {printed:#}");
        done.insert(command_of(&arguments).unwrap());
    };
    run(0, "version");
    run(0, "config check");
    run(0, "config show");
    run(0, "setup acme");
    run(0, "push acme app --from ARCHIVE --dry-run");
    run(0, "push acme app --from ARCHIVE");
    run(1, "sync");
    run(0, "tag acme app:stable app:latest");
    run(0, "deprecate acme app:stable --use latest");
    run(0, "undeprecate acme app:stable");
    run(0, "list");
    run(1, "certify acme app --from layout.tar");
    run(0, "trust acme --key vendor.pub");
    run(0, "export acme app -o bundle.tar");
    run(0, "publish-static acme --to site --with-base-layers");
    run(0, "mirror-config acme --to mirror.invalid --format idms");
    run(0, "log acme");
    run(0, "diff acme app");
    run(0, "retire acme app --keep 0");
    run(1, "status acme");
    run(1, "status");
    run(0, "status --egress");
    run(0, "gc acme");
    run(0, "protect acme *");
    run(0, "unprotect acme *");
    run(0, "access add acme bigbank --repositories app");
    run(0, "access rotate acme bigbank --overlap 1d");
    run(0, "access extend acme bigbank --expires 90d");
    run(0, "access grant acme bigbank tools");
    run(0, "access deny acme bigbank tools");
    run(0, "access show acme bigbank");
    run(0, "access list acme");
    run(0, "access revoke acme bigbank");
    run(0, "access remove acme bigbank");
    run(0, "unpublish acme app:stable");
    run(0, "rollback acme app");
    run(0, "remove acme --yes");
    run(0, "pulls LOG");
    run(1, "lint DOCUMENT");
    run(2, "lint nowhere.json --no-such-option");
    run(1, &format!("doctor {NOBODY}/app:1.0 --plain-http"));
    run(1, &format!("healthcheck {NOBODY}"));
    let known =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let commands: BTreeSet<String> = known
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .filter(|name| !["error", "log-line"].contains(&name.as_str()))
        .collect();
    done.extend(ELSEWHERE.map(str::to_owned));
    assert_eq!(done, commands);
}

/// A public key of ECDSA with P-256, as `openssl ec -pubout` writes it.
const VENDOR_KEY: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFaZO2S7n96mM/Sm13iWP4ef2aXr/\n\
bJ/8kJPP+SDI9K835AxWi4P0WlohkZ3DIUcZQlrRvuq/fNEIVgVKlCeMhQ==\n\
-----END PUBLIC KEY-----\n";

/// A port of this machine that nobody listens on: it is privileged, and the tests run no such server.
const NOBODY: &str = "127.0.0.1:1";

#[test]
fn output_stays_one_object_if_the_command_fails_after_its_report() {
    let sandbox = Sandbox::new();
    let good = sandbox.write("good.json", "{}");
    let output = sandbox.run(&["lint", &good, "nowhere.json", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["healthy"], false);
    assert_eq!(printed["unreadable_files"][0]["file"], "nowhere.json");
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot read nowhere.json"));
}

#[test]
fn a_wrong_command_line_is_json_too() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["push", "acme", "app", "--no-such-option", "--json"][..],
        &["push", "--json"],
        &["no-such-command", "--json"],
        &["list", "UPPER", "--json"],
    ] {
        let output = sandbox.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let message = printed["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.starts_with("error"), "{arguments:?}: {printed:#}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    // Help is no error.
    let output = sandbox.command(&["push", "--help", "--json"]).output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"Publish an image"), "{output:?}");
}
