//! Deprecated tags: the header that clients show, the page, and the feed.

use raas_types::crane::Deprecation;
use raas_types::media_type::{DOCKER_MANIFEST, OCI_INDEX};
use raas_types::{Digest, Tag, Utc};

use crate::support::{Folders, Published, Server, soon};

const WARNING: &str = "299 - \"tools/app:2.3 is deprecated: use tools/app:2.4 (supported until 2026-12-31)\"";

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn day(day: u32) -> Utc {
    format!("2026-11-{day:02}").parse().unwrap()
}

/// A site with a deprecated tag, whose manifest has no other tag, and the digests of 2.3 and 2.4.
fn site() -> (Folders, Digest, Digest) {
    let folders = Folders::new("acme");
    let mut app = Published::new("tools/app");
    let old = app.image(DOCKER_MANIFEST, "old", "");
    let new = app.image(DOCKER_MANIFEST, "new", "");
    let index = app.index(OCI_INDEX, &[(new, "amd64")]);
    for (name, digest) in [("2.3", old), ("2.4", new), ("stable", new), ("multi", index)] {
        app.tag(name, digest);
    }
    let deprecation = Deprecation { since: day(9), r#use: tag("2.4"), until: "2026-12-31".parse().ok() };
    let extension = app.extension();
    extension.deprecated.insert(tag("2.3"), deprecation.clone());
    extension.deprecated.insert(tag("stable"), Deprecation { until: None, ..deprecation });
    extension.deprecated.insert(tag("multi"), Deprecation { since: day(3), r#use: tag("gone"), until: None });
    extension.published.extend([(tag("2.3"), day(1)), (tag("2.4"), day(8))]);
    folders.publish(&app);
    let mut hidden = Published::new("tools/hidden");
    let digest = hidden.image(DOCKER_MANIFEST, "hidden", "");
    hidden.tag("1.0", digest);
    hidden.extension().published.insert(tag("1.0"), day(20));
    folders.publish(&hidden);
    folders.write("crane/data/tools/hidden.json", &hidden.document(true));
    folders.revision("one");
    (folders, old, new)
}

/// "v2: manifests"
#[test]
fn a_deprecated_tag_is_answered_with_a_warning() {
    let (folders, old, new) = site();
    let server = Server::start(vec![folders.site()]);
    let warning = |method: &str, reference: &str, headers: &[(&str, &str)]| {
        let answer = server.ask(method, &format!("/v2/tools/app/manifests/{reference}"), headers);
        (answer.status, answer.header("warning").map(str::to_owned))
    };
    let warned = |status: u16, text: &str| (status, Some(text.to_owned()));
    for method in ["GET", "HEAD"] {
        assert_eq!(warning(method, "2.3", &[]), warned(200, WARNING));
        assert_eq!(warning(method, &old.to_string(), &[]), warned(200, WARNING));
    }
    let known = format!("\"{old}\"");
    assert_eq!(warning("GET", "2.3", &[("if-none-match", &known)]), warned(304, WARNING));
    // An image with a tag that is not deprecated has no warning by its digest.
    assert_eq!(
        warning("GET", "stable", &[]),
        warned(200, "299 - \"tools/app:stable is deprecated: use tools/app:2.4\"")
    );
    assert_eq!(warning("GET", &new.to_string(), &[]), (200, None));
    assert_eq!(warning("GET", "2.4", &[]), (200, None));
    // The replacement is no longer published. An old client gets the image of the index.
    for accept in ["*/*", DOCKER_MANIFEST] {
        assert_eq!(
            warning("GET", "multi", &[("accept", accept)]),
            warned(200, "299 - \"tools/app:multi is deprecated\"")
        );
    }
    // A cache must not keep a warning for a year.
    let cache = |digest: &Digest| {
        let answer = server.get(&format!("/v2/tools/app/manifests/{digest}"));
        answer.header("cache-control").unwrap().to_owned()
    };
    assert_eq!((cache(&old).as_str(), cache(&new).contains("immutable")), ("no-cache", true));
    assert_eq!(server.get("/v2/tools/app/manifests/none").header("warning"), None);
}

/// "v2: manifests"
#[test]
fn a_deprecation_ends_when_the_document_says_so() {
    let (folders, ..) = site();
    let server = Server::start(vec![folders.site()]);
    let warning = || server.get("/v2/tools/app/manifests/2.3").header("warning").map(str::to_owned);
    assert!(warning().is_some());
    let mut app = Published::new("tools/app");
    let old = app.image(DOCKER_MANIFEST, "old", "");
    app.tag("2.3", old);
    folders.publish(&app);
    folders.revision("two");
    assert!(soon(|| warning().is_none()));
}

/// The page
#[test]
fn pages_show_that_a_tag_is_deprecated() {
    let (folders, ..) = site();
    let server = Server::start(vec![folders.site()]);
    let page = server.get("/?image=tools/app&tag=2.3").text().to_owned();
    assert!(
        page.contains("<b>This tag is deprecated.</b> Use <a href=\"/?image=tools%2Fapp&amp;tag=2.4\">"),
        "{page}"
    );
    assert!(page.contains("31 December 2026</time>"), "{page}");
    let gone = server.get("/?image=tools/app&tag=multi").text().to_owned();
    assert!(gone.contains("<b>This tag is deprecated.</b></p>"), "{gone}");
    let tags = server.get("/?image=tools/app").text().to_owned();
    assert_eq!(tags.matches("class=\"badge warn\"").count(), 3, "{tags}");
    assert!(!server.get("/?image=tools/app&tag=2.4").text().contains("This tag is deprecated"));
}

/// "Operations"
#[test]
fn the_feed_has_the_last_publications_first() {
    let (folders, old, _) = site();
    let server = Server::start(vec![folders.site()]);
    let feed = server.get("/feed.atom").text().to_owned();
    let titles: Vec<&str> =
        feed.split("<entry>\n<title>").skip(1).map(|entry| entry.split_once("</title>").unwrap().0).collect();
    assert_eq!(
        titles,
        [
            "tools/app:stable is deprecated",
            "tools/app:2.3 is deprecated",
            "tools/app:2.4 is published",
            "tools/app:multi is deprecated",
            "tools/app:2.3 is published",
        ]
    );
    assert!(feed.contains("<updated>2026-11-09T00:00:00Z</updated>\n<author>"), "{feed}");
    assert!(feed.contains(&format!("is published with the digest {old}.")), "{feed}");
    assert!(feed.contains("href=\"http://registry.example.com/?image=tools%2Fapp&amp;tag=2.3\"/>"), "{feed}");
    assert!(!feed.contains("hidden"), "{feed}");
    let ids: std::collections::BTreeSet<&str> =
        feed.split("<id>").skip(1).map(|rest| rest.split_once("</id>").unwrap().0).collect();
    assert_eq!(ids.len(), 6, "every id stands there once");
    // Another server, or another host, gives the same ids.
    let other = Server::start(vec![folders.site()]);
    let again = other.ask("GET", "/feed.atom", &[("host", "other.example.com")]);
    assert!(ids.iter().all(|id| again.text().contains(id)));
}

/// "Operations"
#[test]
fn a_feed_has_a_fixed_number_of_entries() {
    let folders = Folders::new("acme");
    for name in ["a", "b", "c"] {
        let mut app = Published::new(name);
        let image = app.image(DOCKER_MANIFEST, name, "");
        for n in 0..80 {
            let version = tag(&format!("1.{n}"));
            app.tag(version.as_str(), image);
            app.extension().published.insert(version, Utc::from_unix(1_000_000 + n));
        }
        folders.publish(&app);
    }
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    let feed = server.get("/feed.atom").text().to_owned();
    assert_eq!(feed.matches("<entry>").count(), 50);
    assert_eq!(feed.matches("<title>a:1.79 ").count(), 1);
    assert!(!feed.contains(":1.60 "), "{feed}");
}
