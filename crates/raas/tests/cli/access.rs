//! `raas access`: customers, their keys, and what a server answers to them.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_testkit::oci::Layout;
use serde_json::{Value, json};

use crate::client::Client;
use crate::s3;
use crate::sandbox::{Sandbox, succeeded};

/// A home with the repositories `open`, `appliance/ui` and `tools`, the last two protected.
fn vendor() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["open", "appliance/ui", "tools"] {
        let mut layout = Layout::new();
        let image = layout.simple_image(name);
        layout.tag(&image, "1.0");
        let path = sandbox.write("source.tar", layout.tar());
        let protected: &[&str] = if name == "open" { &[] } else { &["--protected"] };
        sandbox.ok(&[&["push", "acme", name, "--from", &path], protected].concat());
    }
    sandbox
}

/// Adds a key, and returns the header of its logins.
fn add(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let all = [&["access", "add", "acme", "bigbank", "--format", "json"], arguments].concat();
    login(&sandbox.json(&all))
}

fn login(credential: &Value) -> String {
    let (name, secret) = (credential["username"].as_str().unwrap(), credential["password"].as_str().unwrap());
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

#[test]
fn a_customer_sees_what_was_granted_until_the_key_is_revoked() {
    let sandbox = vendor();
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let key = add(&sandbox, &["--repositories", "appliance/*"]);
    let status = |name: &str, key: &str| client.get_with(&format!("/v2/{name}/tags/list"), key).status;
    assert_eq!((status("open", &key), status("appliance/ui", &key), status("tools", &key)), (200, 200, 404));
    let ci = add(&sandbox, &["--key", "ci", "--expires", "90d"]);
    sandbox.ok(&["access", "grant", "acme", "bigbank", "tools"]);
    assert_eq!((status("tools", &key), status("tools", &ci)), (200, 200));
    sandbox.ok(&["access", "deny", "acme", "bigbank", "appliance/*"]);
    assert_eq!((status("appliance/ui", &key), status("tools", &ci)), (404, 200));
    // Publishing waits for the servers of the home, so the revocation holds when the command ends.
    sandbox.ok(&["access", "revoke", "acme", "bigbank", "--key", "ci"]);
    assert_eq!((status("tools", &key), status("tools", &ci)), (200, 401));
    let told = client.get_with("/v2/tools/tags/list", &ci);
    assert!(String::from_utf8_lossy(&told.body).contains("the key `ci` of bigbank was revoked"));
    sandbox.ok(&["access", "revoke", "acme", "bigbank"]);
    assert_eq!(status("tools", &key), 401);
    let log = sandbox.json(&["log", "acme", "--json"])["publications"].clone();
    let subjects: Vec<&str> =
        log.as_array().unwrap().iter().take(6).map(|e| e["what"].as_str().unwrap()).collect();
    assert_eq!(
        subjects,
        [
            "Revoke all keys of customer bigbank",
            "Revoke key ci of customer bigbank",
            "Deny appliance/* to customer bigbank",
            "Grant tools to customer bigbank",
            "Add key ci of customer bigbank",
            "Add key default of customer bigbank",
        ]
    );
    let commit = |at: usize| log[at]["commit"].as_str().unwrap();
    let diff = sandbox.json(&["diff", "acme", commit(5), commit(0), "--json"]);
    assert_eq!(diff["customers"], json!([{"customer": "bigbank", "change": "changed"}]));
}

#[test]
fn a_rotation_keeps_the_old_secret_for_the_overlap() {
    let sandbox = vendor();
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let status = |key: &str| client.get_with("/v2/tools/tags/list", key).status;
    let old = add(&sandbox, &["--repositories", "*"]);
    let rotate = |overlap: &str| {
        let all = ["access", "rotate", "acme", "bigbank", "--overlap", overlap, "--format", "json"];
        login(&sandbox.json(&all))
    };
    let new = rotate("14d");
    assert_eq!((status(&old), status(&new)), (200, 200));
    let shown = sandbox.json(&["access", "show", "acme", "bigbank", "--json"]);
    assert!(shown["keys"][0]["overlap_until"].is_string(), "{shown}");
    let newest = rotate("0d");
    assert_eq!((status(&old), status(&new), status(&newest)), (401, 401, 200));
}

#[test]
fn a_revocation_of_which_nobody_knows_whether_it_is_obeyed_is_said() {
    let sandbox = vendor();
    add(&sandbox, &["--repositories", "*"]);
    // Nobody listens there.
    sandbox.write("raas.cfg", "[acme]\nregistry_host = 127.0.0.1:1\n");
    let begun = Instant::now();
    let output = sandbox.run(&["access", "revoke", "acme", "bigbank", "--json"]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "servers get the time to obey");
    let report: Value = serde_json::from_str(&succeeded(&output)).unwrap();
    assert_eq!((&report["changed"], &report["served"]), (&json!(true), &json!(false)));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the registry cannot be asked whether it obeys: 127.0.0.1:1"), "{said}");
}

#[test]
fn no_rollback_brings_a_revoked_key_back() {
    let sandbox = vendor();
    let mut layout = Layout::new();
    let image = layout.simple_image("second");
    layout.tag(&image, "1.0");
    let path = sandbox.write("source.tar", layout.tar());
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let key = add(&sandbox, &["--repositories", "appliance/*,tools"]);
    sandbox.ok(&["push", "acme", "tools", "--from", &path]);
    sandbox.ok(&["access", "revoke", "acme", "bigbank"]);
    sandbox.ok(&["access", "deny", "acme", "bigbank", "appliance/*"]);
    let log = sandbox.json(&["log", "acme", "--json"])["publications"].clone();
    let first = log.as_array().unwrap().last().unwrap()["commit"].as_str().unwrap().to_owned();
    // The publication before the revocation, and the first one of the image, from before the customer.
    let published =
        |at: &str| log.as_array().unwrap().iter().rfind(|e| e["what"].as_str().unwrap().contains(at));
    let to = published("Publish tools").unwrap()["commit"].as_str().unwrap();
    sandbox.ok(&["rollback", "acme", "tools"]);
    sandbox.ok(&["rollback", "acme", "tools", "--to", to]);
    sandbox.fails(2, &["rollback", "acme", "tools", "--to", &first]);
    let told = client.get_with("/v2/tools/tags/list", &key);
    assert_eq!(told.status, 401, "{}", String::from_utf8_lossy(&told.body));
    let shown = sandbox.json(&["access", "show", "acme", "bigbank", "--json"]);
    assert_eq!(
        (&shown["keys"][0]["state"], &shown["granted_patterns"]),
        (&json!("revoked"), &json!(["tools"]))
    );
}

#[test]
fn a_secret_is_printed_once_and_is_nowhere_else() {
    let sandbox = vendor();
    let output = sandbox.run(&["access", "add", "acme", "bigbank", "--repositories", "*"]);
    let said = succeeded(&output);
    let secret = said.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
    assert!(said.starts_with("username: bigbank\n") && secret.starts_with("raas_"), "{said}");
    let noted = String::from_utf8(output.stderr).unwrap();
    assert!(noted.contains("shown only once") && !noted.contains(secret), "{noted}");
    let hash = raas_types::Digest::of(secret.as_bytes()).hex();
    for arguments in [
        &["access", "list", "acme", "--json"][..],
        &["access", "show", "acme", "bigbank"],
        &["log", "acme", "--json"],
        &["list", "acme", "--json"],
    ] {
        let said = sandbox.ok(arguments);
        assert!(!said.contains(secret) && !said.contains(&hash), "{said}");
    }
    for name in sandbox.files("") {
        let bytes = std::fs::read(sandbox.home().join(&name)).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{name}");
    }
}

#[test]
fn clients_get_a_credential_in_their_own_form() {
    let sandbox = vendor();
    sandbox.write("raas.cfg", "[acme]\nregistry_host = registry.acme.example, images.acme.example:5000\n");
    let secret = "k3Jd82hfLsQwe91mNbVcXz4Rt6Yu8Io0";
    let add = |key: &str, format: &str, secret: &str| {
        let all =
            ["access", "add", "acme", "bigbank", "--repositories", "*", "--key", key, "--format", format];
        sandbox.fed(secret.as_bytes(), &[&all[..], &["--stdin-secret"]].concat())
    };
    let config: Value =
        serde_json::from_str(&succeeded(&add("a", "docker-config", &format!("{secret}\n")))).unwrap();
    // Clients look a login up by the name in the reference, with its port.
    for host in ["registry.acme.example", "images.acme.example:5000"] {
        let auth = config["auths"][host]["auth"].as_str().unwrap();
        assert_eq!(STANDARD.decode(auth).unwrap(), format!("bigbank:{secret}").into_bytes());
    }
    let manifest = succeeded(&add("b", "k8s-secret", &format!("b{secret}")));
    assert!(
        manifest.contains("type: kubernetes.io/dockerconfigjson\n") && manifest.contains("acme-bigbank-b")
    );
    for wrong in ["https://registry.acme.example", "two words", "registry.acme.example/acme"] {
        let all = ["access", "add", "acme", "bigbank", "--key", "w", "--format", "podman", "--host", wrong];
        assert!(sandbox.fails(2, &all).contains("--host"), "{wrong}");
    }
    let weak = add("c", "plain", "hunter2");
    let error = String::from_utf8(weak.stderr).unwrap();
    assert!(
        weak.status.code() == Some(2) && error.contains("7 characters") && !error.contains("hunter2"),
        "{error}"
    );
    let same = add("d", "plain", secret);
    assert!(String::from_utf8(same.stderr).unwrap().contains("is one of this customer's already"));
}

#[test]
fn every_server_of_a_bucket_obeys_a_revocation() {
    let bucket = raas_testkit::s3::Server::new(&[s3::BUCKET]);
    let sandbox = s3::sandbox(&bucket, "");
    let path = sandbox.write("app.tar", s3::layout(1, 1000));
    sandbox.ok(&["push", "acme", "tools", "--protected", "--from", &path]);
    let key = add(&sandbox, &["--repositories", "*"]);
    let token_key = sandbox.write("token-key", "0123456789abcdef0123456789abcdef");
    let servers = [0, 1].map(|_| sandbox.serve_alone(&["--from-config", "--token-key", &token_key]));
    let clients = servers.each_ref().map(|server| Client::new(server.address));
    let token = clients[0].get_with("/token?scope=repository:tools:pull", &key).json();
    let token = format!("Bearer {}", token["token"].as_str().unwrap());
    let statuses = || -> Vec<u16> {
        let asks = clients.iter().flat_map(|client| [&key, &token].map(|by| (client, by)));
        asks.map(|(client, by)| client.get_with("/v2/tools/tags/list", by).status).collect()
    };
    assert_eq!(statuses(), [200, 200, 200, 200], "one server's token is accepted by the other");
    let names: Vec<String> = bucket.keys(s3::BUCKET);
    assert!(names.iter().all(|name| !name.contains("bigbank")), "{names:?}");
    sandbox.ok(&["access", "revoke", "acme", "bigbank"]);
    // Servers look about once a second; a busy machine takes longer.
    let revoked = Instant::now();
    while statuses() != [401, 401, 401, 401] {
        assert!(revoked.elapsed() < Duration::from_secs(10), "{:?}", statuses());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn customers_are_refused_with_public_content() {
    let bucket = raas_testkit::s3::Server::new(&[s3::BUCKET]);
    let sandbox = s3::sandbox(&bucket, "");
    let path = sandbox.write("app.tar", s3::layout(1, 1000));
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    add(&sandbox, &["--repositories", "*"]);
    let config = std::fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    sandbox.write("raas.cfg", format!("{config}access = public\n"));
    for arguments in [
        &["setup", "acme"][..],
        &["push", "acme", "app", "--from", &path],
        &["access", "add", "acme", "smallshop", "--repositories", "*"],
    ] {
        let error = sandbox.fails(2, arguments);
        assert!(error.contains("cannot protect the names of customers"), "{error}");
    }
    let error = sandbox.fails(2, &["push", "acme", "other", "--protected", "--from", &path]);
    assert!(error.contains("access = public"), "{error}");
    // A key can always be taken back.
    sandbox.ok(&["access", "revoke", "acme", "bigbank"]);
}

#[test]
fn a_rollback_makes_nothing_protected_that_everybody_can_read() {
    let bucket = raas_testkit::s3::Server::new(&[s3::BUCKET]);
    let sandbox = s3::sandbox(&bucket, "");
    for (name, size) in [("app", 1000), ("app", 2000), ("gone", 1000)] {
        let path = sandbox.write("app.tar", s3::layout(1, size));
        sandbox.ok(&["push", "acme", name, "--protected", "--from", &path]);
    }
    sandbox.ok(&["unpublish", "acme", "gone"]);
    let config = std::fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    let open = format!("{config}access = public\n");
    sandbox.write("raas.cfg", &open);
    let refused = |arguments: &[&str], why: &str| {
        let commits = sandbox.commits("acme");
        let error = sandbox.fails(2, arguments);
        assert!(error.contains(why) && error.contains("`access = public`"), "{arguments:?}: {error}");
        assert_eq!(sandbox.commits("acme"), commits, "{arguments:?}");
    };
    let everybody = "lets everybody read the manifests and layers of protected repositories: app";
    refused(&["rollback", "acme", "app"], everybody);
    refused(&["tag", "acme", "app:new", "app:1.0"], everybody);
    // What shows an image to nobody is allowed.
    sandbox.ok(&["unpublish", "acme", "app"]);
    refused(&["rollback", "acme", "gone"], "cannot protect gone");
    sandbox.write("raas.cfg", &config);
    sandbox.ok(&["rollback", "acme", "gone"]);
}

#[test]
fn a_grant_of_nothing_is_noted() {
    let sandbox = vendor();
    let noted = |arguments: &[&str]| {
        let output = sandbox.run(&[&["access"], arguments].concat());
        succeeded(&output);
        String::from_utf8(output.stderr).unwrap()
    };
    let said = noted(&["add", "acme", "bigbank", "--repositories", "applianse/*,open,tools"]);
    let grants = "grants no protected repository yet";
    assert!(said.contains(&format!("`applianse/*` {grants}: no published repository matches")), "{said}");
    assert!(
        said.contains(&format!("`open` {grants}: open is public")) && !said.contains("`tools`"),
        "{said}"
    );
    let said = noted(&["grant", "acme", "bigbank", "appliance/*", "*", "appliance/db"]);
    assert!(said.contains("`appliance/db`") && said.matches(grants).count() == 1, "{said}");
    assert!(noted(&["list", "acme"]).is_empty());
}

#[test]
fn a_firewall_list_has_every_host_that_a_login_needs() {
    let sandbox = vendor();
    let hosts = || {
        let egress = &sandbox.json(&["status", "acme", "--egress", "--json"])["vendors"][0];
        egress["hosts"].clone()
    };
    let names = "[acme]\nregistry_host = registry.acme.example, images.acme.example:5000\n";
    sandbox.write("raas.cfg", names);
    let uses = |host: &str, uses: &[&str]| json!({"host": host, "uses": uses});
    let first = ["configs and layers", "manifests"];
    assert_eq!(
        hosts(),
        json!([uses("images.acme.example:5000", &["manifests"]), uses("registry.acme.example", &first)])
    );
    add(&sandbox, &["--repositories", "*"]);
    assert_eq!(
        hosts(),
        json!([
            uses("images.acme.example:5000", &["manifests", "tokens"]),
            uses("registry.acme.example", &[first[0], first[1], "tokens"]),
        ])
    );
    // With another issuer clients ask that issuer for a token.
    let issuer = "token_realm = https://auth.acme.example/token\ntoken_service = r\ntoken_issuer = a\ntoken_keys = k\n";
    sandbox.write("raas.cfg", format!("{names}{issuer}"));
    assert_eq!(
        hosts(),
        json!([
            uses("auth.acme.example", &["tokens"]),
            uses("images.acme.example:5000", &["manifests"]),
            uses("registry.acme.example", &first),
        ])
    );
}

#[test]
fn a_customer_goes_after_its_keys() {
    let sandbox = vendor();
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let key = add(&sandbox, &["--repositories", "*"]);
    let error = sandbox.fails(2, &["access", "remove", "acme", "bigbank"]);
    assert!(
        error.contains("keys that are valid: default") && error.contains("raas access revoke"),
        "{error}"
    );
    sandbox.ok(&["access", "revoke", "acme", "bigbank"]);
    let report = sandbox.json(&["access", "remove", "acme", "bigbank", "--json"]);
    assert_eq!((&report["what"], &report["changed"]), (&"Remove customer bigbank".into(), &true.into()));
    let told = client.get_with("/v2/tools/tags/list", &key);
    // Without customers `Authorization` has no meaning.
    assert_eq!(told.status, 404);
    assert_eq!(sandbox.json(&["access", "list", "acme", "--json"])["customers"], json!([]));
    let error = sandbox.fails(2, &["access", "remove", "acme", "bigbank"]);
    assert!(error.contains("acme has no customer bigbank"), "{error}");
    // The name can be used again.
    let key = add(&sandbox, &["--repositories", "*"]);
    assert_eq!(client.get_with("/v2/tools/tags/list", &key).status, 200);
}

#[test]
fn a_damaged_customer_blocks_no_other_and_can_be_revoked_and_removed() {
    let sandbox = vendor();
    let key = add(&sandbox, &["--repositories", "*"]);
    let of_other = ["access", "add", "acme", "smallbank", "--repositories", "tools", "--format", "json"];
    let other = login(&sandbox.json(&of_other));
    let log = sandbox.path("log");
    let server = sandbox.serve_logged(&["--metrics", "127.0.0.1:0"], std::fs::File::create(&log).unwrap());
    let client = Client::new(server.address);
    let status = |key: &str| client.get_with("/v2/tools/tags/list", key).status;
    assert_eq!((status(&key), status(&other)), (200, 200));
    let file = "crane/data/_access/customers/bigbank";
    let damage = || {
        sandbox.commit_by_hand("acme", file, "{ damaged");
        sandbox.ok(&["setup", "acme"]);
    };
    damage();
    // The server skips the customer, and says so. The other customer is served.
    assert_eq!((status(&key), status(&other)), (401, 200));
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(
        logged.contains("the customer has no access") && logged.contains("customers/bigbank"),
        "{logged}"
    );
    // Every command works for the other customer, and names the damaged one.
    let output = sandbox.run(&[&of_other[..4], &["--key", "second", "--format", "json"]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("the file of customer bigbank is damaged"), "{said}");
    sandbox.ok(&["access", "grant", "acme", "smallbank", "appliance/*"]);
    sandbox.ok(&["access", "revoke", "acme", "smallbank", "--key", "second"]);
    let listed = sandbox.json(&["access", "list", "acme", "--json"]);
    assert_eq!(listed["customers"][0]["customer"], "smallbank");
    assert_eq!(listed["unreadable_customers"][0]["customer"], "bigbank");
    assert!(sandbox.ok(&["access", "list", "acme"]).contains("bigbank: damaged"));
    let output = sandbox.run(&["status", "acme", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["vendors"][0]["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "access").unwrap();
    assert!(check["outcome"] == "failed" && check["details"][0].to_string().contains("bigbank"), "{check}");
    // Nothing that would leave a key of the damaged customer valid.
    for arguments in [
        &["add", "acme", "bigbank", "--key", "b"][..],
        &["revoke", "acme", "bigbank", "--key", "default"],
        &["grant", "acme", "bigbank", "tools"],
        &["show", "acme", "bigbank"],
    ] {
        let error = sandbox.fails(4, &[&["access"], arguments].concat());
        assert!(error.contains("raas access revoke acme bigbank"), "{arguments:?}: {error}");
    }
    // The last version that can be read has the keys, and all of them end.
    sandbox.ok(&["access", "revoke", "acme", "bigbank"]);
    let shown = sandbox.json(&["access", "show", "acme", "bigbank", "--json"]);
    assert_eq!((&shown["keys"][0]["state"], &shown["granted_patterns"]), (&"revoked".into(), &json!(["*"])));
    assert_eq!((status(&key), status(&other)), (401, 200));
    damage();
    let report = sandbox.json(&["access", "remove", "acme", "bigbank", "--json"]);
    assert_eq!(report["what"], "Remove customer bigbank");
    assert_eq!(sandbox.json(&["access", "list", "acme", "--json"])["unreadable_customers"], json!([]));
    // A file that was never readable.
    damage();
    sandbox.commit_by_hand("acme", "crane/data/_access/customers/neverbank", "nonsense");
    sandbox.ok(&["access", "revoke", "acme", "neverbank"]);
    assert_eq!(sandbox.json(&["access", "show", "acme", "neverbank", "--json"])["keys"], json!([]));
    // A newer raas has written the file: that is no damage.
    sandbox.commit_by_hand("acme", "crane/data/_access/customers/newbank", r#"{"format": 99}"#);
    let add_to_other = [&of_other[..4], &["--key", "x"]].concat();
    for arguments in [&add_to_other[..], &["access", "remove", "acme", "newbank"]] {
        let error = sandbox.fails(4, arguments);
        assert!(error.contains("upgrade this raas"), "{error}");
    }
}

#[test]
fn access_logs_say_when_keys_were_last_used() {
    let sandbox = vendor();
    let path = sandbox.path("access.log");
    let server = sandbox.serve_logged(&["--log", "json"], std::fs::File::create(&path).unwrap());
    let key = add(&sandbox, &["--repositories", "*", "--key", "ci"]);
    add(&sandbox, &["--key", "spare"]);
    assert_eq!(Client::new(server.address).get_with("/v2/tools/tags/list", &key).status, 200);
    server.stop();
    let path = path.to_str().unwrap();
    let shown = sandbox.json(&["access", "show", "acme", "bigbank", "--log", path, "--json"]);
    let times = [&shown["last_used"], &shown["keys"][0]["last_used"]];
    assert!(times[0].is_string() && times[0] == times[1], "{shown}");
    assert_eq!((&shown["keys"][0]["key"], &shown["keys"][1]["last_used"]), (&"ci".into(), &Value::Null));
    let said = sandbox.ok(&["access", "list", "acme", "--log", path]);
    assert_eq!(said.matches("; last used 2").count(), 2, "{said}");
    assert!(said.contains("spare") && said.contains("; not used in these logs"), "{said}");
    // Without logs nothing is claimed.
    assert!(!sandbox.ok(&["access", "list", "acme"]).contains("used"));
}

#[test]
fn commands_refuse_what_would_be_a_mistake() {
    let sandbox = vendor();
    let refuses = |arguments: &[&str], why: &str| {
        let commits = sandbox.commits("acme");
        let error = sandbox.fails(2, &[&["access"], arguments].concat());
        assert!(error.contains(why), "{arguments:?}: {error}");
        assert_eq!(sandbox.commits("acme"), commits, "{arguments:?}");
    };
    refuses(&["add", "acme", "bigbank"], "give `--repositories");
    refuses(&["add", "acme", "bigbank", "--repositories", "*", "--expires", "2001-01-01"], "is in the past");
    refuses(&["add", "acme", "bigbank", "--repositories", "*", "--format", "podman"], "--host HOST");
    refuses(&["revoke", "acme", "bigbank"], "acme has no customer bigbank");
    refuses(&["show", "acme", "bigbank"], "acme has no customer bigbank");
    add(&sandbox, &["--repositories", "appliance/*"]);
    refuses(&["add", "acme", "bigbank"], "has a valid key `default`");
    refuses(
        &["add", "acme", "bigbank", "--key", "b", "--repositories", "tools"],
        "raas access grant acme bigbank",
    );
    refuses(&["deny", "acme", "bigbank", "appliance/ui"], "is not granted");
    refuses(&["revoke", "acme", "bigbank", "--key", "x"], "has no key `x`");
    add(&sandbox, &["--key", "b", "--expires", "10d"]);
    refuses(&["rotate", "acme", "bigbank", "--overlap", "1d"], "has several keys: b, default");
    sandbox.ok(&["access", "revoke", "acme", "bigbank", "--key", "b"]);
    refuses(&["extend", "acme", "bigbank", "--key", "b", "--expires", "never"], "was revoked");
    refuses(&["rotate", "acme", "bigbank", "--key", "b", "--overlap", "1d"], "was revoked");
    // A new key may take the name of a revoked one.
    add(&sandbox, &["--key", "b", "--expires", "10d"]);
    let expiring = sandbox.json(&["access", "list", "acme", "--expiring", "30d", "--json"]);
    assert_eq!(expiring["customers"][0]["keys"].as_array().unwrap().len(), 1);
    assert_eq!(expiring["customers"][0]["keys"][0]["key"], "b");
    sandbox.ok(&["access", "extend", "acme", "bigbank", "--key", "b", "--expires", "90d"]);
    let none = sandbox.json(&["access", "list", "acme", "--expiring", "30d", "--json"]);
    assert_eq!(none["customers"], json!([]));
}
