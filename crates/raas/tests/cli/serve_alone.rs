//! `raas serve --metadata`: stateless servers.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use raas_testkit::Snapshot;
use raas_testkit::http;
use raas_testkit::pulp2::Export;
use raas_testkit::snapshot::TreeFiles;

use crate::client::Client;
use crate::sandbox::Sandbox;

/// A home with a published image.
fn published() -> Sandbox {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    sandbox
}

/// Puts a vendor's metadata into its bucket, as a push to S3 does.
fn snapshot(vendor: &Path) -> String {
    let checkout = vendor.join("checkout");
    let mut files = TreeFiles::new();
    add(&mut files, &checkout, "crane/data");
    let revision = fs::read_to_string(checkout.join("revision")).unwrap();
    let snapshot = Snapshot::of(revision.trim(), &files, 2);
    for (key, bytes) in snapshot.objects() {
        let path = vendor.join("bucket").join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    snapshot.pointer.revision
}

fn add(files: &mut TreeFiles, root: &Path, folder: &str) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let path = format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap());
        if root.join(&path).is_dir() {
            add(files, root, &path);
        } else {
            let bytes = fs::read(root.join(&path)).unwrap();
            files.push((path, bytes));
        }
    }
}

#[test]
fn a_healthcheck_asks_the_server_and_ends_with_0_or_1() {
    let sandbox = published();
    let checkout = sandbox.home().join("acme/checkout");
    let bucket = sandbox.home().join("acme/bucket");
    let server = sandbox.serve_alone(&[
        "acme",
        "--metadata",
        checkout.to_str().unwrap(),
        "--bucket",
        bucket.to_str().unwrap(),
    ]);
    let address = server.address.to_string();
    assert_eq!(sandbox.ok(&["healthcheck", &address]), "ok\n");
    assert_eq!(sandbox.ok(&["healthcheck", "--ready", &address]), "ok\n");
    // The port alone, and the address of the environment, with every address for this machine's.
    assert_eq!(sandbox.ok(&["healthcheck", &server.address.port().to_string()]), "ok\n");
    let mut command = sandbox.command(&["healthcheck"]);
    let output = command.env("RAAS_LISTEN", format!("0.0.0.0:{}", server.address.port())).output().unwrap();
    assert_eq!(crate::sandbox::succeeded(&output), "ok\n");
    drop(server);
    let output = sandbox.run(&["healthcheck", &address]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.starts_with(&format!("the server on {address} is not alive: ")), "{error}");
}

#[test]
fn a_folder_of_metadata_and_a_folder_of_objects_are_enough() {
    let sandbox = published();
    let vendor = sandbox.home().join("acme");
    let (metadata, bucket) = (vendor.join("checkout"), vendor.join("bucket"));
    let other = Sandbox::new();
    let of = |vendor: &str, folder: &Path| format!("{vendor}={}", folder.display());
    let server = other.serve_alone(&[
        "--metadata",
        &of("acme", &metadata),
        "--bucket",
        &of("acme", &bucket),
        "--metadata",
        &of("empty", other.path("nothing").as_ref()),
        "--bucket",
        &of("empty", &bucket),
    ]);
    Client::of(server.address, "acme.localhost").pull("app", "latest");
    assert_eq!(Client::of(server.address, "empty.localhost").get("/v2/app/manifests/latest").status, 404);
    assert!(!other.home().exists(), "a stateless server makes no home");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_bucket_behind_a_url_serves_metadata_and_objects() {
    let sandbox = published();
    let vendor = sandbox.home().join("acme");
    let bucket = http::Server::folder(&vendor.join("bucket"));
    let revision = snapshot(&vendor);
    let other = Sandbox::new();
    for access in ["public", "proxy"] {
        let server = other.serve_alone(&["acme", "--metadata", &bucket.url(""), "--access", access]);
        let client = Client::of(server.address, "registry.acme.example");
        assert_eq!(String::from_utf8(client.get("/-/revision").body).unwrap(), revision);
        let image = client.pull("app", "latest");
        let manifest = client.get("/v2/app/manifests/latest").json();
        let digest = manifest["layers"][0]["digest"].as_str().unwrap();
        let blob = client.get(&format!("/v2/app/blobs/{digest}"));
        assert_eq!(blob.status, if access == "proxy" { 200 } else { 307 });
        assert_eq!(image["linux/amd64"].layers.len(), 2);
    }
    // The server follows later publications.
    let server = other.serve_alone(&["acme", "--metadata", &bucket.url("")]);
    let path = sandbox.write("other.tar", Export::chain("other", 2).tar());
    sandbox.ok(&["push", "acme", "other", "--from", &path]);
    snapshot(&vendor);
    let begun = Instant::now();
    let client = Client::new(server.address);
    while client.tags("other") != ["latest"] {
        assert!(begun.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn metrics_have_a_port_of_their_own() {
    let sandbox = published();
    let vendor = sandbox.home().join("acme");
    // This port was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (metadata, bucket) = (vendor.join("checkout"), vendor.join("bucket"));
    let server = sandbox.serve_alone(&[
        "acme",
        "--metadata",
        metadata.to_str().unwrap(),
        "--bucket",
        bucket.to_str().unwrap(),
        "--metrics",
        &port.to_string(),
    ]);
    Client::new(server.address).pull("app", "latest");
    let told = String::from_utf8(Client::new(port).get("/metrics").body).unwrap();
    let line = r#"raas_pulls_total{vendor="acme",repository="app",tag="latest"} 1"#;
    assert!(told.lines().any(|l| l == line), "{told}");
}

#[test]
fn redirects_to_a_private_bucket_are_signed_with_the_key_of_the_environment() {
    let sandbox = published();
    let metadata = sandbox.home().join("acme/checkout");
    let arguments = ["acme", "--metadata", metadata.to_str().unwrap(), "--bucket", "s3://acme-images/x"];
    let blob = |client: &Client| {
        let manifest = client.get("/v2/app/manifests/latest").json();
        client.get(&format!("/v2/app/blobs/{}", manifest["layers"][0]["digest"].as_str().unwrap()))
    };
    sandbox.write(
        "raas.cfg",
        "[aws]\naws_access_key_id = KEY\naws_secret_access_key = top\nregion = eu-west-1\n",
    );
    let server = sandbox.serve_alone(&arguments);
    let answer = blob(&Client::new(server.address));
    let location = &answer.headers["location"];
    let begin = "https://acme-images.s3.eu-west-1.amazonaws.com/x/app/_v2/blobs/sha256%3A";
    assert_eq!(answer.status, 307);
    assert!(location.starts_with(begin) && location.contains("X-Amz-Credential=KEY%2F"), "{location}");
    assert!(!location.contains("top"));
    drop(server);
    fs::remove_file(sandbox.path("raas.cfg")).unwrap();
    let server = sandbox.serve_alone(&arguments);
    let answer = blob(&Client::new(server.address));
    assert_eq!(answer.status, 503, "without a key the server cannot sign and answers 503");
}

#[test]
fn contradictory_arguments_are_rejected_before_the_server_starts() {
    let sandbox = Sandbox::new();
    let table: [(&[&str], &str); 13] = [
        (&["a", "--metadata", "m", "--bucket", "b", "--tls-key", "k"], "--tls-certificate"),
        (&["--metadata", "m"], "needs the name of its vendor"),
        (&["a", "b", "--metadata", "m"], "needs the name of its vendor"),
        (&["a", "--metadata", "m"], "--bucket"),
        (&["a", "b", "--metadata", "a=m", "--bucket", "b"], "the metadata of b has no known location"),
        (&["--from-config"], "no vendor of the configuration"),
        (&["--crane-config", "none.conf"], "none.conf"),
        (&["a", "b", "--crane-config", "none.conf"], "serves one vendor"),
        (&["--from-config", "--metadata", "a=m"], "cannot be used with"),
        (&["a", "--metadata", "ftp://x"], "s3://BUCKET"),
        (&["a", "--bucket", "b"], "--metadata"),
        (&["a", "--metadata", "s3://b", "--access", "cdn"], "cdn_url"),
        (&["a", "--metadata", "s3://a?b"], "name of a bucket"),
    ];
    for (arguments, message) in table {
        let failure = sandbox.fails(2, &[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        assert!(failure.contains(message), "{arguments:?}: {failure}");
    }
}

#[test]
fn a_crane_is_replaced_with_its_own_configuration() {
    let sandbox = Sandbox::new();
    let id = "a".repeat(64);
    let common = r#""type":"pulp-docker-redirect","repository":"app","repo-registry-id":"app","url":"http://pulp.example.com/app/""#;
    let v1 = format!(r#"{{{common},"version":1,"images":[{{"id":"{id}"}}],"tags":{{"latest":"{id}"}}}}"#);
    sandbox.write("v1.json", v1);
    sandbox.write("v2.json", format!(r#"{{{common},"version":2}}"#));
    let conf = format!(
        "[general]\ndata_dir: {}\nendpoint: registry.example.com\n[cdn]\nurl_match: http://pulp\nurl_replace: https://cdn\n\
         url_auth_secret: abc123\n[solr]\nurl: https://solr/?q={{0}}\n",
        Path::new(&sandbox.path("v1.json")).parent().unwrap().display()
    );
    let path = sandbox.write("crane.conf", conf);
    let server = sandbox.serve_alone(&["--crane-config", &path]);
    let client = Client::new(server.address);
    assert_eq!(
        client.get("/v1/repositories/app/images").headers["x-docker-endpoints"],
        "registry.example.com"
    );
    let tags = client.get("/v2/app/tags/list");
    let location = &tags.headers["location"];
    assert!(location.starts_with("https://cdn.example.com/app/tags/list?_auth_=exp="), "{location}");
    assert_eq!(tags.status, 307);
    assert!(!sandbox.home().exists());
}

#[test]
fn a_replica_with_users_and_without_a_token_key_is_a_warning() {
    let sandbox = published();
    let vendor = sandbox.home().join("acme");
    let (metadata, bucket) = (vendor.join("checkout"), vendor.join("bucket"));
    let users = sandbox.write("users", "");
    let key = sandbox.write("key", "0123456789abcdef".repeat(4));
    let place = ["acme", "--metadata", metadata.to_str().unwrap(), "--bucket", bucket.to_str().unwrap()];
    let warned = |more: &[&str]| {
        sandbox.serve_alone(&[&place, more].concat()).stop_and_log().contains("no --token-key")
    };
    assert!(warned(&["--htpasswd", &users]));
    assert!(!warned(&["--htpasswd", &users, "--token-key", &key]));
    assert!(!warned(&[]));
}
