//! A site that replaces a legacy Crane. The headings are those of `docs/request-handling.md`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use raas_server::{
    AkamaiToken, Bucket, ContentFolders, CraneRules, Metadata, Options, SiteConfig, TokenAlgorithm,
};
use raas_types::Digest;
use raas_types::crane::V2Content;
use raas_types::media_type::{DOCKER_LIST, DOCKER_MANIFEST};
use tempfile::TempDir;

use crate::support::{Published, Server, image_id, pulp_document, soon, v1_document};

/// Documents in several folders: one is a link, raas wrote one, and one is invalid.
fn documents(data: &Path) -> (Published, Digest) {
    let write = |path: &str, bytes: &[u8]| {
        fs::create_dir_all(data.join(path).parent().unwrap()).unwrap();
        fs::write(data.join(path), bytes).unwrap();
    };
    let list = V2Content {
        schema2: ["two".into()].into(),
        lists: ["multi".into()].into(),
        amd64_tags: [("bad".into(), ("../../../../etc/passwd".into(), 2))].into(),
        ..V2Content::default()
    };
    write("a.json", &pulp_document("app", list));
    write("deep/_er/b.json", &pulp_document("tools/flat", V2Content { flat: true, ..V2Content::default() }));
    write("v1/old.json", &v1_document("old", &[("latest", image_id('1'))], &[(image_id('1'), None)], false));
    let mut own = Published::new("own");
    let masked = own.masked_image();
    write("own.json", &own.document(false));
    write("broken.json", b"{");
    fs::create_dir_all(data.parent().unwrap().join("published")).unwrap();
    let linked = data.parent().unwrap().join("published/linked.json");
    fs::write(&linked, pulp_document("linked", V2Content { flat: true, ..V2Content::default() })).unwrap();
    symlink(linked, data.join("linked.json")).unwrap();
    (own, masked)
}

fn server(home: &TempDir, rules: CraneRules) -> (Server, Published, Digest) {
    let data = home.path().join("data");
    fs::create_dir_all(&data).unwrap();
    let (own, masked) = documents(&data);
    let metadata = Metadata::Crane(data, Duration::from_millis(20));
    let site = SiteConfig {
        crane: Some(rules),
        ..SiteConfig::new("crane".parse().unwrap(), metadata, Bucket::Nowhere)
    };
    let options = Options { poll: Duration::from_millis(20), ..Options::default() };
    (Server::start_with(vec![site], options), own, masked)
}

/// Crane and redirects
#[test]
fn redirects_are_those_of_crane() {
    let home = tempfile::tempdir().unwrap();
    let (server, own, masked) = server(&home, CraneRules::default());
    let digest = Digest::of(b"x");
    let manifest = own.manifest_digests().next().unwrap();
    let id = image_id('1');
    let at = |rest: &str| format!("https://bucket.example.com/{rest}");
    let table = [
        ("/v2/app/manifests/multi".to_owned(), DOCKER_LIST, 307, at("app/manifests/list/multi")),
        ("/v2/app/manifests/two".into(), DOCKER_MANIFEST, 307, at("app/manifests/2/two")),
        ("/v2/app/manifests/two".into(), "*/*", 307, at("app/manifests/1/two")),
        // An invalid digest never becomes part of a URL.
        ("/v2/app/manifests/bad".into(), DOCKER_MANIFEST, 307, at("app/manifests/1/bad")),
        ("/v2/app/tags/list".into(), "*/*", 307, at("app/tags/list")),
        (format!("/v2/app/blobs/{digest}"), "*/*", 307, at(&format!("app/blobs/{digest}"))),
        ("/v2/tools/flat/manifests/1.0".into(), "*/*", 307, at("tools/flat/manifests/1.0")),
        ("/v2/linked/manifests/1.0".into(), "*/*", 307, at("linked/manifests/1.0")),
        (format!("/v1/images/{id}/layer"), "*/*", 302, at(&format!("old/{id}/layer"))),
        // For raas's own documents a Crane uses only the bucket. A masked layer is still at its location.
        (
            format!("/v2/own/manifests/{manifest}"),
            DOCKER_MANIFEST,
            307,
            at(&format!("own/manifests/2/{manifest}")),
        ),
        (format!("/v2/own/blobs/{masked}"), "*/*", 307, "https://cdn.example.com/base/layer".into()),
        (format!("/v2/own/blobs/{digest}"), "*/*", 307, at(&format!("own/blobs/{digest}"))),
    ];
    for (path, accept, status, location) in table {
        let answer = server.ask("GET", &path, &[("accept", accept)]);
        assert_eq!((answer.status, answer.header("location")), (status, Some(location.as_str())), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
    assert_eq!(server.get("/v2/broken/manifests/latest").status, 404);
    fs::remove_file(home.path().join("data/a.json")).unwrap();
    assert!(soon(|| server.get("/v2/app/tags/list").status == 404));
}

/// Crane and a CDN
#[test]
fn redirects_are_rewritten_and_get_a_token() {
    let home = tempfile::tempdir().unwrap();
    let ttl = Duration::from_secs(300);
    let rules = CraneRules {
        rewrite: Some(("bucket.example.com".into(), "edge.example.net/x".into())),
        token: Some(AkamaiToken::new("abc123", "_auth_", ttl, TokenAlgorithm::Sha256).unwrap()),
        endpoint: Some("registry.example.com:5000".into()),
        ..CraneRules::default()
    };
    let (server, _, masked) = server(&home, rules);
    let location = |path: &str| server.get(path).header("location").unwrap_or_default().to_owned();
    let sent = location("/v2/app/manifests/multi");
    assert!(
        sent.starts_with("https://edge.example.net/x/app/manifests/1/multi?_auth_=exp=")
            && sent.contains("~hmac="),
        "{sent}"
    );
    let layer = location(&format!("/v1/images/{}/layer", image_id('1')));
    assert!(
        layer.starts_with("https://edge.example.net/x/old/1111") && layer.contains("?_auth_=exp="),
        "{layer}"
    );
    let masked = location(&format!("/v2/own/blobs/{masked}"));
    assert!(masked.starts_with("https://cdn.example.com/base/layer?_auth_=exp="), "{masked}");
    let images = server.get("/v1/repositories/old/images");
    assert_eq!(images.header("x-docker-endpoints"), Some("registry.example.com:5000"));
}

/// Crane and files
#[test]
fn files_in_the_content_folders_are_sent_instead_of_redirects() {
    let home = tempfile::tempdir().unwrap();
    let folders = ContentFolders { v1: home.path().join("v1"), v2: home.path().join("v2") };
    let digest = Digest::of(b"layer");
    let id = image_id('1');
    let write = |path: String, bytes: &str| {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("v2/app/manifests/list/multi".into(), "list");
    write("v2/app/manifests/2/two".into(), "two");
    write("v2/app/manifests/1/two".into(), "one");
    write("v2/app/tags/list".into(), "tags");
    write("content/layer".into(), "layer");
    write(format!("v1/old/{id}/json"), "json");
    // As Pulp publishes them.
    fs::create_dir_all(home.path().join("v2/app/blobs")).unwrap();
    symlink(home.path().join("content/layer"), home.path().join(format!("v2/app/blobs/{digest}"))).unwrap();
    let (server, _, masked) = server(&home, CraneRules { content: Some(folders), ..CraneRules::default() });
    // A document whose id contains a path.
    write("secret/manifests/1/x".into(), "secret");
    for (name, id) in [("evil", ".."), ("worse", "../secret"), ("worst", "/etc")] {
        let text = String::from_utf8(pulp_document(name, V2Content::default())).unwrap();
        let text = text.replace(&format!("\"repository\": \"{name}\""), &format!("\"repository\": \"{id}\""));
        let text = text.replace(&format!("\"repository\":\"{name}\""), &format!("\"repository\":\"{id}\""));
        assert!(text.contains(id), "{text}");
        write(format!("data/{name}.json"), &text);
    }
    assert!(soon(|| server.get("/v2/_catalog").text().contains("worst")));
    let table = [
        ("/v2/app/manifests/multi".to_owned(), DOCKER_LIST, 200, Some(DOCKER_LIST), "list"),
        ("/v2/app/manifests/two".into(), DOCKER_MANIFEST, 200, Some(DOCKER_MANIFEST), "two"),
        ("/v2/app/manifests/two".into(), "*/*", 200, Some("application/json"), "one"),
        ("/v2/app/tags/list".into(), "*/*", 200, Some("application/json"), "tags"),
        (format!("/v2/app/blobs/{digest}"), "*/*", 200, Some("application/octet-stream"), "layer"),
        (format!("/v1/images/{id}/json"), "*/*", 200, Some("application/json"), "json"),
        ("/v2/app/manifests/none".into(), "*/*", 404, None, "MANIFEST_UNKNOWN"),
        (format!("/v2/app/blobs/{}", Digest::of(b"none")), "*/*", 404, None, "BLOB_UNKNOWN"),
        ("/v2/tools/flat/tags/list".into(), "*/*", 404, None, "NAME_UNKNOWN"),
        (format!("/v1/images/{id}/layer"), "*/*", 404, None, "no such image"),
        ("/v2/evil/manifests/x".into(), "*/*", 404, None, "MANIFEST_UNKNOWN"),
        ("/v2/worse/manifests/x".into(), "*/*", 404, None, "MANIFEST_UNKNOWN"),
        ("/v2/worst/manifests/x".into(), "*/*", 404, None, "MANIFEST_UNKNOWN"),
        (format!("/v2/own/blobs/{masked}"), "*/*", 307, None, ""),
    ];
    for (path, accept, status, kind, body) in table {
        let answer = server.ask("GET", &path, &[("accept", accept)]);
        assert_eq!(answer.status, status, "{path} {}", answer.text());
        assert!(answer.text().contains(body), "{path} {}", answer.text());
        if kind.is_some() {
            assert_eq!(answer.header("content-type"), kind, "{path}");
            let head = server.ask("HEAD", &path, &[("accept", accept)]);
            assert_eq!(
                (head.status, head.header("content-length")),
                (200, answer.header("content-length")),
                "{path}"
            );
        }
    }
    let part = server.ask("GET", &format!("/v2/app/blobs/{digest}"), &[("range", "bytes=1-2")]);
    assert_eq!((part.status, part.text()), (206, "ay"));
}

/// "In the place of a Crane"
#[test]
fn one_bad_entry_keeps_nothing_else_from_being_served() {
    let home = tempfile::tempdir().unwrap();
    let folders = ContentFolders { v1: home.path().join("no/v1"), v2: home.path().join("no/v2") };
    let data = home.path().join("data");
    let (listed, other) = (image_id('1'), image_id('2'));
    let dangling = v1_document("dangling", &[("1", listed)], &[(listed, None)], false);
    let dangling = String::from_utf8(dangling).unwrap();
    let dangling = dangling.replacen("\"1\":", &format!("\"old\": \"{other}\", \"1\":"), 1);
    let untyped = pulp_document("untyped", V2Content { flat: true, ..V2Content::default() });
    let untyped = String::from_utf8(untyped).unwrap().replace("\"type\": \"pulp-docker-redirect\",", "");
    assert!(dangling.contains("old") && !untyped.contains("pulp-docker"), "{dangling}{untyped}");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("dangling.json"), dangling).unwrap();
    fs::write(data.join("untyped.json"), untyped).unwrap();
    let (server, ..) = server(&home, CraneRules { content: Some(folders), ..CraneRules::default() });
    let digest = Digest::of(b"x");
    let table = [
        ("/v1/repositories/dangling/tags/1".to_owned(), 200),
        ("/v1/repositories/dangling/tags/old".into(), 404),
        (format!("/v2/untyped/blobs/{digest}"), 307),
        ("/v2/untyped/tags/list".into(), 307),
        // Without the content folders everything is redirected.
        (format!("/v1/images/{listed}/json"), 302),
        (format!("/v2/own/blobs/{digest}"), 307),
    ];
    for (path, status) in table {
        assert_eq!(server.get(&path).status, status, "{path}");
    }
}
