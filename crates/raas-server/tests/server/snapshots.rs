//! Metadata in a bucket. The headings are those of `docs/request-handling.md`, "Metadata in a bucket".

use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use raas_server::{BaseUrl, Bucket, Metadata, Options, Origin, SiteConfig};
use raas_types::crane::tree;
use raas_types::media_type::DOCKER_MANIFEST;
use raas_types::{Digest, ObjectKey, Pointer};

use crate::buckets::{open, with_key};
use crate::support::{Published, Server, soon};
use crate::upstream::{Fault, Upstream};

const POINTER: &str = "/acme/images/_metadata/current";

fn app(version: &str) -> Published {
    let mut app = Published::new("app");
    let digest = app.image(DOCKER_MANIFEST, version, "");
    app.tag("latest", digest);
    app
}

fn files(published: &Published) -> Vec<(String, Vec<u8>)> {
    let manifests = published.manifest_digests();
    let manifests = manifests.map(|d| (tree::manifest(&published.name, d), published.bytes(d).to_owned()));
    manifests.chain([(tree::document(&published.name), published.document(false))]).collect()
}

fn archive(revision: &str, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let revision = [(tree::REVISION.to_owned(), revision.as_bytes().to_owned())];
    for (path, bytes) in files.iter().chain(&revision) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn path(digest: Digest) -> String {
    format!("/acme/images/{}", ObjectKey::Snapshot(digest))
}

fn pointer(revision: &str, archive: &[u8]) -> Pointer {
    Pointer {
        digest: Digest::of(archive),
        size: archive.len() as u64,
        revision: revision.into(),
        sequence: 1,
        published: "2026-01-01T00:00:00Z".into(),
    }
}

/// Publishes; gives the archive's path.
fn publish(upstream: &Upstream, revision: &str, files: &[(String, Vec<u8>)]) -> String {
    let archive = archive(revision, files);
    let pointer = pointer(revision, &archive);
    upstream.set(&path(pointer.digest), &archive);
    upstream.set(POINTER, &pointer.to_bytes());
    path(pointer.digest)
}

fn server(origin: Origin) -> Server {
    let site = SiteConfig {
        vendor: "acme".parse().unwrap(),
        metadata: Metadata::Snapshots(origin.clone()),
        bucket: Bucket::Redirect(origin),
        users: None,
        issuer: None,
        client_ca: None,
    };
    let options = Options {
        poll: Duration::from_millis(20),
        remote_poll: Duration::from_millis(50),
        patience: Duration::from_secs(5),
        ..Options::default()
    };
    Server::start_with(vec![site], options)
}

fn serves(server: &Server, app: &Published) -> bool {
    server.get("/v2/app/manifests/latest").body == app.bytes(app.manifest_digests().next().unwrap())
}

#[test]
fn publications_in_a_bucket_are_served_by_any_server() {
    for private in [true, false] {
        let upstream = Upstream::start(private);
        publish(&upstream, "aa11", &files(&app("1")));
        let origin = if private { with_key(&upstream) } else { open(&upstream) };
        let servers = [server(origin.clone()), server(origin)];
        for server in &servers {
            assert!(serves(server, &app("1")), "it is loaded before the first answer");
            assert_eq!(server.get("/-/revision").text(), "aa11");
            assert_eq!(server.get("/-/readyz").text(), "ok\n");
        }
        publish(&upstream, "bb22", &files(&app("2")));
        for server in &servers {
            assert!(soon(|| server.get("/-/revision").text() == "bb22"));
            assert!(serves(server, &app("2")));
        }
    }
}

#[test]
fn a_pointer_that_did_not_change_costs_an_empty_answer() {
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    let server = server(with_key(&upstream));
    assert!(soon(|| upstream.statuses().ends_with(&[304, 304, 304])));
    assert_eq!(upstream.statuses().iter().filter(|status| **status == 200).count(), 2);
    assert!(serves(&server, &app("1")));
}

#[test]
fn nothing_that_is_not_whole_is_taken_and_the_last_good_one_stays() {
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    let server = server(with_key(&upstream));
    let two = archive("bb22", &files(&app("2")));
    let said = |revision: &str, bytes: &[u8]| pointer(revision, bytes).to_bytes();
    let mut tampered = two.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let half = &two[..two.len() / 2];
    let escape = archive("bb22", &[("crane/other.json".into(), b"{}".to_vec())]);
    let mut long = pointer("bb22", &two);
    long.size = Pointer::MAX_ARCHIVE + 1;
    let mut short = pointer("bb22", &two);
    short.size -= 1;
    let at = path(Digest::of(&two));
    type Case<'a> = (&'a str, Vec<u8>, String, Option<&'a [u8]>);
    // The pointer, the archive's path, and the archive.
    let cases: Vec<Case<'_>> = vec![
        ("no archive", said("bb22", &two), at.clone(), None),
        ("tampered", said("bb22", &two), at.clone(), Some(&tampered)),
        ("half-written", said("bb22", &two), at.clone(), Some(half)),
        ("half of it named", said("bb22", half), path(Digest::of(half)), Some(half)),
        ("another revision", said("cc33", &two), at.clone(), Some(&two)),
        ("a foreign path", said("bb22", &escape), path(Digest::of(&escape)), Some(&escape)),
        ("too long", long.to_bytes(), at.clone(), Some(&two)),
        ("longer than said", short.to_bytes(), at.clone(), Some(&two)),
        ("no pointer at all", b"{".to_vec(), at.clone(), Some(&two)),
        ("a pointer without end", vec![b' '; 20_000], at, Some(&two)),
    ];
    let refusals = |server: &Server| -> u64 {
        let text = server.get("/-/readyz").text().to_owned();
        text.lines()
            .nth(1)
            .map_or(0, |line| line.split(", ").nth(2).unwrap().split(' ').next().unwrap().parse().unwrap())
    };
    for (what, pointer, at, archive) in cases {
        let before = refusals(&server);
        match archive {
            Some(archive) => upstream.set(&at, archive),
            None => upstream.remove(&at),
        }
        upstream.set(POINTER, &pointer);
        assert!(soon(|| refusals(&server) > before), "{what}");
        assert!(serves(&server, &app("1")), "{what}");
        assert_eq!(server.get("/-/revision").text(), "aa11", "{what}");
        assert!(server.get("/-/readyz").text().contains("1 behind"), "{what}");
        // And it is taken as soon as it is whole, after which the first one is again.
        publish(&upstream, "bb22", &files(&app("2")));
        assert!(soon(|| serves(&server, &app("2"))), "{what}");
        publish(&upstream, "aa11", &files(&app("1")));
        assert!(soon(|| serves(&server, &app("1"))), "{what}");
    }
    upstream.remove(POINTER);
    assert!(soon(|| server.get("/-/readyz").text().contains("1 behind")));
    assert!(serves(&server, &app("1")));
    publish(&upstream, "aa11", &files(&app("1")));
    assert!(soon(|| server.get("/-/readyz").text().contains("0 behind")));
    upstream.fail(POINTER, Fault::Status(403), 2);
    assert!(soon(|| server.get("/-/readyz").text().contains("1 behind")));
    assert!(soon(|| server.get("/-/readyz").text().contains("0 behind")));
}

#[test]
fn a_document_that_does_not_load_goes_on_as_it_last_loaded() {
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    let server = server(with_key(&upstream));
    let mut other = Published::new("other");
    let digest = other.image(DOCKER_MANIFEST, "other", "");
    other.tag("latest", digest);
    // Without its manifest, which the server has from before, and without one that it has not.
    let mut all = files(&other);
    all.extend([(tree::document(&app("2").name), app("2").document(false))]);
    publish(&upstream, "bb22", &all);
    assert!(soon(|| server.get("/-/revision").text() == "bb22"));
    assert!(serves(&server, &app("1")));
    assert_eq!(server.get("/v2/other/manifests/latest").status, 200);
    publish(&upstream, "cc33", &files(&other));
    assert!(soon(|| server.get("/v2/app/manifests/latest").status == 404));
}

#[test]
fn a_bucket_without_a_pointer_is_an_empty_registry() {
    let upstream = Upstream::start(true);
    let server = server(with_key(&upstream));
    assert_eq!(server.get("/v2/").status, 200);
    assert_eq!(server.get("/v2/_catalog").text(), r#"{"repositories":[]}"#);
    publish(&upstream, "aa11", &files(&app("1")));
    assert!(soon(|| serves(&server, &app("1"))));
}

#[test]
fn what_was_never_loaded_is_not_said_to_be_unknown() {
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    upstream.fail(POINTER, Fault::Status(403), 3);
    let origin = with_key(&upstream);
    let site = SiteConfig {
        vendor: "acme".parse().unwrap(),
        metadata: Metadata::Snapshots(origin.clone()),
        bucket: Bucket::Redirect(origin),
        users: None,
        issuer: None,
        client_ca: None,
    };
    let options = Options {
        poll: Duration::from_millis(20),
        remote_poll: Duration::from_millis(50),
        patience: Duration::from_millis(100),
        ..Options::default()
    };
    let server = Server::start_unready(vec![site], options);
    for path in ["/-/readyz", "/v2/", "/v2/app/manifests/latest", "/v1/_ping", "/"] {
        assert_eq!(server.get(path).status, 503, "{path}");
    }
    assert_eq!(server.get("/-/healthz").status, 200);
    let loaded = || serves(&server, &app("1"));
    assert!(soon(loaded) || soon(loaded));
    assert!(server.get("/-/readyz").status == 200);
}

#[test]
fn a_slow_bucket_keeps_no_other_site_waiting() {
    // It takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let silent_origin = Origin::Open(BaseUrl::parse(&silent_url).unwrap());
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    let site = |vendor: &str, origin: Origin| SiteConfig {
        vendor: vendor.parse().unwrap(),
        metadata: Metadata::Snapshots(origin.clone()),
        bucket: Bucket::Redirect(origin),
        users: None,
        issuer: None,
        client_ca: None,
    };
    let options = Options {
        poll: Duration::from_millis(20),
        remote_poll: Duration::from_millis(50),
        patience: Duration::from_millis(300),
        ..Options::default()
    };
    let sites = vec![site("acme", with_key(&upstream)), site("silent", silent_origin)];
    let server = Server::start_with(sites, options);
    let ask = |vendor: &str, path: &str| server.ask("GET", path, &[("host", &format!("{vendor}.localhost"))]);
    assert_eq!(ask("acme", "/-/revision").text(), "aa11");
    assert_eq!(ask("silent", "/v2/").status, 503);
    publish(&upstream, "bb22", &files(&app("2")));
    assert!(soon(|| ask("acme", "/-/revision").text() == "bb22"));
}
