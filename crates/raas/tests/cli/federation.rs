//! Image federation: the operator's documents and base images in the vendor's registry.

use std::sync::{Arc, Mutex};

use raas_testkit::layers::{Pack, layer};
use raas_testkit::oci::{Layer, Layout};
use raas_testkit::pulp2::Export;
use raas_testkit::{docker_save, http};
use raas_types::Descriptor;

use crate::client::Client;
use crate::sandbox::Sandbox;

/// A base image of two platforms in a registry, with its layers.
struct Base {
    layout: Layout,
    index: Descriptor,
    amd64: Vec<Layer>,
}

fn base() -> Base {
    let mut layout = Layout::new();
    let amd64 = vec![
        layout.layer(&[("base", b"amd64")], Pack::Gzip),
        layout.layer(&[("more", b"amd64")], Pack::Gzip),
    ];
    let arm64 = layout.layer(&[("base", b"arm64")], Pack::Gzip);
    let images = [layout.image("amd64", &amd64), layout.image("arm64", &[arm64])];
    let index = layout.index(&images);
    layout.tag(&index, "9.4");
    Base { layout, index, amd64 }
}

impl Base {
    /// The answers of a registry for the tag and the digests.
    fn registry(&self) -> http::Server {
        let server = http::Server::of::<String, Vec<u8>>([]);
        let files = self.layout.files();
        for name in files.names() {
            let bytes = files.get(name);
            if let Some(hex) = name.strip_prefix("blobs/sha256/") {
                for kind in ["blobs", "manifests"] {
                    server.set(format!("/v2/ubi9/{kind}/sha256:{hex}"), bytes);
                }
            }
        }
        server.set("/v2/ubi9/manifests/9.4", self.layout.bytes(&self.index.digest));
        server
    }

    /// An image on top of the amd64 base image, with a layer of its own.
    fn app(&self) -> (Layout, Layer) {
        let mut layout = self.layout.clone();
        layout.untag();
        let own = layout.layer(&[("app", b"app")], Pack::Gzip);
        let layers = [&self.amd64[..], std::slice::from_ref(&own)].concat();
        let image = layout.image("amd64", &layers);
        layout.tag(&image, "1.0");
        (layout, own)
    }
}

fn stored(sandbox: &Sandbox, layer: &Layer) -> bool {
    let digest = layer.descriptor.digest.to_string();
    sandbox.files("acme/bucket").iter().any(|key| key.contains(&digest))
}

#[test]
fn base_images_of_a_registry_are_masked_by_name() {
    let sandbox = Sandbox::new();
    let base = base();
    let registry = base.registry();
    let host = registry.address().to_string();
    sandbox.write("raas.cfg", format!("[redhat]\nmask_images = docker://{host}/ubi9:9.4\n"));
    let (layout, own) = base.app();
    let path = sandbox.write("app.tar", layout.tar());
    let report = sandbox.json(&["push", "acme", "app", "--from", &path, "--json"]);
    let masked: Vec<&str> =
        report["masked_layers"].as_array().unwrap().iter().map(|m| m["location"].as_str().unwrap()).collect();
    let location = |layer: &Layer| registry.url(&format!("/v2/ubi9/blobs/{}", layer.descriptor.digest));
    assert_eq!(masked.len(), 2);
    assert!(base.amd64.iter().all(|layer| masked.contains(&location(layer).as_str())), "{masked:?}");
    assert!(stored(&sandbox, &own) && !base.amd64.iter().any(|layer| stored(&sandbox, layer)));

    // A docker save archive has the same layers, unpacked.
    let plain = [layer(&[("base", b"amd64")]), layer(&[("more", b"amd64")]), layer(&[("x", b"x")])];
    let saved = docker_save::newest(&[docker_save::Saved { names: &["app:2.0"], layers: &plain }]);
    let saved = sandbox.write("saved.tar", saved.tar());
    let report = sandbox.json(&["push", "acme", "app", "--from", &saved, "--json"]);
    assert_eq!(report["masked_layers"].as_array().unwrap().len(), 2);

    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    assert_eq!(client.pull("app", "1.0")["linux/amd64"].layers.len(), 3);
    assert_eq!(client.pull("app", "2.0")["linux/amd64"].layers, plain);
    assert_eq!(registry.count("GET", &format!("/v2/ubi9/blobs/{}", base.amd64[0].descriptor.digest)), 2);
    let status = sandbox.json(&["status", "acme", "--federation", "--json"]);
    assert_eq!(status["healthy"], true, "{status:#}");
}

#[test]
fn base_images_of_a_layout_are_masked_and_served_from_layer_url() {
    let sandbox = Sandbox::new();
    let base = base();
    sandbox.write("layouts/ubi9.tar", base.layout.tar());
    let (layout, own) = base.app();
    let path = sandbox.write("app.tar", layout.tar());
    sandbox.write("raas.cfg", "[redhat]\nmask_images = ./layouts/ubi9.tar\n");
    let failure = sandbox.fails(2, &["push", "acme", "app", "--from", &path]);
    assert!(failure.contains("layer_url"), "{failure}");
    sandbox.write(
        "raas.cfg",
        "[redhat]\nmask_images = ./layouts/ubi9.tar\nlayer_url = https://cdn.example.com/ubi9\n",
    );
    let report = sandbox.json(&["push", "acme", "app", "--from", &path, "--json"]);
    assert_eq!(report["masked_layers"].as_array().unwrap().len(), 2);
    assert!(stored(&sandbox, &own));
    let checked = sandbox.ok(&["config", "check"]);
    assert!(checked.contains("3 layers of") && checked.contains("3 blobs"), "{checked}");
}

#[test]
fn a_registry_that_asks_for_a_token_gets_one() {
    let sandbox = Sandbox::new();
    let base = base();
    let registry = base.registry();
    let host = registry.address().to_string();
    registry.set("/token", r#"{"token":"t0ken"}"#);
    let challenge =
        format!("Bearer realm=\"http://{host}/token\",service=\"r\",scope=\"repository:ubi9:pull\"");
    registry.protect("/v2/ubi9/manifests/", &challenge, "Bearer t0ken");
    let (layout, _) = base.app();
    let path = sandbox.write("app.tar", layout.tar());
    sandbox.write("raas.cfg", format!("[redhat]\nmask_images = {host}/ubi9:9.4\n"));
    let report = sandbox.json(&["push", "acme", "app", "--from", &path, "--json"]);
    assert_eq!(report["masked_layers"].as_array().unwrap().len(), 2);
    assert_eq!(registry.count("GET", "/token"), 1, "one token is enough for a repository");

    // A registry that asks for a name and a password. "puller:hunter2"
    registry.protect("/v2/ubi9/manifests/", "Basic realm=\"x\"", "Basic cHVsbGVyOmh1bnRlcjI=");
    let failure = sandbox.fails(2, &["config", "check"]);
    assert!(failure.contains("registry_username"), "{failure}");
    let named = "registry_username = puller\nregistry_password = hunter2\n";
    sandbox.write("raas.cfg", format!("[redhat]\nmask_images = {host}/ubi9:9.4\n{named}"));
    sandbox.ok(&["config", "check"]);
    sandbox
        .write("raas.cfg", format!("[redhat]\nmask_images = {host}/ubi9:9.4\n{}", named.replace('2', "3")));
    let failure = sandbox.fails(4, &["config", "check"]);
    assert!(failure.contains("401") && !failure.contains("hunter3"), "{failure}");

    // Layers that clients could not get must not be masked.
    let open = base.registry();
    let host = open.address().to_string();
    open.protect("/v2/ubi9/blobs/", "Basic realm=\"x\"", "Basic cHVsbGVyOmh1bnRlcjI=");
    sandbox.write("raas.cfg", format!("[redhat]\nmask_images = {host}/ubi9:9.4\n{named}"));
    let failure = sandbox.fails(2, &["push", "acme", "other", "--from", &path]);
    assert!(failure.contains("would be refused"), "{failure}");
}

/// A registry that redirects, asks for a password by this challenge, and records what it was sent.
fn curious_registry(challenge: &str) -> (http::Server, Arc<Mutex<Vec<String>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (recorded, challenge) = (Arc::clone(&sent), challenge.to_owned());
    let server = http::Server::scripted(move |asked| {
        recorded.lock().unwrap().extend(asked.headers.get("authorization").cloned());
        http::Reply::new(401, "").with("WWW-Authenticate", &challenge)
    });
    (server, sent)
}

#[test]
fn a_registry_never_gets_the_password_of_another() {
    let sandbox = Sandbox::new();
    let base = base();
    let registry = base.registry();
    let host = registry.address().to_string();
    // "puller:hunter2"
    registry.protect("/v2/ubi9/manifests/", "Basic realm=\"x\"", "Basic cHVsbGVyOmh1bnRlcjI=");
    let (curious, sent) = curious_registry("Basic realm=\"x\"");
    let other = curious.address().to_string();
    let write = |more: &str| {
        let images = format!("mask_images = {host}/ubi9:9.4 {other}/ubi9:9.4\n");
        let named = "registry_username = puller\nregistry_password = hunter2\n";
        sandbox.write("raas.cfg", format!("[redhat]\n{images}{named}{more}"));
    };
    write("");
    let failure = sandbox.fails(2, &["config", "check"]);
    assert!(failure.contains("is for one registry") && failure.contains("registry_host"), "{failure}");
    write(&format!("registry_host = {host}\n"));
    let failure = sandbox.fails(2, &["config", "check"]);
    assert!(failure.contains(&other) && failure.contains("asks for a name and a password"), "{failure}");
    assert_eq!(sent.lock().unwrap().as_slice(), [""; 0]);
    // Each has its own login. "guest:hunter3"
    let auths = format!(r#"{{"auths":{{"{other}":{{"auth":"Z3Vlc3Q6aHVudGVyMw=="}}}}}}"#);
    sandbox.write("auth.json", auths);
    write(&format!("registry_host = {host}\nregistry_auth_file = auth.json\n"));
    let failure = sandbox.fails(4, &["config", "check"]);
    assert!(failure.contains("answers 401") && !failure.contains("hunter"), "{failure}");
    assert_eq!(sent.lock().unwrap().as_slice(), ["Basic Z3Vlc3Q6aHVudGVyMw=="]);
}

#[test]
fn a_password_for_a_token_server_elsewhere_is_reported() {
    let sandbox = Sandbox::new();
    let base = base();
    let registry = base.registry();
    let host = registry.address().to_string();
    let issuer = http::Server::of([("/token", r#"{"token":"t0ken"}"#)]);
    issuer.protect("/token", "Basic realm=\"x\"", "Basic cHVsbGVyOmh1bnRlcjI=");
    let challenge = |issuer: &str| format!("Bearer realm=\"http://{issuer}/token\",service=\"s\"");
    registry.protect("/v2/ubi9/manifests/", &challenge(&issuer.address().to_string()), "Bearer t0ken");
    let named = "registry_username = puller\nregistry_password = hunter2\n";
    sandbox.write("raas.cfg", format!("[redhat]\nmask_images = {host}/ubi9:9.4\n{named}"));
    let checked = sandbox.ok(&["config", "check"]);
    let note = format!("the password of `puller` for {host} is sent to {}", issuer.address());
    assert!(checked.contains(&note) && !checked.contains("hunter2"), "{checked}");
    let (layout, _) = base.app();
    let path = sandbox.write("app.tar", layout.tar());
    let pushed = sandbox.run(&["push", "acme", "app", "--from", &path]);
    assert!(String::from_utf8_lossy(&pushed.stderr).contains(&note), "{pushed:?}");
    // A token server that sends the request on does not send the password on.
    let (curious, sent) = curious_registry("Basic realm=\"x\"");
    let to = curious.url("/token");
    let forwarding = http::Server::scripted(move |_| http::Reply::new(307, "").with("Location", &to));
    registry.protect("/v2/ubi9/manifests/", &challenge(&forwarding.address().to_string()), "Bearer t0ken");
    let failure = sandbox.fails(4, &["config", "check"]);
    assert!(failure.contains(&format!("is sent to {}", forwarding.address())), "{failure}");
    assert_eq!(sent.lock().unwrap().as_slice(), [""; 0]);
}

/// A version 4 document as Pulp writes it, and the operator's server with its content.
fn pulp_publication(base: &Base) -> (http::Server, String) {
    let server = http::Server::of::<String, Vec<u8>>([]);
    let (mut schema2, mut lists) = (Vec::new(), vec!["9.4".to_owned()]);
    let files = base.layout.files();
    for name in files.names() {
        let bytes = files.get(name);
        let Some(hex) = name.strip_prefix("blobs/sha256/") else { continue };
        server.set(format!("/ubi9/blobs/sha256:{hex}"), bytes);
        let text = String::from_utf8_lossy(bytes);
        let kind = if text.contains("\"manifests\"") { "list" } else { "2" };
        if !text.contains("\"schemaVersion\"") {
            continue;
        }
        server.set(format!("/ubi9/manifests/{kind}/sha256:{hex}"), bytes);
        if kind == "list" {
            lists.push(format!("sha256:{hex}"));
        } else {
            schema2.push(format!("sha256:{hex}"));
        };
    }
    server.set("/ubi9/manifests/list/9.4", base.layout.bytes(&base.index.digest));
    let document = serde_json::json!({
        "type": "pulp-docker-redirect", "version": 4, "repository": "ubi9", "repo-registry-id": "ubi9",
        "url": server.url("/ubi9/"), "schema2_data": schema2, "manifest_list_data": lists,
        "manifest_list_amd64_tags": {},
    });
    (server, document.to_string())
}

#[test]
fn the_operators_documents_are_published_beside_the_vendors_own() {
    let sandbox = Sandbox::new();
    let base = base();
    let (cdn, document) = pulp_publication(&base);
    cdn.set("/metadata/index.json", r#"["ubi9.json"]"#);
    cdn.set("/metadata/ubi9.json", document);
    sandbox.write("raas.cfg", format!("[redhat]\nmetadata = {}\n", cdn.url("/metadata/")));
    let (layout, own) = base.app();
    let path = sandbox.write("app.tar", layout.tar());
    let report = sandbox.json(&["push", "acme", "app", "--from", &path, "--json"]);
    assert_eq!(report["masked_layers"].as_array().unwrap().len(), 2, "its layers are masked");
    assert!(stored(&sandbox, &own));
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let pulled = client.pull("ubi9", "9.4");
    assert_eq!(pulled.len(), 2, "both platforms of the operator's image");
    client.pull("app", "1.0");
    assert!(!sandbox.files("acme/bucket").iter().any(|key| key.starts_with("ubi9/")));
    let status = sandbox.json(&["status", "acme", "--federation", "--deep", "--json"]);
    assert!(
        status["vendors"][0]["checks"].as_array().unwrap().iter().all(|check| check["outcome"] == "ok"),
        "{status:#}"
    );
    let listing = sandbox.json(&["list", "acme", "--json"]);
    let ubi = &listing["vendors"][0]["repositories"][1];
    assert_eq!((&ubi["repository"], &ubi["operator"]), (&"ubi9".into(), &true.into()));
    assert_eq!(ubi["tags"][0]["size"], ubi["tags"][0]["size_elsewhere"]);
    let again = sandbox.json(&["push", "acme", "app", "--from", &path, "--json"]);
    assert_eq!(again["changed"], false);

    // The vendor and the operator cannot publish the same name.
    let failure = sandbox.fails(3, &["push", "acme", "ubi9", "--from", &path]);
    assert!(failure.contains("both the operator and the vendor publish ubi9"), "{failure}");
    // Without a source of documents, the operator's published documents stay, and so do their names.
    sandbox.write("raas.cfg", "");
    assert_eq!(sandbox.json(&["push", "acme", "app", "--from", &path, "--json"])["changed"], true);
    client.pull("ubi9", "9.4");
    sandbox.fails(3, &["push", "acme", "ubi9", "--from", &path]);
    // Documents that the operator has removed are unpublished.
    cdn.set("/metadata/index.json", "[]");
    sandbox.write("raas.cfg", format!("[redhat]\nmetadata = {}\n", cdn.url("/metadata/index.json")));
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    assert_eq!(client.get("/v2/ubi9/tags/list").status, 404);
    assert!(!sandbox.files("acme/checkout").iter().any(|file| file.contains("ubi9")));
    sandbox.ok(&["push", "acme", "ubi9", "--from", &path]);
    // The operator cannot publish a name that the vendor has either.
    cdn.set("/metadata/index.json", r#"["ubi9.json"]"#);
    sandbox.fails(3, &["push", "acme", "app", "--from", &path]);
}

/// Pulp's older documents list neither manifests nor layers.
#[test]
fn a_document_without_layers_and_manifests_is_served_by_redirects() {
    let sandbox = Sandbox::new();
    let base = base();
    sandbox.write(
        "metadata/old.json",
        r#"{"type": "pulp-docker-redirect", "version": 2, "repository": "old", "repo-registry-id": "old",
            "url": "https://cdn.example.com/old/", "protected": false}"#,
    );
    sandbox.write("raas.cfg", "[redhat]\nmetadata = metadata\n");
    let (layout, _) = base.app();
    let path = sandbox.write("app.tar", layout.tar());
    let output = sandbox.run(&["push", "acme", "app", "--from", &path]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("it masks nothing"), "{said}");
    let server = sandbox.serve(&[]);
    let answer = Client::new(server.address).get("/v2/old/manifests/latest");
    assert!((300..400).contains(&answer.status), "{}", answer.status);
    assert_eq!(answer.headers["location"], "https://cdn.example.com/old/manifests/latest");
    let status = sandbox.json(&["status", "acme", "--json"]);
    assert!(
        status["vendors"][0]["checks"].as_array().unwrap().iter().all(|check| check["outcome"] == "ok"),
        "{status:#}"
    );
}

#[test]
fn documents_are_read_from_a_git_repository_with_their_manifests() {
    let base = base();
    // The record of the operator's own registry is a repository of documents.
    let operator = Sandbox::new();
    let path = operator.write("ubi9.tar", base.layout.tar());
    operator.ok(&["push", "acme", "ubi9", "--from", &path]);
    let record = operator.home().join("acme/metadata.git");
    let cdn = http::Server::folder(&operator.home().join("acme/bucket/ubi9/_v2"));
    // Its documents have the URL of the bucket, which is a web server here.
    let work = operator.path("work");
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@x", "-c", "safe.directory=*"]).args(arguments);
        crate::sandbox::succeeded(&command.output().unwrap());
    };
    let work_text = work.to_str().unwrap();
    git(&["clone", "--quiet", record.to_str().unwrap(), work_text]);
    let document = work.join("crane/data/ubi9.json");
    let text = std::fs::read_to_string(&document).unwrap();
    let folder = format!("file://{}", operator.home().join("acme/bucket/ubi9/_v2").display());
    assert!(text.contains(&folder), "{text}");
    std::fs::write(&document, text.replace(&folder, &cdn.url(""))).unwrap();
    git(&["-C", work_text, "commit", "--quiet", "-a", "-m", "x"]);

    let sandbox = Sandbox::new();
    let (layout, _) = base.app();
    let path = sandbox.write("app.tar", layout.tar());
    sandbox.write(
        "raas.cfg",
        format!("[redhat]\nmetadata_repo = file://{work_text}\nmetadata_relpath = crane/data\n"),
    );
    let report = sandbox.json(&["push", "acme", "app", "--from", &path, "--json"]);
    assert_eq!(report["masked_layers"].as_array().unwrap().len(), 2);
    assert!(cdn.requests().is_empty(), "the manifests are in the repository: {:?}", cdn.requests());
    let server = sandbox.serve(&[]);
    assert_eq!(Client::new(server.address).pull("ubi9", "9.4").len(), 2);
    sandbox.write(
        "raas.cfg",
        format!("[redhat]\nmetadata_repo = file://{work_text}\nmetadata_relpath = nowhere\n"),
    );
    let failure = sandbox.fails(2, &["push", "acme", "app", "--from", &path]);
    assert!(failure.contains("has no files in nowhere"), "{failure}");
    assert_eq!(sandbox.files("_config"), Vec::<String>::new());
}

#[test]
fn federation_checks_each_location() {
    let sandbox = Sandbox::new();
    let base = base();
    let registry = base.registry();
    let host = registry.address().to_string();
    sandbox.write("raas.cfg", format!("[redhat]\nmask_images = {host}/ubi9:9.4\n"));
    let (layout, _) = base.app();
    let path = sandbox.write("app.tar", layout.tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let _server = sandbox.serve(&[]);
    let check = |code: i32| {
        let output = sandbox.run(&["status", "acme", "--federation", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{status:#}");
        status["vendors"][0]["checks"].as_array().unwrap().last().unwrap().clone()
    };
    assert_eq!(check(0)["found"], "all 2 layers that are served from elsewhere are at their locations");
    // A server that rejects HEAD, as with URLs that are signed for GET.
    registry.refuse_head();
    assert_eq!(check(0)["outcome"], "ok");
    let blob = format!("/v2/ubi9/blobs/{}", base.amd64[0].descriptor.digest);
    registry.set(&blob, "short");
    let short = check(1);
    assert!(short["details"][0].as_str().unwrap().contains("5 bytes"), "{short}");
    registry.remove(&blob);
    assert!(check(1)["details"][0].as_str().unwrap().contains("404"));
    drop(registry);
    assert_eq!(check(1)["details"].as_array().unwrap().len(), 2);
}

/// The base image changes, so a layer becomes masked, or is not masked any more. After each push every published image pulls
/// completely, and no stored object is lost.
#[test]
fn a_layer_can_become_masked_and_unmasked_again() {
    let base = base();
    let (layout, _) = base.app();
    let cdn = http::Server::of(base.amd64.iter().map(|layer| {
        let path = format!("/ubi9/blobs/{}", layer.descriptor.digest);
        (path, base.layout.bytes(&layer.descriptor.digest))
    }));
    let plain = [layer(&[("base", b"amd64")]), layer(&[("own", b"own")])];
    let saved = docker_save::newest(&[docker_save::Saved { names: &["app:1.0"], layers: &plain }]).tar();
    let plain_digest = raas_types::Digest::of(&plain[0]);
    cdn.set(format!("/ubi9/blobs/{plain_digest}"), plain[0].clone());
    let export = Export::chain("app", 2);
    let base_id = export.id(0);
    let files = export.files();
    for path in files.names() {
        let bytes = files.get(path);
        if let Some(file) = path.strip_prefix(&format!("web/{base_id}/")) {
            cdn.set(format!("/ubi9/{base_id}/{file}"), bytes);
        }
    }
    let digests: Vec<String> = base.amd64.iter().map(|layer| layer.descriptor.digest.to_string()).collect();
    let table = [
        ("v2", layout.tar(), digests.join(", "), "1.0", 3),
        ("saved", saved, plain_digest.to_string(), "1.0", 2),
        ("v1", export.tar(), base_id, "latest", 2),
    ];
    for (what, source, masks, tag, layers) in table {
        for masked_first in [true, false] {
            let sandbox = Sandbox::new();
            let path = sandbox.write("app.tar", &source);
            let push = |masked: bool| {
                let masks = if masked { format!("mask_layers = {masks}\n") } else { String::new() };
                sandbox.write("raas.cfg", format!("[redhat]\nlayer_url = {}\n{masks}", cdn.url("/ubi9")));
                sandbox.json(&["push", "acme", "app", "--from", &path, "--json"])
            };
            push(masked_first);
            let server = sandbox.serve(&[]);
            let client = Client::new(server.address);
            let before = client.pull("app", tag);
            let stored = sandbox.files("acme/bucket");
            let report = push(!masked_first);
            assert_eq!(report["masked_layers"].as_array().unwrap().is_empty(), masked_first, "{what}");
            assert_eq!(report["changed"], true, "{what}");
            let after = client.pull("app", tag);
            assert_eq!(after["linux/amd64"].layers, before["linux/amd64"].layers, "{what}");
            assert_eq!(after["linux/amd64"].layers.len(), layers, "{what}");
            let now = sandbox.files("acme/bucket");
            assert!(stored.iter().all(|key| now.contains(key)), "{what}: nothing that was stored is removed");
            let elsewhere = sandbox.json(&["list", "acme", "--json"]);
            let elsewhere = &elsewhere["vendors"][0]["repositories"][0]["tags"][0]["size_elsewhere"];
            assert_eq!(elsewhere.as_u64().unwrap() == 0, masked_first, "{what}: {elsewhere}");
            let status = sandbox.json(&["status", "acme", "--federation", "--json"]);
            assert_eq!(status["healthy"], true, "{what}: {status:#}");
            if what == "v1" {
                let answer = client.get(&format!("/v1/images/{masks}/layer"));
                assert_eq!(answer.status == 302, !masked_first, "{}", answer.status);
            }
            // Back to the first configuration.
            push(masked_first);
            assert_eq!(client.pull("app", tag)["linux/amd64"].layers, before["linux/amd64"].layers, "{what}");
        }
    }
}
