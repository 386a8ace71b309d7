//! The access log. This test is a program of its own because a subscriber of the log is global.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_server::{Bucket, Metadata, Options, SiteConfig, serve};
use raas_types::access::{Customer, CustomerKey, SecretHash};
use raas_types::{Digest, Utc};
use tokio::sync::oneshot;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn each_request_has_one_log_line_without_its_query() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().json().with_writer(move || writer.clone()).init();
    let folder = tempfile::tempdir().unwrap();
    let digest = publish(folder.path());
    let root = folder.path().to_owned();
    let site = SiteConfig::new("acme".parse().unwrap(), Metadata::Folder(root.clone()), Bucket::Folder(root));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        let options = Options { trusted_proxies, ..Options::default() };
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            serve(listener, vec![site], options, async { drop(stopped.await) }).await
        })
    });
    for request in [
        "GET /-/healthz?token=secret HTTP/1.1\r\nhost: acme.localhost\r\nuser-agent: \"quoted\"\r\n",
        "HEAD /v2/%0a HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.9, 192.0.2.1\r\n",
        "GET /v2/app/manifests/1.0 HTTP/1.1\r\nhost: x\r\n",
        &format!("GET /v2/app/manifests/{digest} HTTP/1.1\r\nhost: x\r\n"),
        "GET /v2/app/tags/list HTTP/1.1\r\nhost: x\r\n",
        &format!("GET /v2/app/tags/list HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n", login()),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{request}connection: close\r\n\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    // The server prepares the answer to the second one, and sends it again.
    let mut stream = TcpStream::connect(address).unwrap();
    for _ in 0..REPEATED {
        stream
            .write_all(b"GET /v2/app/manifests/1.0 HTTP/1.1\r\nhost: x\r\nuser-agent: many\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(MANIFEST) {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..length]);
        }
    }
    let remote = stream.local_addr().unwrap().to_string();
    drop(stream);
    drop(stop);
    server.join().unwrap().unwrap();

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let access: Vec<_> =
        lines.iter().filter(|line| line["target"] == "access").map(|line| &line["fields"]).collect();
    let [first, second, tag, by_digest, tags, of_customer, repeated @ ..] = access.as_slice() else {
        panic!("six lines and more: {text}")
    };
    let digest = digest.to_string();
    assert_eq!(repeated.len(), REPEATED);
    for line in repeated {
        let found = ["method", "host", "path", "user_agent", "vendor", "kind", "tag", "digest", "remote"];
        let path = "/v2/app/manifests/1.0";
        let expected = ["GET", "x", path, "many", "acme", "manifest", "1.0", &digest, &remote];
        assert_eq!(found.map(|key| line[key].as_str().unwrap_or("-")), expected);
        assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &MANIFEST.len().into()));
        assert!(line["ms"].is_number());
    }
    assert_eq!((&of_customer["customer"], &of_customer["customer_key"]), (&"bigbank".into(), &"ci".into()));
    assert!(tags.get("customer").is_none(), "{tags}");
    assert_eq!(first["method"], "GET");
    assert_eq!(first["host"], "acme.localhost");
    assert_eq!(first["path"], "/-/healthz");
    assert_eq!((&first["status"], &first["bytes"]), (&200.into(), &3.into()));
    assert_eq!(first["user_agent"], "\"quoted\"");
    assert!(first["ms"].is_number() && first["remote"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(second["remote"], "192.0.2.1", "the address that a trusted proxy names");
    assert_eq!(
        (&second["status"], &second["bytes"], &second["user_agent"]),
        (&400.into(), &0.into(), &"-".into())
    );
    assert!(first.get("vendor").is_none() && second.get("kind").is_none(), "{text}");
    for (line, expected) in [
        (tag, ["manifest", "1.0", "-", &digest]),
        (by_digest, ["manifest", "-", "1.0", &digest]),
        (tags, ["tags", "-", "-", "-"]),
    ] {
        assert_eq!((&line["vendor"], &line["repository"]), (&"acme".into(), &"app".into()));
        let found = ["kind", "tag", "tags", "digest"].map(|key| line[key].as_str().unwrap_or("-"));
        assert_eq!(found, expected);
    }
}

/// Requests that are the same.
const REPEATED: usize = 5;

const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;

const SECRET: &str = "raas_secret";

/// The header of a customer's login.
fn login() -> String {
    format!("Basic {}", STANDARD.encode(format!("bigbank:{SECRET}")))
}

/// A repository with one tag, and that tag's manifest.
fn publish(folder: &std::path::Path) -> Digest {
    let digest = Digest::of(MANIFEST);
    let document = serde_json::json!({
        "type": "pulp-docker-redirect", "version": 4, "repository": "acme-app", "repo-registry-id": "app",
        "url": "https://x/", "protected": false, "schema2_data": [], "manifest_list_data": [],
        "manifest_list_amd64_tags": {},
        "raas": {
            "tags": {"1.0": digest}, "blobs": {},
            "manifests": {digest.to_string(): {"media_type": "application/vnd.x+json", "size": MANIFEST.len()}},
        },
    });
    let manifests = folder.join("crane/data/app/_manifests/sha256");
    std::fs::create_dir_all(&manifests).unwrap();
    std::fs::write(manifests.join(digest.hex()), MANIFEST).unwrap();
    std::fs::write(folder.join("crane/data/app.json"), document.to_string()).unwrap();
    let mut customer = Customer::new(Vec::new());
    let key = CustomerKey::new(SecretHash::of(SECRET), Utc::from_unix(0), None);
    customer.keys.insert("ci".parse().unwrap(), key);
    std::fs::create_dir_all(folder.join("crane/data/_access/customers")).unwrap();
    std::fs::write(folder.join("crane/data/_access/customers/bigbank"), customer.to_bytes()).unwrap();
    std::fs::write(folder.join("revision"), "one\n").unwrap();
    digest
}
