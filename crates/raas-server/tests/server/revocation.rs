//! How soon servers of a bucket obey a change of a customer. The heading is that of `docs/request-handling.md`, "Metadata
//! in a bucket".

use std::time::{Duration, Instant};

use raas_server::{BaseUrl, Bucket, Metadata, Options, Origin, SiteConfig};
use raas_testkit::Snapshot;
use raas_types::crane::tree;
use raas_types::{ObjectKey, Utc};

use crate::customers::{basic, customer};
use crate::snapshots::{app, files};
use crate::support::{Server, soon};
use crate::upstream::Upstream;

/// Publishes the repository `app`, which is protected, and a customer with a key, unless `key` is none.
fn publish(upstream: &Upstream, vendor: &str, revision: &str, key: Option<bool>) {
    let published = app("1");
    let mut files = files(&published);
    files.retain(|(path, _)| *path != tree::document(&published.name));
    files.push((tree::document(&published.name), published.document(true)));
    if let Some(is_valid) = key {
        let revoked = (!is_valid).then(|| Utc::from_unix(5));
        let file = customer("bigbank", &["*"], |key| key.revoked = revoked);
        files.push((tree::customer(&"bigbank".parse().unwrap()), file));
    }
    // The pointer comes last.
    for (key, bytes) in Snapshot::of(revision, &files, 1).objects() {
        upstream.set(&format!("/{vendor}/{key}"), &bytes);
    }
}

fn site(upstream: &Upstream, vendor: &str) -> SiteConfig {
    let origin = Origin::Open(BaseUrl::parse(&format!("{}/{vendor}", upstream.url())).unwrap());
    SiteConfig::new(vendor.parse().unwrap(), Metadata::Snapshots(origin.clone()), Bucket::Redirect(origin))
}

/// "Metadata in a bucket", 1: with the default settings, at several moments between two polls.
#[test]
fn two_servers_of_a_bucket_refuse_a_revoked_key_within_a_second() {
    let upstream = Upstream::start(false);
    publish(&upstream, "acme", "aa00", Some(true));
    let servers = [0, 1].map(|_| Server::start_with(vec![site(&upstream, "acme")], Options::default()));
    let key = basic("bigbank", "bigbank");
    let statuses = || {
        let ask = |server: &Server| server.ask("GET", "/v2/app/tags/list", &[("authorization", &key)]).status;
        servers.each_ref().map(ask)
    };
    assert_eq!(statuses(), [200, 200]);
    for trial in 0..4 {
        std::thread::sleep(Duration::from_millis(170 * trial));
        publish(&upstream, "acme", &format!("bb0{trial}"), Some(false));
        assert!(soon(|| statuses() == [401, 401]), "trial {trial}: {:?}", statuses());
        publish(&upstream, "acme", &format!("cc0{trial}"), Some(true));
        assert!(soon(|| statuses() == [200, 200]), "trial {trial}: {:?}", statuses());
    }
}

/// "Metadata in a bucket", 1: hundreds of vendors without customers cost no more than before.
#[test]
fn only_the_buckets_of_vendors_with_customers_are_asked_more_often() {
    let upstream = Upstream::start(false);
    publish(&upstream, "many", "aa11", Some(true));
    publish(&upstream, "none", "aa11", None);
    let options = Options {
        remote_poll: Duration::from_millis(400),
        customers_poll: Duration::from_millis(40),
        ..Options::default()
    };
    let _server = Server::start_with(vec![site(&upstream, "many"), site(&upstream, "none")], options);
    let asked = |vendor: &str| {
        let pointer = format!("/{vendor}/{}", ObjectKey::Pointer);
        upstream.requests().iter().filter(|(_, path, _)| *path == pointer).count()
    };
    let begun = Instant::now();
    while asked("many") < 20 {
        assert!(begun.elapsed() < Duration::from_secs(30), "asked {} times", asked("many"));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(asked("none") < 10, "asked {} times", asked("none"));
}
