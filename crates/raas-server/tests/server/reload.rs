//! Publications while the server runs.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raas_server::{Options, SiteConfig, SiteSource};
use raas_types::crane::tree;
use raas_types::media_type::DOCKER_MANIFEST;

use crate::support::{Folders, Published, Server, image_id, soon, v1_document};

fn app(version: &str) -> Published {
    let mut app = Published::new("app");
    let digest = app.image(DOCKER_MANIFEST, version, "");
    app.tag("latest", digest);
    app
}

fn serves(server: &Server, app: &Published) -> bool {
    let digest = app.manifest_digests().next().unwrap().to_string();
    let answer = server.get("/v2/app/manifests/latest");
    answer.status == 200 && answer.header("docker-content-digest") == Some(digest.as_str())
}

#[test]
fn a_publication_is_served_within_a_second() {
    let folders = Folders::new("acme");
    folders.publish(&app("1"));
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    assert_eq!(server.get("/-/revision").text(), "one");
    assert!(serves(&server, &app("1")));
    folders.publish(&app("2"));
    folders.revision("two");
    assert!(soon(|| server.get("/-/revision").text() == "two"));
    assert!(serves(&server, &app("2")));
    fs::remove_file(folders.metadata().join(tree::document(&app("2").name))).unwrap();
    folders.revision("three");
    assert!(soon(|| server.get("/v2/app/manifests/latest").status == 404));
}

#[test]
fn a_download_goes_on_over_a_publication_and_a_restart() {
    let folders = Folders::new("acme");
    let mut app = app("1");
    let blob = format!("/v2/app/blobs/{}", app.blob(b"0123456789"));
    folders.publish(&app);
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    let paths = [blob.as_str(), "/v2/app/manifests/latest"];
    let tags = |server: &Server| {
        paths.map(|path| {
            let tags = ["GET", "HEAD"].map(|method| {
                let answer = server.ask(method, path, &[]);
                // A `Last-Modified` would be the file's, and every publication may write the file again.
                assert_eq!(answer.header("last-modified"), None);
                answer.header("etag").expect("the blob has an entity tag").to_owned()
            });
            assert_eq!(tags[0], tags[1], "{path}");
            tags[0].clone()
        })
    };
    let before = tags(&server);
    let rest = |server: &Server| {
        let headers = [("range", "bytes=7-"), ("if-range", before[0].as_str())];
        let answer = server.ask("GET", &blob, &headers);
        assert_eq!((answer.status, answer.text()), (206, "789"));
    };
    rest(&server);
    // The same content in new files, and another tag.
    let latest = *app.manifest_digests().next().unwrap();
    app.tag("2.0", latest);
    folders.publish(&app);
    folders.revision("two");
    assert!(soon(|| server.get("/v2/app/manifests/2.0").status == 200));
    assert_eq!(tags(&server), before);
    rest(&server);
    drop(server);
    let another = Server::start(vec![folders.site()]);
    assert_eq!(tags(&another), before);
    rest(&another);
}

#[test]
fn documents_without_a_revision_are_served() {
    let folders = Folders::new("acme");
    let server = Server::start(vec![folders.site()]);
    assert_eq!(server.get("/v2/app/manifests/latest").status, 404);
    folders.publish(&app("1"));
    assert!(soon(|| serves(&server, &app("1"))));
    assert_eq!((server.get("/-/revision").status, server.get("/-/revision").text()), (200, ""));
    folders.publish(&app("2"));
    assert!(soon(|| serves(&server, &app("2"))));
}

#[test]
fn a_folder_that_has_lost_its_revision_keeps_its_last_metadata() {
    let folders = Folders::new("acme");
    folders.publish(&app("1"));
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    assert!(soon(|| serves(&server, &app("1"))));
    // An empty folder is in its place, as where a setup has begun anew.
    fs::remove_dir_all(folders.metadata()).unwrap();
    fs::create_dir_all(folders.metadata().join(tree::DATA)).unwrap();
    assert!(soon(|| server.get("/-/metadata").text().contains("cannot be read")));
    assert!(serves(&server, &app("1")));
    folders.publish(&app("2"));
    folders.revision("two");
    assert!(soon(|| serves(&server, &app("2"))));
}

#[test]
fn a_broken_document_keeps_its_last_valid_version_and_hides_no_other() {
    let folders = Folders::new("acme");
    folders.publish(&app("1"));
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    let mut other = Published::new("other");
    let digest = other.image(DOCKER_MANIFEST, "other", "");
    other.tag("latest", digest);
    folders.publish(&other);
    folders.write(&tree::document(&app("1").name), b"{ not json");
    folders.revision("two");
    assert!(soon(|| server.get("/v2/other/manifests/latest").status == 200));
    assert!(serves(&server, &app("1")));
    // A lasting error does not hold the revision back.
    assert!(soon(|| server.get("/-/revision").text() == "two"));
    folders.publish(&app("2"));
    assert!(soon(|| serves(&server, &app("2"))));
}

#[test]
fn a_missing_or_wrong_manifest_keeps_the_last_valid_version() {
    let folders = Folders::new("acme");
    folders.publish(&app("1"));
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    let two = app("2");
    folders.publish(&two);
    let digest = *two.manifest_digests().next().unwrap();
    let file = tree::manifest(&two.name, &digest);
    for wrong in [None, Some(b"short".to_vec()), Some(vec![b' '; two.bytes(&digest).len()])] {
        // The server may have read the whole publication above. From here on it must read this one.
        folders.publish(&app("1"));
        folders.revision("one again");
        assert!(soon(|| server.get("/-/revision").text() == "one again" && serves(&server, &app("1"))));
        fs::remove_file(folders.metadata().join(&file)).unwrap();
        if let Some(wrong) = wrong {
            folders.write(&file, &wrong);
        }
        folders.write(&tree::document(&two.name), &two.document(false));
        folders.revision("two");
        assert!(soon(|| server.get("/-/revision").text() == "two"));
        assert!(serves(&server, &app("1")));
        folders.write(&file, two.bytes(&digest));
        assert!(soon(|| serves(&server, &two)), "the document is tried again without a new revision");
    }
}

#[test]
fn a_document_that_becomes_protected_is_hidden_even_if_broken() {
    let folders = Folders::new("acme");
    let app = app("1");
    folders.publish(&app);
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    assert!(serves(&server, &app));
    fs::remove_dir_all(folders.metadata().join(tree::manifests(&app.name))).unwrap();
    folders.write(&tree::document(&app.name), &app.document(true));
    folders.revision("two");
    assert!(soon(|| server.get("/v2/app/manifests/latest").status == 404));
    assert!(server.get("/v2/app/manifests/latest").text().contains("NAME_UNKNOWN"));
    assert!(!server.get("/v2/_catalog").text().contains("app"));
    assert!(!server.get("/").text().contains(">app<"));
}

#[test]
fn of_two_documents_with_one_name_the_one_at_its_own_path_is_served() {
    let folders = Folders::new("acme");
    folders.write("crane/data/a/elsewhere.json", &app("2").document(false));
    folders.publish(&app("2"));
    folders.publish(&app("1"));
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    assert!(serves(&server, &app("1")));
    fs::remove_file(folders.metadata().join(tree::document(&app("1").name))).unwrap();
    folders.revision("two");
    assert!(soon(|| serves(&server, &app("2"))));
}

#[test]
fn a_folder_that_goes_away_changes_nothing() {
    let folders = Folders::new("acme");
    folders.publish(&app("1"));
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    let away = folders.metadata().with_extension("away");
    fs::rename(folders.metadata(), &away).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(serves(&server, &app("1")));
    fs::rename(&away, folders.metadata()).unwrap();
    folders.publish(&app("2"));
    folders.revision("two");
    assert!(soon(|| serves(&server, &app("2"))));
    // A tree with a revision and without documents publishes nothing.
    fs::remove_dir_all(folders.metadata().join("crane")).unwrap();
    folders.revision("three");
    assert!(soon(|| server.get("/v2/app/manifests/latest").status == 404));
}

#[test]
fn new_vendors_appear_and_an_error_removes_none() {
    struct Source(Mutex<std::io::Result<Vec<SiteConfig>>>);
    struct SharedSource(Arc<Source>);
    impl SiteSource for SharedSource {
        fn sites(&self) -> std::io::Result<Vec<SiteConfig>> {
            match &*self.0.0.lock().unwrap() {
                Ok(sites) => Ok(sites.clone()),
                Err(error) => Err(std::io::Error::new(error.kind(), "no list")),
            }
        }
    }
    let (acme, other) = (Folders::new("acme"), Folders::new("other"));
    for folders in [&acme, &other] {
        folders.publish(&app(folders.site().vendor.as_str()));
        folders.revision(folders.site().vendor.as_str());
    }
    let source = Arc::new(Source(Mutex::new(Ok(vec![]))));
    let server = Server::start(SharedSource(Arc::clone(&source)));
    let revision = |vendor: &str| {
        server.ask("GET", "/-/revision", &[("host", &format!("{vendor}.localhost"))]).text().to_owned()
    };
    assert_eq!(server.get("/v2/").status, 404);
    *source.0.lock().unwrap() = Ok(vec![acme.site(), other.site()]);
    assert!(soon(|| revision("other") == "other" && revision("acme") == "acme"));
    *source.0.lock().unwrap() = Err(std::io::ErrorKind::PermissionDenied.into());
    acme.revision("acme 2");
    assert!(soon(|| revision("acme") == "acme 2"));
    assert_eq!(revision("other"), "other");
    *source.0.lock().unwrap() = Ok(vec![acme.site()]);
    // The remaining site answers under any host but another vendor's.
    assert!(soon(|| server.get("/-/revision").text() == "acme 2"));
    assert_ne!(revision("other"), "acme 2");
}

#[test]
fn invalid_documents_are_not_served() {
    let folders = Folders::new("acme");
    let edits: [(&str, &str, &str); 5] = [
        ("good", "", ""),
        ("type", "pulp-docker-redirect", "other"),
        ("version", "\"version\": 4", "\"version\": 9"),
        ("tag", "\"latest\": \"sha256:", "\"latest\": \"sha256:0000"),
        ("media", "\"media_type\": \"", "\"media_type\": \"\\r\\n"),
    ];
    for (name, from, to) in edits {
        let mut repository = Published::new(name);
        let digest = repository.image(DOCKER_MANIFEST, name, "");
        repository.tag("latest", digest);
        folders.publish(&repository);
        let mut text = String::from_utf8(repository.document(false)).unwrap();
        if !from.is_empty() {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        if name == "tag" {
            // Another digest of the same length.
            let at = text.find("\"latest\": \"sha256:0000").unwrap() + "\"latest\": \"sha256:".len() + 64;
            text.replace_range(at..at + 4, "");
        }
        folders.write(&tree::document(&repository.name), text.as_bytes());
    }
    for (name, location) in
        [("script", "javascript:alert(1)"), ("split", "https://x/\r\nx: y"), ("plain", "x")]
    {
        let mut repository = Published::new(name);
        let digest = repository.image(DOCKER_MANIFEST, name, "");
        repository.tag("latest", digest);
        repository.blob_entry(b"masked", Some(location));
        folders.publish(&repository);
    }
    let id = image_id('1');
    folders
        .write("crane/data/old.json", &v1_document("old", &[("latest", image_id('2'))], &[(id, None)], true));
    folders.write("crane/data/older.json", &v1_document("older", &[], &[(id, Some("ftp://x"))], true));
    folders.write("crane/data/_no/inside.json", &app("1").document(false));
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    assert_eq!(server.get("/v2/_catalog").text(), r#"{"repositories":["good"]}"#);
    assert_eq!(server.get(&format!("/v1/images/{id}/json")).status, 404);
    assert!(soon(|| server.get("/-/revision").text() == "one"));
}

#[test]
fn a_repository_is_consistent_during_many_publications() {
    let folders = Folders::new("acme");
    folders.publish(&app("0"));
    folders.revision("0");
    let server = Server::start_with(
        vec![folders.site()],
        Options { poll: Duration::from_millis(1), ..Options::default() },
    );
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut before = app("0");
            for n in 1..200 {
                let next = app(&n.to_string());
                folders.publish(&next);
                folders.revision(&n.to_string());
                for digest in before.manifest_digests() {
                    fs::remove_file(folders.metadata().join(tree::manifest(&before.name, digest))).unwrap();
                }
                before = next;
            }
        });
        while !publisher.is_finished() {
            let answer = server.get("/v2/app/manifests/latest");
            assert_eq!(answer.status, 200);
            let digest = raas_types::Digest::of(&answer.body).to_string();
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        }
    });
    assert!(soon(|| server.get("/-/revision").text() == "199"));
    assert!(serves(&server, &app("199")));
}

/// A site whose files are gone.
fn gone(folders: &Folders) -> SiteConfig {
    SiteConfig { is_gone: true, is_unreadable: true, ..folders.site() }
}

#[test]
fn a_site_whose_files_are_gone_stays_unless_it_publishes_nothing() {
    struct Source(Arc<Mutex<Vec<SiteConfig>>>);
    impl SiteSource for Source {
        fn sites(&self) -> std::io::Result<Vec<SiteConfig>> {
            Ok(self.0.lock().unwrap().clone())
        }
    }
    let [full, empty, never] = ["full", "empty", "never"].map(Folders::new);
    full.publish(&app("1"));
    full.revision("one");
    empty.revision("two");
    let sites = Arc::new(Mutex::new(vec![full.site(), empty.site()]));
    let server = Server::start(Source(Arc::clone(&sites)));
    let status = |vendor: &str| server.ask("GET", "/v2/", &[("host", &format!("{vendor}.localhost"))]).status;
    assert_eq!((status("full"), status("empty")), (200, 200));
    *sites.lock().unwrap() = vec![gone(&full), gone(&empty), gone(&never)];
    assert!(soon(|| status("empty") == 404));
    assert_eq!((status("full"), status("never")), (200, 404));
    assert_eq!(server.ask("GET", "/v2/app/manifests/latest", &[("host", "full.localhost")]).status, 200);
    *sites.lock().unwrap() = vec![full.site(), empty.site()];
    assert!(soon(|| status("empty") == 200));
}

#[test]
fn documents_that_vanish_before_the_revision_are_still_served() {
    let folders = Folders::new("acme");
    folders.publish(&app("1"));
    folders.write("crane/data/bad.json", b"{");
    folders.revision("one");
    // The broken document makes the server read the folder at every poll.
    let server = Server::start(vec![folders.site()]);
    assert!(soon(|| serves(&server, &app("1"))));
    fs::remove_file(folders.metadata().join(tree::document(&app("1").name))).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(serves(&server, &app("1")));
    folders.revision("two");
    assert!(soon(|| server.get("/v2/app/manifests/latest").status == 404));
}
