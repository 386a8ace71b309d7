//! Many vendors in one server, each with its own host and bucket.

use std::time::Duration;

use raas_server::{BaseUrl, Bucket, Metadata, Options, Origin, SiteConfig};
use raas_testkit::Snapshot;
use raas_types::ObjectKey;

use crate::sites::two_vendors;
use crate::snapshots::{app, files};
use crate::support::{Folders, Server, soon};
use crate::upstream::{Fault, Upstream};

fn at(site: SiteConfig, hosts: &[&str]) -> SiteConfig {
    SiteConfig { hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(), ..site }
}

#[test]
fn a_vendors_hosts_lead_to_its_site() {
    let [acme, other] = two_vendors();
    let server = Server::start(vec![
        at(other.site(), &["registry.other.example", "shared.example"]),
        at(acme.site(), &["registry.acme.example", "Images.ACME.example", "shared.example"]),
    ]);
    let table = [
        ("registry.acme.example", "acme-app", 200),
        ("registry.acme.example:443", "acme-app", 200),
        ("REGISTRY.acme.Example.", "acme-app", 200),
        ("images.acme.example", "acme-app", 200),
        ("acme.localhost", "acme-app", 200),
        ("registry.acme.example", "other-app", 404),
        ("registry.other.example", "other-app", 200),
        ("registry.other.example", "acme-app", 404),
        // Two vendors claim this host. The first by name gets it, whatever the order of the configuration.
        ("shared.example", "acme-app", 200),
        ("shared.example", "other-app", 404),
        ("acme.example", "acme-app", 404),
        ("x.registry.acme.example", "acme-app", 404),
        ("registry.acme.example.evil.example", "acme-app", 404),
        ("127.0.0.1", "acme-app", 404),
    ];
    for (host, name, status) in table {
        let answer = server.ask("GET", &format!("/v2/{name}/manifests/latest"), &[("host", host)]);
        assert_eq!(answer.status, status, "{host} {name}");
        let catalog = server.ask("GET", "/v2/_catalog", &[("host", host)]);
        let (own, foreign) = if host.contains("other.") { ("other", "acme") } else { ("acme", "other") };
        assert!(!catalog.text().contains(foreign), "{host}: {}", catalog.text());
        assert_eq!(catalog.status == 200, catalog.text().contains(own), "{host}");
    }
}

#[test]
fn the_only_site_answers_under_any_host_but_another_vendors() {
    let acme = Folders::new("acme");
    let server = Server::start(vec![at(acme.site(), &["registry.acme.example"])]);
    for (host, status) in [
        ("registry.acme.example", 200),
        ("10.0.0.1:5000", 200),
        ("acme.localhost", 200),
        ("other.localhost", 404),
    ] {
        assert_eq!(server.ask("GET", "/v2/", &[("host", host)]).status, status, "{host}");
    }
}

/// Two hundred vendors. One bucket in five accepts the connection and never answers.
#[test]
fn hanging_buckets_do_not_delay_two_hundred_other_sites() {
    const SITES: usize = 200;
    let upstream = Upstream::start(false);
    let hangs = |n: usize| n.is_multiple_of(5);
    let publish = |n: usize, version: &str| {
        for (key, bytes) in Snapshot::of(version, &files(&app(version)), 1).objects() {
            upstream.set(&format!("/v{n}/{key}"), &bytes);
        }
    };
    let sites: Vec<SiteConfig> = (0..SITES)
        .map(|n| {
            if hangs(n) {
                upstream.fail(&format!("/v{n}/{}", ObjectKey::Pointer), Fault::Silent, usize::MAX);
            } else {
                publish(n, "aa11");
            }
            let origin = Origin::Open(BaseUrl::parse(&format!("{}/v{n}", upstream.url())).unwrap());
            let vendor = format!("v{n}").parse().unwrap();
            let site = SiteConfig::new(vendor, Metadata::Snapshots(origin.clone()), Bucket::Redirect(origin));
            at(site, &[&format!("registry.v{n}.example")])
        })
        .collect();
    let options = Options {
        poll: Duration::from_millis(20),
        remote_poll: Duration::from_millis(400),
        start_timeout: Duration::ZERO,
        ..Options::default()
    };
    let server = Server::start_unready(sites, options);
    let loaded = || server.get("/-/readyz").text().contains("\n160 of 200 sites loaded, 40 behind");
    // A busy machine may need some time, but a hanging bucket takes half a minute.
    assert!((0..8).any(|_| soon(loaded)), "{}", server.get("/-/readyz").text());
    let revision = |n: usize| {
        let answer = server.ask("GET", "/-/revision", &[("host", &format!("registry.v{n}.example"))]);
        (answer.status, answer.text().to_owned())
    };
    for n in 0..SITES {
        assert_eq!(revision(n).0, if hangs(n) { 503 } else { 200 }, "{n}");
    }
    publish(SITES - 1, "bb22");
    assert!((0..4).any(|_| soon(|| revision(SITES - 1) == (200, "bb22".into()))));
    assert_eq!(revision(1), (200, "aa11".into()));
}
