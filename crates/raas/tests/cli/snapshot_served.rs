//! A server follows the snapshots in a bucket.

use std::time::{Duration, Instant};

use raas_platform::{ServerRegistration, client};
use raas_publish::record::Record;
use raas_publish::snapshot::{SnapshotCheck, SnapshotPublisher};
use raas_publish::storage::Directory;
use raas_server::{BaseUrl, Bucket, Metadata, Origin, SiteConfig};
use raas_testkit::http::Server;

#[test]
fn a_server_follows_the_publications() {
    let folder = tempfile::tempdir().unwrap();
    let record = Record::new(folder.path().join("r.git"));
    record.create().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let storage = Directory::new(folder.path().join("bucket"));
    let vendor = "acme".parse().unwrap();
    let publish = |path: &str, text: &str| {
        let changes = [(path.to_owned(), Some(text.as_bytes().to_vec()))];
        let commit = record.commit(record.head().unwrap().as_ref(), &changes, "change").unwrap();
        let publisher =
            SnapshotPublisher { vendor: &vendor, record: &record, storage: &storage, spool: folder.path() };
        publisher.publish(SnapshotCheck::Quick, None).unwrap();
        commit
    };
    let document = r#"{"type": "pulp-docker-redirect", "version": 1, "repository": "app", "repo-registry-id": "app",
        "url": "https://x/app", "images": [], "tags": {}}"#;
    let one = publish("crane/data/app/_v1.json", document);
    let bucket = Server::folder(&folder.path().join("bucket"));
    let origin = Origin::Open(BaseUrl::parse(&bucket.url("")).unwrap());
    let site = SiteConfig::new(vendor.clone(), Metadata::Snapshots(origin.clone()), Bucket::Redirect(origin));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let options = raas_server::Options { remote_poll: Duration::from_millis(50), ..Default::default() };
    runtime.spawn(raas_server::serve(listener, vec![site], options, std::future::pending()));
    let server = ServerRegistration { address, pid: 0, vendors: Vec::new(), secure: false };
    let ask = |path: &str| client::ask(&server, &vendor, path).unwrap();
    assert_eq!(ask("/-/revision"), one.as_str());
    assert_eq!(ask("/v1/repositories/app/tags"), "{}");
    let two = publish("crane/data/other/_v1.json", &document.replace("app", "other"));
    let begun = Instant::now();
    while ask("/-/revision") != two.as_str() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(ask("/v1/repositories/other/tags"), "{}");
    runtime.shutdown_background();
}
