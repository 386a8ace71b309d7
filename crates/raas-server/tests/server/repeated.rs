//! Requests that come again within a second: the server sends the bytes of the last answer again.

use raas_server::{BaseUrl, Bucket, Origin, SiteConfig};
use raas_types::media_type::DOCKER_MANIFEST;

use crate::metrics::Counted;
use crate::support::{Folders, Published, Server, soon};

const PATH: &str = "/v2/app/manifests/latest";

/// More often than an answer is made before its bytes are sent again.
const TIMES: usize = 6;

fn app(version: &str) -> Published {
    let mut app = Published::new("app");
    let digest = app.image(DOCKER_MANIFEST, version, "");
    app.tag("latest", digest);
    app
}

#[test]
fn each_of_them_is_counted() {
    let folders = Folders::new("acme");
    folders.publish(&app("1"));
    folders.revision("one");
    let counted = Counted::start(vec![folders.site()]);
    let number = |name: &str| counted.number(name).unwrap_or_default();
    let (responses, sent) = (r#"raas_responses_total{api="v2",class="2xx"}"#, "raas_sent_bytes_total");
    let (answered, bytes) = (number(responses), number(sent));
    let mut length = 0;
    for _ in 0..TIMES {
        assert_eq!(counted.server.ask("HEAD", PATH, &[]).status, 200);
        length = counted.server.get(PATH).body.len();
    }
    assert_eq!(number(responses) - answered, 2.0 * TIMES as f64);
    assert_eq!(number(sent) - bytes, (TIMES * length) as f64);
    let polls = r#"raas_polls_total{vendor="acme",repository="app"}"#;
    assert!(number(polls) >= TIMES as f64 - 1.0, "{}", number(polls));
}

#[test]
fn the_bytes_of_each_redirect_are_counted() {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let blob = app.blob(b"0123456789");
    folders.publish(&app);
    folders.revision("one");
    let bucket = Bucket::Redirect(Origin::Open(BaseUrl::parse("https://bucket.example.com/acme").unwrap()));
    let counted = Counted::start(vec![SiteConfig { bucket, ..folders.site() }]);
    let path = format!("/v2/app/blobs/{blob}");
    for _ in 0..TIMES {
        assert_eq!(counted.server.get(&path).status, 307);
        assert_eq!(counted.server.ask("GET", &path, &[("range", "bytes=8-")]).status, 307);
    }
    let bytes = counted.number(r#"raas_redirected_bytes_total{vendor="acme",to="bucket"}"#);
    assert_eq!(bytes, Some(12.0 * TIMES as f64));
}

#[test]
fn none_of_them_gets_the_answer_of_an_earlier_publication() {
    let folders = Folders::new("acme");
    folders.publish(&app("0"));
    folders.revision("0");
    let server = Server::start(vec![folders.site()]);
    // Many times, so that publications and answers meet within a second.
    for version in 1..8 {
        for _ in 0..TIMES {
            assert_eq!(server.get(PATH).status, 200);
        }
        let (version, next) = (version.to_string(), app(&version.to_string()));
        folders.publish(&next);
        folders.revision(&version);
        assert!(soon(|| server.get("/-/revision").text() == version));
        let digest = next.manifest_digests().next().unwrap().to_string();
        for _ in 0..TIMES {
            assert_eq!(server.get(PATH).header("docker-content-digest"), Some(digest.as_str()));
        }
    }
}

#[test]
fn none_of_them_gets_the_answer_of_another_host() {
    let (one, two) = (Folders::new("one"), Folders::new("two"));
    for (folders, version) in [(&one, "1"), (&two, "2")] {
        folders.publish(&app(version));
        folders.revision(version);
    }
    let server = Server::start(vec![one.site(), two.site()]);
    for _ in 0..TIMES {
        for (host, version) in [("one.localhost", "1"), ("two.localhost", "2")] {
            let digest = app(version).manifest_digests().next().unwrap().to_string();
            let answer = server.ask("GET", PATH, &[("host", host)]);
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()), "{host}");
        }
    }
}
