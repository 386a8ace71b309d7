//! Protected repositories: `raas push --protected`, `raas protect` and `raas unprotect`.

use raas_testkit::oci::Layout;
use serde_json::{Value, json};

use crate::client::Client;
use crate::sandbox::{Sandbox, succeeded};

fn push(sandbox: &Sandbox, name: &str, more: &[&str]) -> std::process::Output {
    let mut layout = Layout::new();
    let image = layout.simple_image(name);
    layout.tag(&image, "1.0");
    let path = sandbox.write("source.tar", layout.tar());
    sandbox.run(&[&["push", "acme", name, "--from", &path, "--json"], more].concat())
}

fn protected(sandbox: &Sandbox) -> Vec<String> {
    let listing = sandbox.json(&["list", "acme", "--json"]);
    let repositories = listing["vendors"][0]["repositories"].as_array().unwrap();
    let is_protected = repositories.iter().filter(|repository| repository["protected"] == true);
    is_protected.map(|repository| repository["repository"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_repository_is_protected_from_its_first_publication() {
    let sandbox = Sandbox::new();
    succeeded(&push(&sandbox, "open", &[]));
    let said = push(&sandbox, "tools", &["--protected"]);
    succeeded(&said);
    assert_eq!(protected(&sandbox), ["tools"]);
    assert!(sandbox.ok(&["list", "acme"]).contains("tools (protected)\n"));
    succeeded(&push(&sandbox, "tools", &[]));
    assert_eq!(protected(&sandbox), ["tools"], "a push without the flag keeps the protection");
    assert_eq!(sandbox.commits("acme"), 2);
    sandbox.write("raas.cfg", "[acme]\nprotected_repositories = appliance/*\n");
    succeeded(&push(&sandbox, "appliance/ui", &[]));
    assert_eq!(protected(&sandbox), ["appliance/ui", "tools"]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    assert_eq!(client.get("/v2/open/tags/list").status, 200);
    assert_eq!(client.get("/v2/tools/tags/list").status, 404);
}

#[test]
fn patterns_protect_published_and_future_repositories() {
    let sandbox = Sandbox::new();
    for name in ["appliance/ui", "appliance/db", "tools"] {
        succeeded(&push(&sandbox, name, &[]));
    }
    let report = sandbox.json(&["protect", "acme", "appliance/*", "--json"]);
    assert_eq!(report["changed_repositories"], json!(["appliance/db", "appliance/ui"]));
    assert_eq!((&report["changed_patterns"], &report["changed"]), (&json!(["appliance/*"]), &true.into()));
    assert_eq!(protected(&sandbox), ["appliance/db", "appliance/ui"]);
    let log = sandbox.json(&["log", "acme", "appliance/ui", "--json"])["publications"].clone();
    assert_eq!(log[0]["what"], "Protect appliance/*: appliance/db, appliance/ui");
    let diff = sandbox.json(&["diff", "acme", "appliance/ui", "--json"]);
    let changed = &diff["repositories"][0];
    assert_eq!((&changed["repository"], &changed["protected"]), (&"appliance/ui".into(), &true.into()));
    assert!(sandbox.ok(&["diff", "acme", "appliance/ui"]).contains("  + protected\n"));
    let again = sandbox.json(&["protect", "acme", "appliance/*", "--json"]);
    assert_eq!((&again["changed"], &again["commit"]), (&false.into(), &report["commit"]));

    succeeded(&push(&sandbox, "appliance/new", &[]));
    assert!(protected(&sandbox).contains(&"appliance/new".to_owned()), "it is born protected");
    let said = sandbox.ok(&["unprotect", "acme", "appliance/new"]);
    assert!(said.contains("Note: repositories that match `appliance/*` are still born protected"), "{said}");
    sandbox.ok(&["unprotect", "acme", "*"]);
    assert_eq!(protected(&sandbox), [""; 0]);
    succeeded(&push(&sandbox, "appliance/later", &[]));
    assert_eq!(protected(&sandbox), [""; 0]);
    let error = sandbox.fails(2, &["unprotect", "acme", "tools"]);
    assert!(error.contains("matches `tools`") && error.contains("raas list acme"), "{error}");
    assert!(sandbox.ok(&["protect", "acme", "nothing-yet"]).contains("No published repository matches"));
    sandbox.fails(2, &["protect", "nobody", "*"]);
    sandbox.fails(2, &["protect", "acme", "a*"]);
}

#[test]
fn rollback_undoes_a_change_of_protection_and_nothing_else_makes_an_image_public() {
    let sandbox = Sandbox::new();
    succeeded(&push(&sandbox, "app", &[]));
    let first: Value = sandbox.json(&["log", "acme", "--json"])["publications"].clone();
    sandbox.ok(&["protect", "acme", "app"]);
    let said = sandbox.ok(&["rollback", "acme", "app"]);
    assert!(said.contains("everybody may pull it again"), "{said}");
    assert_eq!(protected(&sandbox), [""; 0]);
    // A second rollback goes further back, where nothing is. The protected publication is chosen by its commit.
    sandbox.fails(2, &["rollback", "acme", "app"]);
    let log: Value = sandbox.json(&["log", "acme", "--json"])["publications"].clone();
    sandbox.ok(&["rollback", "acme", "app", "--to", log[1]["commit"].as_str().unwrap()]);
    assert_eq!(protected(&sandbox), ["app"]);
    // The content differs too: the rollback is of the content, and today's protection stays.
    let mut layout = Layout::new();
    let image = layout.simple_image("another");
    layout.tag(&image, "2.0");
    let path = sandbox.write("source.tar", layout.tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    sandbox.ok(&["rollback", "acme", "app", "--to", first[0]["commit"].as_str().unwrap()]);
    assert_eq!(protected(&sandbox), ["app"]);
}

#[test]
fn public_content_cannot_be_protected() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    let table = [
        ("access = public\n", "access = public"),
        ("access = cdn\ncdn_url = https://cdn.example\n", "`access = cdn` without a token"),
    ];
    for (settings, why) in table {
        let text = format!("[acme]\ns3_bucket = acme-registry\ns3_endpoint = http://127.0.0.1:9\n{settings}");
        sandbox.write("raas.cfg", text);
        let error = sandbox.fails(2, &["protect", "acme", "*"]);
        assert!(error.contains(why) && error.contains("hint: set `"), "{error}");
    }
}
