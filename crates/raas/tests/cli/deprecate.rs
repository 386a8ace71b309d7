//! Deprecated tags: `raas deprecate` and `raas undeprecate`.

use raas_testkit::oci::Layout;
use serde_json::{Value, json};

use crate::client::Client;
use crate::sandbox::Sandbox;

/// A sandbox whose vendor `acme` publishes `app` with the tags 2.3 and 2.4.
fn published() -> Sandbox {
    let sandbox = Sandbox::new();
    push(&sandbox, &["2.3", "2.4"]);
    sandbox
}

fn push(sandbox: &Sandbox, tags: &[&str]) -> String {
    let mut layout = Layout::new();
    for tag in tags {
        let image = layout.simple_image(&format!("{tag} of {tags:?}"));
        layout.tag(&image, tag);
    }
    let path = sandbox.write("source.tar", layout.tar());
    let output = sandbox.run(&["push", "acme", "app", "--from", &path]);
    assert!(output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn deprecated(sandbox: &Sandbox, tag: &str) -> Value {
    let listing = sandbox.json(&["list", "acme", "app", "--json"]);
    let tags = listing["vendors"][0]["repositories"][0]["tags"].as_array().unwrap().clone();
    tags.into_iter().find(|listed| listed["tag"] == tag).unwrap()["deprecated"].clone()
}

#[test]
fn clients_of_a_deprecated_tag_are_warned_until_it_is_undone() {
    let sandbox = published();
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let warning = || client.get("/v2/app/manifests/2.3").headers.get("warning").cloned();
    assert_eq!(warning(), None);
    let arguments = ["deprecate", "acme", "app:2.3", "--use", "2.4", "--until", "9999-12-31", "--json"];
    let report = sandbox.json(&arguments);
    assert_eq!((&report["changed"], &report["served"]), (&true.into(), &true.into()));
    let change = json!({"tag": "2.3", "change": "deprecated", "use": "2.4", "until": "9999-12-31T00:00:00Z"});
    assert_eq!(report["changes"]["deprecation_changes"], json!([change]));
    let expected = "299 - \"app:2.3 is deprecated: use app:2.4 (supported until 9999-12-31)\"";
    assert_eq!(warning().as_deref(), Some(expected));
    assert_eq!(client.get("/v2/app/manifests/2.4").headers.get("warning"), None);
    let said = sandbox.ok(&["list", "acme", "app"]);
    assert!(said.contains("(deprecated: use 2.4, supported until 9999-12-31)\n"), "{said}");
    let log = sandbox.json(&["log", "acme", "app", "--json"])["publications"].clone();
    assert_eq!(log[0]["what"], "Deprecate app:2.3: use 2.4, supported until 9999-12-31");
    let diff = sandbox.ok(&["diff", "acme", "app"]);
    assert!(diff.contains("  ! 2.3  deprecated: use 2.4, supported until 9999-12-31\n"), "{diff}");
    // Twice is once.
    let again = sandbox.json(&arguments);
    assert_eq!((&again["changed"], &again["commit"]), (&false.into(), &report["commit"]));
    let undone = sandbox.json(&["undeprecate", "acme", "app:2.3", "--json"]);
    let change = json!({"tag": "2.3", "change": "undeprecated", "use": null, "until": null});
    assert_eq!(undone["changes"]["deprecation_changes"], json!([change]));
    assert_eq!((warning(), deprecated(&sandbox, "2.3")), (None, Value::Null));
    assert_eq!(sandbox.commits("acme"), 3);
}

#[test]
fn a_deprecation_stays_until_its_tag_is_gone_or_it_is_undone() {
    let sandbox = published();
    sandbox.ok(&["deprecate", "acme", "app:2.3", "--use", "2.4"]);
    // Another image under the tag: the tag is deprecated still, and the push says so.
    let said = push(&sandbox, &["2.3"]);
    assert!(
        said.contains("Note: app:2.3 is deprecated") && said.contains("raas undeprecate acme app:2.3"),
        "{said}"
    );
    assert_eq!(deprecated(&sandbox, "2.3")["use"], "2.4");
    sandbox.ok(&["tag", "acme", "app:stable", "app:2.4"]);
    assert_eq!(deprecated(&sandbox, "2.3")["use"], "2.4");
    assert_eq!(deprecated(&sandbox, "stable"), Value::Null);
    // `raas rollback` undoes a deprecation as it undoes any other publication.
    sandbox.ok(&["deprecate", "acme", "app:stable", "--use", "2.4"]);
    let said = sandbox.ok(&["rollback", "acme", "app"]);
    assert!(said.contains("  ! stable  no longer deprecated"), "{said}");
    sandbox.ok(&["unpublish", "acme", "app:2.3"]);
    assert!(push(&sandbox, &["2.3"]).lines().all(|line| !line.contains("deprecated")));
    assert_eq!(deprecated(&sandbox, "2.3"), Value::Null);
}

#[test]
fn a_deprecation_that_helps_nobody_is_refused() {
    let sandbox = published();
    let refused = |arguments: &[&str], why: &str| {
        let error = sandbox.fails(2, arguments);
        assert!(error.contains(why), "{arguments:?}: {error}");
    };
    refused(&["deprecate", "acme", "app:2.3", "--use", "2.3"], "app:2.3 cannot replace itself");
    refused(&["deprecate", "acme", "app:2.3", "--use", "9"], "app:9, the tag to use, is not published");
    refused(&["deprecate", "acme", "app:1.0", "--use", "2.4"], "app:1.0 is not published");
    refused(&["deprecate", "acme", "app", "--use", "2.4"], "raas deprecate acme app:TAG");
    refused(
        &["deprecate", "acme", "app:2.3", "--use", "2.4", "--until", "2020-01-01"],
        "2020-01-01 has passed",
    );
    refused(&["deprecate", "acme", "app:2.3", "--use", "2.4", "--until", "soon"], "soon");
    refused(&["undeprecate", "acme", "app:2.3"], "app:2.3 is not deprecated");
    sandbox.ok(&["deprecate", "acme", "app:2.3", "--use", "2.4"]);
    refused(&["deprecate", "acme", "app:2.4", "--use", "2.3"], "app:2.3 is deprecated itself");
    assert_eq!(sandbox.commits("acme"), 2);
}

/// The page's facts come with the push, and the date of each tag.
#[test]
fn a_push_notes_what_pages_show() {
    let sandbox = published();
    let document = || -> Value {
        let file = sandbox.home().join("acme/checkout/crane/data/app.json");
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    };
    let first = document();
    let published = &first["raas"]["published"];
    assert!(published["2.3"].as_str().unwrap().ends_with('Z') && published["2.3"] == published["2.4"]);
    let facts =
        first["raas"]["manifests"].as_object().unwrap().values().filter(|entry| entry["image"].is_object());
    assert_eq!(facts.count(), 2, "{first:#}");
    // A push of the same image changes nothing.
    push(&sandbox, &["2.3", "2.4"]);
    assert_eq!((sandbox.commits("acme"), document()), (1, first.clone()));
    push(&sandbox, &["2.5"]);
    let second = document();
    assert_eq!(second["raas"]["published"]["2.3"], *published.get("2.3").unwrap());
    assert!(second["raas"]["published"]["2.5"].is_string());
}
