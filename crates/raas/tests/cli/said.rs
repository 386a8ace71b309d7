//! A push says what it changes beyond adding an image: protected repositories and moved tags.

use raas_testkit::docker_save::{self, LayerPlaces, Saved};
use raas_testkit::layers::{layer, noise};
use raas_testkit::oci::Layout;
use raas_testkit::pulp2::Export;

use crate::client::Client;
use crate::sandbox::{Sandbox, digest_of};

#[test]
fn an_export_that_says_protected_is_protected_from_its_first_publication() {
    let sandbox = Sandbox::new();
    let mut export = Export::chain("app", 2);
    export.protected = true;
    let path = sandbox.write("app.tar", export.tar());
    let dry = sandbox.json(&["push", "acme", "app", "--from", &path, "--dry-run", "--json"]);
    assert_eq!(dry["protected"], true);
    sandbox.ok(&["setup", "acme"]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let output = sandbox.run(&["push", "acme", "app", "--from", &path]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("Note: app is protected, as its source says"), "{said}");
    // Both protocols hide the repository, in each publication.
    for path in ["/v2/app/tags/list", "/v1/repositories/app/tags", "/v1/repositories/app/images"] {
        assert!([401, 404].contains(&client.get(path).status), "{path}");
    }
    assert_eq!(sandbox.commits("acme"), 1);
    for document in ["app.json", "app/_v1.json"] {
        let path = sandbox.home().join("acme/checkout/crane/data").join(document);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("\"protected\": true"), "{text}");
    }
    // A source cannot make the repository public.
    export.protected = false;
    let path = sandbox.write("app.tar", export.tar());
    let again = sandbox.json(&["push", "acme", "app", "--from", &path, "--json"]);
    assert_eq!((&again["protected"], &again["changed"]), (&true.into(), &false.into()));
    // A source can make a public repository protected.
    sandbox.ok(&["push", "acme", "open", "--repository", "app", "--from", &path]);
    assert_eq!(client.get("/v2/open/tags/list").status, 200);
    export.protected = true;
    let path = sandbox.write("app.tar", export.tar());
    sandbox.ok(&["push", "acme", "open", "--repository", "app", "--from", &path]);
    assert!([401, 404].contains(&client.get("/v2/open/tags/list").status));
}

#[test]
fn a_push_says_which_tags_it_moves() {
    let sandbox = Sandbox::new();
    let oci = |content: &str| {
        let mut layout = Layout::new();
        let image = layout.simple_image(content);
        layout.tag(&image, "1.0");
        layout.tar()
    };
    let saved = |seed: u64| {
        let layers = [layer(&[("a", &noise(seed, 100))])];
        docker_save::newer(&[Saved { names: &["app:1.0"], layers: &layers }], LayerPlaces::Folders).tar()
    };
    let v1 = |length: usize| {
        let mut export = Export::chain("app", length);
        export.tags.clear();
        export.tag("1.0", length - 1);
        export.tar()
    };
    let sources =
        [("oci", [oci("one"), oci("two")]), ("saved", [saved(1), saved(2)]), ("v1", [v1(1), v1(2)])];
    for (name, [one, two]) in sources {
        let (one, two) = (sandbox.write("one.tar", one), sandbox.write("two.tar", two));
        let push = |path: &str, more: &[&str]| {
            let arguments = ["push", "acme", name, "--json", "--from", path];
            sandbox.json(&[&arguments, more].concat())
        };
        let first = push(&one, &[]);
        assert_eq!(first["moved_tags"], serde_json::json!([]), "{name}");
        for again in [push(&one, &["--dry-run"]), push(&one, &[])] {
            assert_eq!(again["moved_tags"], serde_json::json!([]), "{name}");
        }
        let old = digest_of(&first, "1.0").clone();
        let foreseen = push(&two, &["--dry-run"]);
        assert_eq!(foreseen["moved_tags"][0]["from"], old, "{name}");
        let said = sandbox.ok(&["push", "acme", name, "--from", &two, "--dry-run"]);
        assert!(said.contains(&format!("Would move tag 1.0 from {} to ", old.as_str().unwrap())), "{said}");
        let moved = push(&two, &[]);
        let to = digest_of(&moved, "1.0");
        assert_eq!(moved["moved_tags"], serde_json::json!([{"tag": "1.0", "from": old, "to": to}]));
        if name == "oci" {
            assert_eq!(foreseen["moved_tags"], moved["moved_tags"]);
        }
        let said = sandbox.ok(&["push", "acme", name, "--from", &one]);
        let (from, to) = (digest_of(&moved, "1.0").as_str().unwrap(), old.as_str().unwrap());
        assert!(said.contains(&format!("Moved tag 1.0 from {from} to {to}")), "{said}");
    }
}
