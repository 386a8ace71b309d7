//! Metadata in a bucket. The headings are those of `docs/request-handling.md`, "Metadata in a bucket".

use std::sync::{Arc, Mutex};
use std::time::Duration;

use raas_server::{BaseUrl, Bucket, Metadata, Options, Origin, SiteConfig, SiteSource};
use raas_testkit::Snapshot;
use raas_testkit::snapshot::{TreeFiles, archive};
use raas_types::crane::{partition, tree};
use raas_types::media_type::DOCKER_MANIFEST;
use raas_types::{Digest, ObjectKey, Part, Pointer};

use crate::buckets::{open, with_key};
use crate::metrics::Counted;
use crate::support::{Published, Server, later, soon};
use crate::upstream::{Fault, Upstream};

const POINTER: &str = "/acme/images/_metadata/current";

pub(crate) fn app(version: &str) -> Published {
    image("app", version)
}

fn image(name: &str, version: &str) -> Published {
    let mut image = Published::new(name);
    let digest = image.image(DOCKER_MANIFEST, version, "");
    image.tag("latest", digest);
    image
}

pub(crate) fn files(published: &Published) -> TreeFiles {
    let manifests = published.manifest_digests();
    let manifests = manifests.map(|d| (tree::manifest(&published.name, d), published.bytes(d).to_owned()));
    manifests.chain([(tree::document(&published.name), published.document(false))]).collect()
}

fn path(digest: Digest) -> String {
    format!("/acme/images/{}", ObjectKey::Snapshot(digest))
}

fn put(upstream: &Upstream, snapshot: &Snapshot) {
    for (key, bytes) in snapshot.objects() {
        upstream.set(&format!("/acme/images/{key}"), &bytes);
    }
}

/// Publishes a snapshot with one part.
fn publish(upstream: &Upstream, revision: &str, files: &[(String, Vec<u8>)]) {
    put(upstream, &Snapshot::of(revision, files, 1));
}

fn server(origin: Origin) -> Server {
    let server = unready_server(origin);
    assert!(soon(|| server.get("/-/readyz").status == 200));
    server
}

fn unready_server(origin: Origin) -> Server {
    let site = SiteConfig::new(
        "acme".parse().unwrap(),
        Metadata::Snapshots(origin.clone()),
        Bucket::Redirect(origin),
    );
    let options = Options {
        poll: Duration::from_millis(20),
        remote_poll: Duration::from_millis(20),
        start_timeout: Duration::from_secs(5),
        ..Options::default()
    };
    Server::start_unready(vec![site], options)
}

fn serves(server: &Server, app: &Published) -> bool {
    let body = server.get(&format!("/v2/{}/manifests/latest", app.name)).body;
    body == app.bytes(app.manifest_digests().next().unwrap())
}

#[test]
fn any_server_serves_publications_from_a_bucket() {
    for private in [true, false] {
        let upstream = Upstream::start(private);
        publish(&upstream, "aa11", &files(&app("1")));
        let origin = if private { with_key(&upstream) } else { open(&upstream) };
        let servers = [server(origin.clone()), server(origin)];
        for server in &servers {
            assert!(serves(server, &app("1")), "the site is loaded before the first answer");
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
fn an_unchanged_pointer_costs_an_empty_answer() {
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    let server = server(with_key(&upstream));
    assert!(soon(|| upstream.statuses().ends_with(&[304, 304, 304])));
    assert_eq!(upstream.statuses().iter().filter(|status| **status == 200).count(), 2);
    assert!(serves(&server, &app("1")));
}

#[test]
fn incomplete_metadata_is_refused_and_the_last_good_metadata_stays() {
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    let server = server(with_key(&upstream));
    let files_of_two = files(&app("2"));
    let two = archive(&files_of_two);
    let said = |archives: Vec<Vec<u8>>| Snapshot::with("bb22", archives).pointer;
    let mut tampered = two.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let half = two[..two.len() / 2].to_vec();
    let escape = archive(&[("crane/other.json".into(), b"{}".to_vec())]);
    // The files belong to the second of two parts.
    let none = archive(&[]);
    upstream.set(&path(Digest::of(&none)), &none);
    let with = |size: u64| {
        let mut pointer = said(vec![two.clone()]);
        pointer.parts[0].size = size;
        pointer
    };
    // A pointer of an older raas.
    let older = said(Vec::new());
    let three = said(vec![two.clone(); 3]);
    let at = path(Digest::of(&two));
    let (at_half, at_escape) = (path(Digest::of(&half)), path(Digest::of(&escape)));
    type Case<'a> = (&'a str, Vec<u8>, &'a str, Option<&'a [u8]>);
    // The pointer, the path of an archive, and the archive.
    let cases: Vec<Case<'_>> = vec![
        ("no archive", said(vec![two.clone()]).to_bytes(), &at, None),
        ("tampered", said(vec![two.clone()]).to_bytes(), &at, Some(&tampered)),
        ("half-written", said(vec![two.clone()]).to_bytes(), &at, Some(&half)),
        ("half of it named", said(vec![half.clone()]).to_bytes(), &at_half, Some(&half)),
        ("a foreign path", said(vec![escape.clone()]).to_bytes(), &at_escape, Some(&escape)),
        ("too long", with(Pointer::MAX_SNAPSHOT + 1).to_bytes(), &at, Some(&two)),
        ("longer than said", with(two.len() as u64 - 1).to_bytes(), &at, Some(&two)),
        ("shorter than said", with(two.len() as u64 + 1).to_bytes(), &at, Some(&two)),
        ("members of another part", said(vec![two.clone(), none]).to_bytes(), &at, Some(&two)),
        ("no parts", older.to_bytes(), &at, Some(&two)),
        ("three parts", three.to_bytes(), &at, Some(&two)),
        ("no pointer at all", b"{".to_vec(), &at, Some(&two)),
        ("a pointer without end", vec![b' '; 70_000], &at, Some(&two)),
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
            Some(archive) => upstream.set(at, archive),
            None => upstream.remove(at),
        }
        upstream.set(POINTER, &pointer);
        assert!(soon(|| refusals(&server) > before), "{what}");
        assert!(serves(&server, &app("1")), "{what}");
        assert_eq!(server.get("/-/revision").text(), "aa11", "{what}");
        assert!(server.get("/-/readyz").text().contains("1 behind"), "{what}");
        // A complete snapshot is served at once, and so is the first one again.
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

/// "Metadata in a bucket"
#[test]
fn a_pointer_to_an_earlier_publication_is_followed_only_if_the_operator_allows_it() {
    let at = |revision: &str, version: &str, sequence: u64| {
        let mut snapshot = Snapshot::of(revision, &files(&app(version)), 1);
        snapshot.pointer.sequence = sequence;
        snapshot
    };
    for allow_rollback in [false, true] {
        let upstream = Upstream::start(false);
        put(&upstream, &at("bb22", "2", 2));
        let origin = open(&upstream);
        let (metadata, bucket) = (Metadata::Snapshots(origin.clone()), Bucket::Redirect(origin));
        let site = SiteConfig::new("acme".parse().unwrap(), metadata, bucket);
        let counted = Counted::start_with(vec![site], Options { allow_rollback, ..Options::default() });
        let server = &counted.server;
        assert!(serves(server, &app("2")));
        put(&upstream, &at("aa11", "1", 1));
        let refused =
            || counted.number("raas_metadata_rollbacks_refused_total{vendor=\"acme\"}").expect("it is shown");
        if allow_rollback {
            assert!(soon(|| serves(server, &app("1"))));
            assert_eq!(refused(), 0.0);
        } else {
            assert!(soon(|| refused() > 1.0));
            assert!(serves(server, &app("2")));
            assert!(server.get("/-/readyz").text().contains("1 behind"));
        }
        // A rollback by raas is a later publication of earlier content.
        put(&upstream, &at("cc33", "1", 3));
        assert!(soon(|| server.get("/-/revision").text() == "cc33"));
        assert!(serves(server, &app("1")));
    }
}

/// "Metadata in a bucket"
#[test]
fn a_restarted_server_with_a_folder_for_its_state_does_not_go_back() {
    let at = |revision: &str, version: &str, sequence: u64| {
        let mut snapshot = Snapshot::of(revision, &files(&app(version)), 1);
        snapshot.pointer.sequence = sequence;
        snapshot
    };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let upstream = Upstream::start(false);
    let start = |state: Option<&std::path::Path>, allow_rollback: bool| {
        let origin = open(&upstream);
        let (metadata, bucket) = (Metadata::Snapshots(origin.clone()), Bucket::Redirect(origin));
        let site = SiteConfig::new("acme".parse().unwrap(), metadata, bucket);
        let options = Options { allow_rollback, state: state.map(Into::into), ..Options::default() };
        Counted::start_unready(vec![site], options)
    };
    let refused =
        |counted: &Counted| counted.number("raas_metadata_rollbacks_refused_total{vendor=\"acme\"}");
    // The pause doubles after each refusal.
    let late = |holds: &dyn Fn() -> bool| (0..15).any(|_| soon(holds));
    put(&upstream, &at("bb22", "2", 2));
    let noted = state.join("_followed/acme.json");
    let first = start(Some(&state), false);
    assert!(serves(&first.server, &app("2")));
    assert!(soon(|| noted.exists()));
    drop(first);
    // Somebody puts the pointer back while no server runs.
    put(&upstream, &at("aa11", "1", 1));
    let second = start(Some(&state), false);
    assert!(soon(|| refused(&second).is_some_and(|number| number > 0.0)));
    assert_eq!(second.server.get("/-/readyz").status, 503);
    assert_eq!(second.server.get("/v2/app/manifests/latest").status, 503);
    assert!(second.server.get("/-/metadata").text().contains("--allow-rollback"));
    // A lost pointer is no empty registry either.
    upstream.remove(POINTER);
    assert!(late(&|| second.server.get("/-/metadata").text().contains("has been removed")));
    assert_eq!(second.server.get("/v2/app/manifests/latest").status, 503);
    // The right pointer is followed at once.
    put(&upstream, &at("bb22", "2", 2));
    assert!(late(&|| serves(&second.server, &app("2"))));
    drop(second);
    // A damaged file is ignored.
    std::fs::write(&noted, "{").unwrap();
    put(&upstream, &at("aa11", "1", 1));
    let third = start(Some(&state), false);
    assert!(soon(|| serves(&third.server, &app("1"))));
    put(&upstream, &at("cc33", "2", 3));
    assert!(soon(|| std::fs::read_to_string(&noted).unwrap().contains(":3")));
    drop(third);
    // The operator may go back, and then the earlier publication is the last one.
    put(&upstream, &at("aa11", "1", 1));
    let fourth = start(Some(&state), true);
    assert!(soon(|| serves(&fourth.server, &app("1"))));
    assert!(soon(|| std::fs::read_to_string(&noted).unwrap().contains(":1}")));
    drop(fourth);
    let fifth = start(Some(&state), false);
    assert!(soon(|| serves(&fifth.server, &app("1"))));
    drop(fifth);
    // A folder that cannot be written keeps no server from serving.
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::write(&state, "").unwrap();
    let sixth = start(Some(&state), false);
    assert!(soon(|| serves(&sixth.server, &app("1"))));
}

/// Names of repositories that are in different parts of eight.
fn apart(count: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let part = |name: &str| partition::part_of(&format!("crane/data/{name}.json"), 8);
    for name in (0..).map(|n| format!("app{n}")) {
        if found.len() == count {
            break;
        }
        if found.iter().all(|other| part(other) != part(&name)) {
            found.push(name);
        }
    }
    found
}

/// These repositories with these versions, in this number of parts.
fn versions(revision: &str, versions: &[&str], parts: usize) -> (Vec<Published>, Snapshot) {
    let images: Vec<Published> =
        apart(versions.len()).iter().zip(versions).map(|(name, version)| image(name, version)).collect();
    let all: TreeFiles = images.iter().flat_map(files).collect();
    (images, Snapshot::of(revision, &all, parts))
}

fn archives_asked_for(upstream: &Upstream) -> Vec<String> {
    let paths = upstream.requests().into_iter().map(|(_, path, _)| path);
    paths.filter(|path| path.ends_with(".tar.gz")).collect()
}

#[test]
fn only_changed_parts_are_fetched() {
    let upstream = Upstream::start(true);
    let (one, snapshot) = versions("aa11", &["1", "1", "1"], 8);
    put(&upstream, &snapshot);
    let server = server(with_key(&upstream));
    assert!(one.iter().all(|image| serves(&server, image)));
    // Parts without files have equal archives, and each is fetched.
    assert_eq!(archives_asked_for(&upstream).len(), 8);
    let (two, changed) = versions("bb22", &["1", "2", "1"], 8);
    let part = |parts: &[Part], at: usize| parts[at].digest;
    let differ = |at: &usize| part(&snapshot.pointer.parts, *at) != part(&changed.pointer.parts, *at);
    let [at] = (0..8).filter(differ).collect::<Vec<_>>()[..] else { panic!("one part changed") };
    put(&upstream, &changed);
    assert!(soon(|| server.get("/-/revision").text() == "bb22"));
    assert!(two.iter().all(|image| serves(&server, image)));
    assert_eq!(archives_asked_for(&upstream)[8..], [path(part(&changed.pointer.parts, at))]);
    // Another commit with the same files.
    let (_, again) = versions("cc33", &["1", "2", "1"], 8);
    put(&upstream, &again);
    assert!(soon(|| server.get("/-/revision").text() == "cc33"));
    assert!(two.iter().all(|image| serves(&server, image)));
    assert_eq!(archives_asked_for(&upstream).len(), 9);
}

#[test]
fn one_invalid_part_refuses_the_whole_snapshot() {
    let upstream = Upstream::start(true);
    let (one, snapshot) = versions("aa11", &["1", "1", "1"], 8);
    put(&upstream, &snapshot);
    let server = server(with_key(&upstream));
    let (two, changed) = versions("bb22", &["2", "2", "1"], 8);
    let at = partition::part_of(&tree::document(&two[1].name), 8);
    let bad = path(changed.pointer.parts[at].digest);
    let mut tampered = changed.clone();
    tampered.archives[at][20] ^= 1;
    put(&upstream, &tampered);
    assert!(soon(|| server.get("/-/readyz").text().contains("1 behind")));
    assert!(one.iter().all(|image| serves(&server, image)));
    // As if somebody had published meanwhile, and the unused parts were removed.
    upstream.remove(&bad);
    let asked = archives_asked_for(&upstream).len();
    assert!(soon(|| archives_asked_for(&upstream).len() > asked + 3));
    assert!(one.iter().all(|image| serves(&server, image)));
    assert_eq!(server.get("/-/revision").text(), "aa11");
    upstream.set(&bad, &changed.archives[at]);
    assert!(soon(|| server.get("/-/revision").text() == "bb22"));
    assert!(two.iter().all(|image| serves(&server, image)));
    assert!(server.get("/-/readyz").text().contains("0 behind"));
}

#[test]
fn the_number_of_parts_may_change() {
    let upstream = Upstream::start(true);
    let (all, snapshot) = versions("0", &["1", "2", "3", "4"], 1);
    put(&upstream, &snapshot);
    let server = server(with_key(&upstream));
    assert!(all.iter().all(|image| serves(&server, image)));
    for (revision, parts, version) in [("1", 2, "5"), ("2", 16, "6"), ("3", 1, "7")] {
        let (all, snapshot) = versions(revision, &["1", "2", version, "4"], parts);
        put(&upstream, &snapshot);
        assert!(soon(|| server.get("/-/revision").text() == revision), "{parts}");
        assert!(all.iter().all(|image| serves(&server, image)), "{parts}");
    }
    // Only the files that a part no longer lists are removed.
    let (few, snapshot) = versions("4", &["1", "2"], 4);
    put(&upstream, &snapshot);
    assert!(soon(|| server.get("/-/revision").text() == "4"));
    assert!(few.iter().all(|image| serves(&server, image)));
    assert_eq!(server.get(&format!("/v2/{}/manifests/latest", all[2].name)).status, 404);
}

#[test]
fn a_document_that_does_not_load_keeps_its_last_valid_version() {
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    let server = server(with_key(&upstream));
    let mut other = Published::new("other");
    let digest = other.image(DOCKER_MANIFEST, "other", "");
    other.tag("latest", digest);
    // Without a manifest that the server has from before, and without one that it never had.
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
    let server = unready_server(with_key(&upstream));
    assert!(soon(|| server.get("/v2/").status == 200));
    assert_eq!(server.get("/v2/_catalog").text(), r#"{"repositories":[]}"#);
    publish(&upstream, "aa11", &files(&app("1")));
    assert!(soon(|| serves(&server, &app("1"))));
}

#[test]
fn a_missing_bucket_is_not_an_empty_registry() {
    let upstream = Upstream::start(true);
    upstream.fail(POINTER, Fault::Says(404, "NoSuchBucket"), usize::MAX);
    let options = Options {
        poll: Duration::from_millis(20),
        remote_poll: Duration::from_millis(20),
        start_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let origin = with_key(&upstream);
    let site = SiteConfig::new(
        "acme".parse().unwrap(),
        Metadata::Snapshots(origin.clone()),
        Bucket::Redirect(origin),
    );
    let server = Server::start_unready(vec![site], options);
    let ready = server.get("/-/readyz");
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().starts_with("not ready\n0 of 1 sites loaded, 1 behind their bucket or folder, "),
        "{}",
        ready.text()
    );
    assert_eq!(server.get("/v2/app/manifests/latest").status, 503);
    // A missing key is not a missing bucket. A bucket that is created later is served.
    upstream.fail(POINTER, Fault::Says(404, "NoSuchKey"), usize::MAX);
    assert!(soon(|| server.get("/-/readyz").text().contains("1 without `_metadata/current`")));
    assert!(soon(|| server.get("/v2/app/manifests/latest").status == 404));
    upstream.fail(POINTER, Fault::Status(0), 0);
    publish(&upstream, "aa11", &files(&app("1")));
    assert!(soon(|| serves(&server, &app("1"))));
    // The bucket was removed with all its content, by mistake: the last good metadata is served.
    upstream.fail(POINTER, Fault::Says(404, "NoSuchBucket"), usize::MAX);
    assert!(soon(|| server.get("/-/readyz").text().contains("1 of 1 sites loaded, 1 behind")));
    assert!(serves(&server, &app("1")));
}

#[test]
fn a_bucket_without_a_pointer_is_not_ready_and_the_reason_is_said() {
    let upstream = Upstream::start(true);
    let origin = with_key(&upstream);
    let site = SiteConfig::new(
        "acme".parse().unwrap(),
        Metadata::Snapshots(origin.clone()),
        Bucket::Redirect(origin),
    );
    let counted = Counted::start_unready(vec![site], Options::default());
    let server = &counted.server;
    assert!(soon(|| server.get("/-/readyz").text().contains("1 of 1 sites loaded")));
    let sites = || counted.asked("/-/sites").text().to_owned();
    assert!(sites().contains(r#""published":false"#), "{}", sites());
    let ready = server.get("/-/readyz");
    assert_eq!(ready.status, 503);
    let reason =
        "\n1 without `_metadata/current`: nothing is published there yet, or the publications have another ";
    assert!(ready.text().starts_with("not ready\n") && ready.text().contains(reason), "{}", ready.text());
    publish(&upstream, "aa11", &files(&app("1")));
    assert!(soon(|| server.get("/-/readyz").status == 200));
    assert_eq!(server.get("/-/readyz").text(), "ok\n");
    // The server finds the pointer before it has loaded what the pointer names.
    assert!(soon(|| sites().contains(r#""revision":"aa11""#)), "{}", sites());
    assert!(sites().contains(r#""published":true"#), "{}", sites());
}

#[test]
fn a_site_that_never_loaded_answers_503() {
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    upstream.fail(POINTER, Fault::Status(403), 3);
    let origin = with_key(&upstream);
    let site = SiteConfig::new(
        "acme".parse().unwrap(),
        Metadata::Snapshots(origin.clone()),
        Bucket::Redirect(origin),
    );
    let options = Options {
        poll: Duration::from_millis(20),
        remote_poll: Duration::from_millis(50),
        start_timeout: Duration::from_millis(100),
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
fn a_slow_bucket_does_not_delay_other_sites() {
    // It accepts the connection and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let silent_origin = Origin::Open(BaseUrl::parse(&silent_url).unwrap());
    let upstream = Upstream::start(true);
    publish(&upstream, "aa11", &files(&app("1")));
    let site = |vendor: &str, origin: Origin| {
        SiteConfig::new(
            vendor.parse().unwrap(),
            Metadata::Snapshots(origin.clone()),
            Bucket::Redirect(origin),
        )
    };
    let options = Options {
        poll: Duration::from_millis(20),
        remote_poll: Duration::from_millis(50),
        start_timeout: Duration::from_secs(60),
        start_pause: Duration::from_millis(300),
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

/// "Metadata in a bucket"
#[test]
fn metadata_that_takes_too_much_memory_is_refused() {
    let long = |n: u32| {
        let mut app = Published::new("app");
        let digest = app.manifest("application/x", format!("{n}{}", "x".repeat(300_000)).as_bytes());
        app.tag("latest", digest);
        app
    };
    let (greedy, modest) = (Upstream::start(false), Upstream::start(false));
    let many: Vec<_> = (0..20).flat_map(|n| files(&named(&long(n), n))).collect();
    publish(&greedy, "aa11", &many);
    publish(&modest, "bb22", &files(&app("1")));
    let site = |vendor: &str, upstream: &Upstream| {
        let origin = open(upstream);
        let (metadata, bucket) = (Metadata::Snapshots(origin.clone()), Bucket::Redirect(origin));
        SiteConfig::new(vendor.parse().unwrap(), metadata, bucket)
    };
    let options = Options {
        poll: Duration::from_millis(20),
        remote_poll: Duration::from_millis(20),
        start_timeout: Duration::from_secs(5),
        site_memory: 3_000_000,
        ..Options::default()
    };
    let server = Server::start_with(vec![site("greedy", &greedy), site("modest", &modest)], options);
    let status = |host: &str| server.ask("GET", "/v2/app/manifests/latest", &[("host", host)]).status;
    // A server that starts serves all others.
    assert_eq!((status("modest.localhost"), status("greedy.localhost")), (200, 503));
    let metadata = |host: &str| server.ask("GET", "/-/metadata", &[("host", host)]).text().to_owned();
    assert_eq!(metadata("modest.localhost"), r#"{"problem":null,"revision":"bb22"}"#);
    let told = metadata("greedy.localhost");
    assert!(told.contains("more than 3000000 bytes of memory; nothing is served"), "{told}");
    publish(&greedy, "cc33", &files(&long(1)));
    assert!(soon(|| status("greedy.localhost") == 200), "a publication that fits is served");
    publish(&greedy, "dd44", &many);
    let told = "bytes of memory; the last good metadata is served";
    assert!(soon(|| metadata("greedy.localhost").contains(told)), "{}", metadata("greedy.localhost"));
    assert!(soon(|| server.get("/-/readyz").text() != "ok\n"), "{}", server.get("/-/readyz").text());
    let revision = server.ask("GET", "/-/revision", &[("host", "greedy.localhost")]);
    assert_eq!((revision.text(), status("greedy.localhost")), ("cc33", 200), "the last good metadata stays");
    publish(&greedy, "ee55", &files(&long(2)));
    let revision = || server.ask("GET", "/-/revision", &[("host", "greedy.localhost")]).text().to_owned();
    assert!(soon(|| revision() == "ee55"), "the next good publication is served");
    assert!(soon(|| metadata("greedy.localhost").contains("null")), "{}", metadata("greedy.localhost"));
}

/// The same repository with another name.
fn named(app: &Published, n: u32) -> Published {
    let mut other = Published::new(&format!("app{n}"));
    let digest = *app.manifest_digests().next().unwrap();
    let digest = other.manifest("application/x", app.bytes(&digest));
    other.tag("latest", digest);
    other
}

/// "Metadata in a bucket"
#[test]
fn refused_content_is_not_read_again_and_again() {
    let upstream = Upstream::start(false);
    publish(&upstream, "aa11", &files(&app("1")));
    let server = server(open(&upstream));
    let refused = || server.get("/-/readyz").text() != "ok\n";
    publish(&upstream, "bb22", &[("crane/other.json".into(), b"{}".to_vec())]);
    assert!(soon(refused));
    let fetched = |upstream: &Upstream| upstream.statuses().len();
    let before = fetched(&upstream);
    // The pointer is still asked for, and its part is not.
    assert!(soon(|| fetched(&upstream) > before + 3));
    let requests = upstream.requests();
    let parts = requests.iter().filter(|request| request.1.contains(".tar.gz")).count();
    assert_eq!(parts, 2, "{requests:?}");
    publish(&upstream, "cc33", &files(&app("2")));
    assert!(soon(|| serves(&server, &app("2"))), "the next publication is read");
}

/// Sites that a test changes.
struct Changing(Arc<Mutex<Vec<SiteConfig>>>);

impl SiteSource for Changing {
    fn sites(&self) -> std::io::Result<Vec<SiteConfig>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

#[test]
fn a_new_place_is_served_once_it_was_read_and_new_users_see_nothing_before() {
    let upstream = Upstream::start(false);
    publish(&upstream, "aa11", &files(&app("1")));
    let place = |name: &str| Origin::Open(BaseUrl::parse(&format!("{}/{name}", upstream.url())).unwrap());
    let site = |name: &str, hosts: &[&str]| {
        let origin = place(name);
        let metadata = Metadata::Snapshots(origin.clone());
        let site = SiteConfig::new("acme".parse().unwrap(), metadata, Bucket::Redirect(origin));
        SiteConfig { hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(), ..site }
    };
    let sites = Arc::new(Mutex::new(vec![site("acme/images", &["one.example"])]));
    let counted = Counted::start_with(Changing(Arc::clone(&sites)), Options::default());
    let server = &counted.server;
    assert!(serves(server, &app("1")));
    // A misspelt name, with another file of users and another host.
    let users = tempfile::NamedTempFile::new().unwrap();
    let wrong = SiteConfig { users: Some(users.path().to_owned()), ..site("acme/imagse", &["two.example"]) };
    let pointer = "/acme/imagse/_metadata/current";
    let faults =
        [(Fault::Status(500), usize::MAX, "cannot be read"), (Fault::Status(0), 0, "no `_metadata/current`")];
    for (fault, times, reason) in faults {
        upstream.fail(pointer, fault, times);
        *sites.lock().unwrap() = vec![wrong.clone()];
        assert!(
            later(|| counted.asked("/-/readyz").text().contains(reason)),
            "{}",
            counted.asked("/-/readyz").text()
        );
        assert_eq!(counted.number("raas_refused_vendors"), Some(1.0));
    }
    assert_eq!(server.get("/v2/").status, 200, "the new users are none of the earlier place's");
    let location = |digest: Digest| {
        let answer = server.get(&format!("/v2/app/blobs/{digest}"));
        answer.header("location").unwrap_or_default().to_owned()
    };
    assert!(serves(server, &app("1")), "the place of the earlier configuration");
    let config = config_of(&server.get("/v2/app/manifests/latest").body);
    assert!(location(config).contains("/acme/images/"), "{}", location(config));
    // The earlier place is still followed.
    publish(&upstream, "bb22", &files(&app("2")));
    assert!(later(|| serves(server, &app("2"))));
    // The new place is served as soon as it has a publication.
    for (key, bytes) in Snapshot::of("cc33", &files(&app("3")), 1).objects() {
        upstream.set(&format!("/acme/imagse/{key}"), &bytes);
    }
    assert!(later(|| serves(server, &app("3"))));
    assert_eq!(server.get("/v2/").status, 401, "they are those of the new place");
    assert!(later(|| counted.number("raas_refused_vendors") == Some(0.0)));
    let config = config_of(&server.get("/v2/app/manifests/latest").body);
    assert!(location(config).contains("/acme/imagse/"), "{}", location(config));
    // A vendor that is taken out of the list goes at once.
    sites.lock().unwrap().clear();
    assert!(later(|| server.get("/v2/").status == 404));
}

fn config_of(manifest: &[u8]) -> Digest {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
    manifest["config"]["digest"].as_str().unwrap().parse().unwrap()
}
