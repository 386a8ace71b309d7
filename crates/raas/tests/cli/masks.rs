//! Masked layers, which the operator serves.

use raas_testkit::layers::{Pack, gzip, layer};
use raas_testkit::oci::Layout;
use raas_testkit::pulp2::Export;
use raas_testkit::{fixtures, http};

use crate::client::Client;
use crate::sandbox::Sandbox;

const MASKED: &str = "e1f5733f050b2488a17b7630cb038bfbea8b7bdfa9bdfb99e63a33117e28d02f";

fn brief(sandbox: &Sandbox, configuration: &str) -> String {
    sandbox.write("raas.cfg", configuration);
    fixtures::pulp2().to_str().unwrap().to_owned()
}

/// The files of the masked image at the operator's CDN.
fn cdn() -> http::Server {
    let mut archive = tar::Archive::new(std::fs::File::open(fixtures::pulp2()).unwrap());
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        if let Some(file) = path.strip_prefix(&format!("web/{MASKED}/")) {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            files.push((format!("/rhel7/{MASKED}/{file}"), bytes));
        }
    }
    assert_eq!(files.len(), 3);
    http::Server::of(files)
}

#[test]
fn a_push_of_a_masked_docker_v1_image_prints_the_expected_lines() {
    let sandbox = Sandbox::new();
    let cdn = cdn();
    let archive =
        brief(&sandbox, &format!("[redhat]\nmask_layers = {MASKED}\nlayer_url = {}\n", cdn.url("/rhel7/")));
    sandbox.ok(&["setup", "bigdatainc"]);
    let server = sandbox.serve(&[]);
    let output = sandbox.run(&["push", "bigdatainc", "bigdata-app", "--from", &archive]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("Skipping layer {MASKED}")), "{said}");
    let stored = sandbox.files("bigdatainc/bucket");
    let v1: Vec<&String> = stored.iter().filter(|key| !key.contains("/_v2/")).collect();
    assert_eq!(v1.len(), 18, "six layers of three files: {v1:?}");
    assert!(!stored.iter().any(|key| key.contains(MASKED)));

    let egress = &sandbox.json(&["status", "bigdatainc", "--egress", "--json"])["vendors"][0];
    let (registry, elsewhere) = (server.address.to_string(), cdn.address().to_string());
    let mut hosts = [
        serde_json::json!({"host": registry, "uses": ["configs and layers", "manifests"]}),
        serde_json::json!({"host": elsewhere, "uses": ["layers elsewhere"]}),
    ];
    hosts.sort_by_key(|host| host["host"].as_str().unwrap().to_owned());
    assert_eq!(egress["hosts"], serde_json::json!(hosts));
    let image = &egress["images"][0];
    assert_eq!((&image["repository"], &image["tag"]), (&"bigdata-app".into(), &"latest".into()));
    let from = |host: &str| {
        let hosts = image["hosts"].as_array().unwrap();
        hosts.iter().find(|share| share["host"] == host).unwrap()["size"].as_u64().unwrap()
    };
    assert_eq!(image["size"], from(&registry) + from(&elsewhere));
    let told = sandbox.ok(&["status", "--egress", "--federation"]);
    assert!(told.contains(&format!("from {elsewhere}\n")) && told.starts_with("bigdatainc\n"), "{told}");

    let client = Client::new(server.address);
    let pulled = client.pull("bigdata-app", "latest");
    assert_eq!(pulled["linux/amd64"].layers.len(), 7);
    assert_eq!(
        cdn.count("GET", &format!("/rhel7/{MASKED}/layer")),
        2,
        "asked for above, and today's clients are sent there"
    );
    for file in ["layer", "json", "ancestry"] {
        let answer = client.get(&format!("/v1/images/{MASKED}/{file}"));
        assert_eq!(
            (answer.status, &answer.headers["location"]),
            (302, &cdn.url(&format!("/rhel7/{MASKED}/{file}")))
        );
    }
    let status = sandbox.json(&["status", "bigdatainc", "--json"]);
    assert_eq!(status["healthy"], true, "{status:#}");
    let again = sandbox.json(&["push", "bigdatainc", "bigdata-app", "--from", &archive, "--json"]);
    assert_eq!((&again["stored"]["objects"], &again["changed"]), (&0.into(), &false.into()));
}

/// The configuration of the original tool has no `layer_url`: the export itself says where its layers are.
#[test]
fn the_transcript_of_the_original_tool_runs_with_its_own_configuration() {
    let sandbox = Sandbox::new();
    let archive = brief(&sandbox, include_str!("../../../../fixtures/raas.cfg"));
    std::fs::copy(archive, sandbox.path("bigdata-app.tar")).unwrap();
    let output = sandbox.run(&["push", "bigdatainc", "bigdata-app"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let location = format!("https://pulp.example.com/pulp/docker/bigdata-app/{MASKED}/layer");
    assert!(
        said.contains(&format!("Skipping layer {MASKED} (masked: it is served from {location})")),
        "{said}"
    );
    assert!(!sandbox.files("bigdatainc/bucket").iter().any(|key| key.contains(MASKED)));
}

/// An export whose own URL no client can follow.
fn export_without_url() -> Vec<u8> {
    let mut export = Export::chain("app", 2);
    export.url = "file:///var/lib/pulp/app/".to_owned();
    export.tar()
}

#[test]
fn a_masked_layer_without_a_location_rejects_the_push() {
    let sandbox = Sandbox::new();
    let base = Export::chain("app", 2).id(0);
    sandbox.write("raas.cfg", format!("[redhat]\nmask_layers = {base}\n"));
    let path = sandbox.write("app.tar", export_without_url());
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &path]);
    assert!(failure.contains(&base) && failure.contains("layer_url"), "{failure}");
    assert!(failure.contains("masked_without_location = warn"), "{failure}");
    assert_eq!(sandbox.files("acme/bucket"), Vec::<String>::new());
    assert_eq!(sandbox.commits("acme"), 0);
}

#[test]
fn a_masked_layer_without_a_location_can_be_published_with_a_warning() {
    let sandbox = Sandbox::new();
    let base = Export::chain("app", 2).id(0);
    let configuration = format!("[redhat]\nmask_layers = {base}\n");
    sandbox.write("raas.cfg", format!("{configuration}masked_without_location = warn\n"));
    let path = sandbox.write("app.tar", export_without_url());
    let push = ["push", "acme", "app", "--from", &path];
    let output = sandbox.command(&push).env_remove("RAAS_OFFLINE").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let warning =
        "Warning: 1 of 1 masked layers are not at their locations, so clients cannot pull the image";
    assert!(said.contains(warning) && said.contains("set `layer_url` in [redhat]"), "{said}");
    // The Docker v1 metadata is published, and clients are sent nowhere.
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    assert_eq!(client.get("/v1/repositories/app/tags").status, 200);
    let answer = client.get(&format!("/v1/images/{base}/layer"));
    assert!(answer.headers["location"].starts_with("https://layer-url-is-not-set.invalid/"));
    // With the location, the same push makes the image whole.
    sandbox.write("raas.cfg", format!("{configuration}layer_url = https://cdn.example.com/rhel\n"));
    sandbox.ok(&push);
    let answer = client.get(&format!("/v1/images/{base}/layer"));
    assert_eq!(answer.headers["location"], format!("https://cdn.example.com/rhel/{base}/layer"));
}

#[test]
fn masked_layers_are_asked_for_at_push_and_the_outcome_is_shown() {
    let sandbox = Sandbox::new();
    let cdn = cdn();
    let archive =
        brief(&sandbox, &format!("[redhat]\nmask_layers = {MASKED}\nlayer_url = {}\n", cdn.url("/rhel7/")));
    let push = |name: &str, more: &[&str]| {
        let arguments =
            [&["push", "bigdatainc", name, "--repository", "bigdata-app", "--from", &archive], more];
        let output = sandbox.command(&arguments.concat()).env_remove("RAAS_OFFLINE").output().unwrap();
        assert!(output.status.success());
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (_, said) = push("one", &[]);
    assert!(said.contains("All masked layers are at their locations (1 asked)"), "{said}");
    let path = format!("/rhel7/{MASKED}/layer");
    assert_eq!((cdn.count("HEAD", &path), cdn.count("GET", &path)), (1, 0));
    push("two", &["--offline"]);
    assert_eq!(cdn.count("HEAD", &path), 1);
    // A layer that is not there is no reason to refuse the image: the operator may open the location later.
    sandbox
        .write("raas.cfg", format!("[redhat]\nmask_layers = {MASKED}\nlayer_url = {}\n", cdn.url("/other")));
    let (_, said) = push("three", &[]);
    assert!(said.contains("Warning: 1 of 1 masked layers are not at their locations"), "{said}");
    assert!(
        said.contains(&format!("{}: it answers 404", cdn.url(&format!("/other/{MASKED}/layer")))),
        "{said}"
    );
    let (out, _) = push("three", &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["masked_layers"][0]["presence"], "missing");
}

#[test]
fn the_operators_documents_mask_their_layers() {
    let sandbox = Sandbox::new();
    let document = format!(
        r#"{{"type": "pulp-docker-redirect", "version": 1, "repository": "rhel7", "repo-registry-id": "rhel7",
            "url": "https://cdn.example.com/rhel7/", "images": [{{"id": "{MASKED}"}}], "tags": {{"latest": "{MASKED}"}}}}"#
    );
    sandbox.write("operator/rhel7.json", document);
    let archive = brief(&sandbox, "[redhat]\nmetadata = operator\n");
    let report = sandbox.json(&["push", "bigdatainc", "bigdata-app", "--from", &archive, "--json"]);
    assert_eq!(report["masked_layers"][0]["digest"], MASKED);
    assert_eq!(
        report["masked_layers"][0]["location"],
        format!("https://cdn.example.com/rhel7/{MASKED}/layer")
    );
}

#[test]
fn a_masked_layer_of_an_oci_image_is_served_from_its_location() {
    let sandbox = Sandbox::new();
    let mut layout = Layout::new();
    let layers =
        [layout.layer(&[("base", b"base")], Pack::Gzip), layout.layer(&[("app", b"app")], Pack::Gzip)];
    let base = layers[0].descriptor.digest;
    let image = layout.image("arm64", &layers);
    layout.tag(&image, "1.0");
    // The source does not need to have the layer.
    layout.remove(&base);
    let path = sandbox.write("app.tar", layout.tar());
    let cdn = http::Server::of([(format!("/v2/base/blobs/{base}"), gzip(&layer(&[("base", b"base")])))]);
    let unmasked = sandbox.fails(3, &["push", "acme", "app", "--from", &path]);
    assert!(unmasked.contains(&base.to_string()), "{unmasked}");
    sandbox
        .write("raas.cfg", format!("[redhat]\nmask_layers = {base}\nlayer_url = {}\n", cdn.url("/v2/base")));
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let server = sandbox.serve(&[]);
    let pulled = Client::new(server.address).pull("app", "1.0");
    assert_eq!(pulled["linux/arm64"].layers.len(), 2);
    assert_eq!(cdn.count("GET", &format!("/v2/base/blobs/{base}")), 1);
    assert!(!sandbox.files("acme/bucket").iter().any(|key| key.contains(&base.to_string())));
}

#[test]
fn a_masked_layer_that_the_source_lacks_is_downloaded_once() {
    let sandbox = Sandbox::new();
    let cdn = cdn();
    let archive = sandbox.path("hole.tar");
    let mut whole = tar::Archive::new(std::fs::File::open(fixtures::pulp2()).unwrap());
    let mut with_hole = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    for entry in whole.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header().clone();
        if !entry.path().unwrap().to_str().unwrap().contains(MASKED) {
            with_hole.append(&header, entry).unwrap();
        }
    }
    with_hole.finish().unwrap();
    brief(&sandbox, &format!("[redhat]\nmask_layers = {MASKED}\nlayer_url = {}\n", cdn.url("/rhel7")));
    sandbox.ok(&["push", "bigdatainc", "bigdata-app", "--from", archive.to_str().unwrap()]);
    assert_eq!(cdn.count("GET", &format!("/rhel7/{MASKED}/layer")), 1);
    let server = sandbox.serve(&[]);
    let with_hole = Client::new(server.address).pull("bigdata-app", "latest");
    let other = Sandbox::new();
    other.ok(&["push", "bigdatainc", "bigdata-app", "--from", fixtures::pulp2().to_str().unwrap()]);
    let server = other.serve(&[]);
    assert_eq!(
        Client::new(server.address).pull("bigdata-app", "latest")["linux/amd64"].layers,
        with_hole["linux/amd64"].layers
    );
}
