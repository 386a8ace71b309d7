//! Customers of a vendor whose bucket several homes publish to.

use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_testkit::s3::{Fault, Server, What};
use serde_json::Value;

use crate::client::Client;
use crate::s3::{BUCKET, layout, sandbox};
use crate::sandbox::{Sandbox, succeeded};

/// Two homes. The first has published `tools`, which is protected.
fn two_homes() -> (Server, Sandbox, Sandbox) {
    let server = Server::new(&[BUCKET]);
    let (one, two) = (sandbox(&server, ""), sandbox(&server, ""));
    let path = one.write("app.tar", layout(1, 1000));
    one.ok(&["push", "acme", "tools", "--protected", "--from", &path]);
    two.ok(&["setup", "acme"]);
    (server, one, two)
}

fn add(home: &Sandbox, arguments: &[&str]) -> String {
    let all = [&["access", "add", "acme", "bigbank", "--format", "json"], arguments].concat();
    let made = home.json(&all);
    format!("Basic {}", STANDARD.encode(format!("bigbank:{}", made["password"].as_str().unwrap())))
}

/// Every key of every customer, as `customer/key`, with its state.
fn keys(home: &Sandbox) -> Vec<(String, String)> {
    let listing = home.json(&["access", "list", "acme", "--json"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |customer: &Value| {
        let name = text(&customer["customer"]);
        let keys = customer["keys"].as_array().unwrap().iter();
        keys.map(|key| (format!("{name}/{}", text(&key["key"])), text(&key["state"]))).collect::<Vec<_>>()
    };
    listing["customers"].as_array().unwrap().iter().flat_map(of).collect()
}

#[test]
fn operators_who_add_keys_at_once_lose_none() {
    let (_server, one, two) = two_homes();
    add(&one, &["--repositories", "tools"]);
    let mut running = Vec::new();
    let mut expected = vec!["bigbank/default".to_owned()];
    for (home, own) in [(&one, "one"), (&two, "two")] {
        // Two keys of the same customer, and a customer of the operator's own.
        for (customer, key) in
            [("bigbank", format!("{own}-a")), ("bigbank", format!("{own}-b")), (own, "k".into())]
        {
            let all = ["access", "add", "acme", customer, "--repositories", "tools", "--key", &key];
            let mut command = home.command(&all);
            running.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
            expected.push(format!("{customer}/{key}"));
        }
    }
    for child in running {
        assert!(succeeded(&child.wait_with_output().unwrap()).contains("password: raas_"));
    }
    expected.sort();
    let valid: Vec<_> = expected.into_iter().map(|key| (key, "valid".to_owned())).collect();
    assert_eq!((keys(&one), keys(&two)), (valid.clone(), valid));
}

#[test]
fn a_server_of_a_home_obeys_what_another_home_revokes() {
    let (_server, one, two) = two_homes();
    let key = add(&one, &["--repositories", "tools"]);
    let server = two.serve(&[]);
    let client = Client::new(server.address);
    let becomes = |status: u16| {
        let begun = Instant::now();
        while client.get_with("/v2/tools/tags/list", &key).status != status {
            assert!(begun.elapsed() < Duration::from_secs(30), "never {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
        begun.elapsed()
    };
    becomes(200);
    one.ok(&["access", "revoke", "acme", "bigbank"]);
    let took = becomes(401);
    // About a second; a busy machine takes longer. Vendors without customers are asked every ten seconds.
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_revocation_that_never_reached_the_bucket_is_reported_by_name() {
    let (server, one, two) = two_homes();
    let key = add(&one, &["--repositories", "tools"]);
    let commits = one.commits("acme");
    // The service takes the lease, and nothing after the commit.
    server.fail(Fault { after: 1, ..Fault::always("PutObject", What::Refuse(403, "AccessDenied")) });
    one.fails(4, &["access", "revoke", "acme", "bigbank"]);
    server.behave();
    assert_eq!(one.commits("acme"), commits + 1, "the record has the commit");
    server.age_objects("_turns/", Duration::from_secs(600));
    add(&two, &["--key", "other"]);
    // Whatever the next command is, and whatever its standard output has.
    let output = one.run(&["access", "add", "acme", "bigbank", "--key", "third", "--format", "json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    succeeded(&output);
    assert!(said.contains("Do again what is not published: Revoke all keys of customer bigbank"), "{said}");
    let stateless = one.serve_alone(&["--from-config"]);
    let status = || Client::new(stateless.address).get_with("/v2/tools/tags/list", &key).status;
    assert_eq!(status(), 200, "it was not revoked");
    one.ok(&["access", "revoke", "acme", "bigbank"]);
    let begun = Instant::now();
    while status() != 401 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
}
