//! Repositories whose bytes the server passes on. The headings are those of `docs/request-handling.md`, "Buckets".

use std::collections::BTreeSet;

use raas_server::{Bucket, ProxyRules, SiteConfig};
use raas_types::Digest;
use raas_types::media_type::DOCKER_MANIFEST;

use crate::buckets::{open, with_key};
use crate::support::{Answer, Folders, Published, Server, image_id, v1_document};
use crate::upstream::{Fault, Upstream};

/// More than arrives in one piece.
const LARGE: usize = 1_000_000;
const BASE: &[u8] = b"base layer";

/// A site whose repositories `app` and `tools/app` each have a layer in the bucket and a masked layer at each of two
/// locations.
struct Site {
    server: Server,
    bucket: Upstream,
    base: Upstream,
    _folders: Folders,
}

impl Site {
    fn start() -> Self {
        let (bucket, base) = (Upstream::start(true), Upstream::start(false));
        let folders = Folders::new("acme");
        base.set("/base", BASE);
        base.set("/other", &vec![b'x'; LARGE]);
        base.set("/v1/layer", b"layer");
        for name in ["app", "tools/app"] {
            let mut published = Published::new(name);
            let layer = published.blob_entry(b"layer", None);
            bucket.set(&format!("/acme/images/{name}/_v2/blobs/{layer}"), b"layer");
            published.blob_entry(BASE, Some(&format!("{}/base", base.url())));
            published.blob_entry(b"moved base", Some(&format!("{}/moved", base.url())));
            published.blob_entry(b"loops", Some(&format!("{}/loop", base.url())));
            // The right length and a wrong digest.
            published.blob_entry(&[b'y'; LARGE], Some(&format!("{}/other", base.url())));
            published.blob_entry(b"elsewhere", Some("http://203.0.113.1/layer"));
            let digest = published.image(DOCKER_MANIFEST, name, "");
            published.tag("latest", digest);
            folders.publish(&published);
        }
        base.set("/storage", b"moved base");
        base.fail("/moved", Fault::SendsOn("/storage"), usize::MAX);
        base.fail("/loop", Fault::SendsOn("/loop"), usize::MAX);
        let location = format!("{}/v1", base.url());
        let images = [(image_id('1'), Some(location.as_str())), (image_id('2'), None)];
        folders.write("crane/data/tools/app/_v1.json", &v1_document("tools/app", &[], &images, true));
        let origin = with_key(&bucket);
        let host = "127.0.0.1".parse().unwrap();
        let rules = ProxyRules {
            repositories: vec!["tools/*".parse().unwrap()],
            origin: Some(origin),
            hosts: BTreeSet::from([host]),
        };
        let site = SiteConfig {
            bucket: Bucket::Redirect(open(&bucket)),
            proxy_rules: Some(rules),
            ..folders.site()
        };
        Self { server: Server::start(vec![site]), bucket, base, _folders: folders }
    }

    fn blob(&self, name: &str, content: &[u8], headers: &[(&str, &str)]) -> Answer {
        self.server.ask("GET", &format!("/v2/{name}/blobs/{}", Digest::of(content)), headers)
    }
}

#[test]
fn only_named_repositories_are_streamed() {
    let site = Site::start();
    let table: [(&str, &[u8], u16); 7] = [
        ("app", b"layer", 307),
        ("app", BASE, 307),
        ("tools/app", b"layer", 200),
        ("tools/app", BASE, 200),
        ("tools/app", b"moved base", 200),
        // The location's host is not in the list.
        ("tools/app", b"elsewhere", 307),
        ("tools/app", b"loops", 503),
    ];
    for (name, content, status) in table {
        let answer = site.blob(name, content, &[]);
        assert_eq!(answer.status, status, "{name} {}", String::from_utf8_lossy(content));
        if status == 200 {
            assert_eq!(answer.body, content);
            assert_eq!(
                answer.header("docker-content-digest"),
                Some(Digest::of(content).to_string().as_str())
            );
        }
    }
    let requests = site.base.requests().len();
    let head = site.server.ask("HEAD", &format!("/v2/tools/app/blobs/{}", Digest::of(BASE)), &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!(site.base.requests().len(), requests, "HEAD is from what the document says");
    let part = site.blob("tools/app", BASE, &[("range", "bytes=5-")]);
    assert_eq!(
        (part.status, part.text(), part.header("content-range")),
        (206, "layer", Some("bytes 5-9/10"))
    );
    for ranges in ["bytes=0-1,5-9", "bytes=5-9,0-1,3-3", "lines=1-2"] {
        for content in [BASE, b"layer"] {
            let whole = site.blob("tools/app", content, &[("range", ranges)]);
            assert_eq!((whole.status, &*whole.body, whole.header("content-range")), (200, content, None));
        }
    }
    assert!(site.bucket.requests().iter().all(|(_, _, query)| query.contains("X-Amz-Signature")));
    // Docker v1: a masked layer and one in the bucket.
    let layer = site.server.get(&format!("/v1/images/{}/layer", image_id('1')));
    assert_eq!((layer.status, layer.text()), (200, "layer"));
    site.bucket.set(&format!("/acme/images/tools/app/{}/layer", image_id('2')), b"layer");
    let layer = site.server.get(&format!("/v1/images/{}/layer", image_id('2')));
    assert_eq!((layer.status, layer.text()), (200, "layer"));
    let page = site.server.get("/?image=tools/app&tag=latest");
    assert!(page.text().contains("this registry"), "{}", page.text());
}

#[test]
fn a_masked_layer_with_a_wrong_digest_never_completes() {
    let site = Site::start();
    let answer = site.blob("tools/app", &[b'y'; LARGE], &[]);
    // The answer had begun with the length; the last piece is missing.
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("1000000")));
    assert!(answer.body.len() < LARGE);
}
