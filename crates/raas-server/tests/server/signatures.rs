//! Atomic signatures, by the extension API of OpenShift's registry.

use raas_types::{Digest, media_type};
use serde_json::{Value, json};

use crate::support::{Folders, Published, Server};

const HEADER: &str = "x-registry-supports-signatures";

#[test]
fn signatures_are_served_by_the_digest_of_their_manifest() {
    let folders = Folders::new("acme");
    let (mut app, mut hidden) = (Published::new("tools/app"), Published::new("hidden"));
    let signed = app.image(media_type::OCI_MANIFEST, "signed", "");
    let other = app.image(media_type::OCI_MANIFEST, "other", "");
    app.sign(signed, "Zmlyc3Q=");
    app.sign(signed, "c2Vjb25k");
    let secret = hidden.image(media_type::OCI_MANIFEST, "hidden", "");
    hidden.sign(secret, "Zmlyc3Q=");
    folders.publish(&app);
    folders.publish(&hidden);
    folders.write("crane/data/hidden.json", &hidden.document(true));
    folders.revision("1");
    let server = Server::start(vec![folders.site()]);
    assert_eq!(server.get("/v2/").header(HEADER), Some("1"));
    let path = |name: &str, digest: &str| format!("/extensions/v2/{name}/signatures/{digest}");
    let answer = server.get(&path("tools/app", &signed.to_string()));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!((answer.header(HEADER), answer.header("cache-control")), (Some("1"), Some("no-cache")));
    let list: Value = serde_json::from_str(answer.text()).unwrap();
    let signature = |n: usize, content: &str| json!({"schemaVersion": 2, "type": "atomic", "name": format!("{signed}@{n}"), "content": content});
    assert_eq!(list, json!({"signatures": [signature(0, "Zmlyc3Q="), signature(1, "c2Vjb25k")]}));
    let unknown = Digest::of(b"unknown").to_string();
    let table = [
        ("tools/app", other.to_string(), 200, r#"{"signatures":[]}"#),
        ("tools/app", unknown, 200, r#"{"signatures":[]}"#),
        ("tools/app", "sha256:x".into(), 400, "DIGEST_INVALID"),
        ("nobody", signed.to_string(), 404, "NAME_UNKNOWN"),
        ("hidden", secret.to_string(), 404, "NAME_UNKNOWN"),
    ];
    for (name, digest, status, text) in table {
        let answer = server.get(&path(name, &digest));
        assert_eq!(answer.status, status, "{name} {digest}");
        assert!(answer.text().contains(text), "{name} {digest}: {}", answer.text());
    }
    assert_eq!(server.ask("PUT", &path("tools/app", &signed.to_string()), &[]).status, 405);
}

#[test]
fn a_site_without_signatures_does_not_make_clients_ask_for_them() {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let image = app.image(media_type::OCI_MANIFEST, "image", "");
    folders.publish(&app);
    folders.revision("1");
    let server = Server::start(vec![folders.site()]);
    assert_eq!(server.get("/v2/").header(HEADER), None);
    let answer = server.get(&format!("/extensions/v2/app/signatures/{image}"));
    assert_eq!((answer.status, answer.text()), (200, r#"{"signatures":[]}"#));
}
