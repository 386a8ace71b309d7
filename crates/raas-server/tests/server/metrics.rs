//! The metrics. The headings are those of `docs/request-handling.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use raas_server::{Acme, BaseUrl, Bucket, Metadata, Notify, Options, Origin, SiteConfig, SiteSource, Traces};
use raas_types::crane::tree;
use raas_types::media_type::{DOCKER_MANIFEST, OCI_INDEX};

use crate::customers::customer;
use crate::support::{Answer, Folders, Published, Server, ask, image_id, later, soon, v1_document};
use crate::traces::Told;
use crate::upstream::{Fault, Upstream};

pub(crate) struct Counted {
    pub(crate) server: Server,
    metrics: std::net::SocketAddr,
}

impl Counted {
    pub(crate) fn start(sites: Vec<SiteConfig>) -> Self {
        Self::start_with(sites, Options::default())
    }

    pub(crate) fn start_with(sites: impl SiteSource, options: Options) -> Self {
        let is_secure = options.is_secure();
        Self::begin(sites, options, if is_secure { Server::start_unready } else { Server::start_with })
    }

    /// Like [`start_with`](Self::start_with), but nothing may be loaded yet.
    pub(crate) fn start_unready(sites: Vec<SiteConfig>, options: Options) -> Self {
        Self::begin(sites, options, Server::start_unready)
    }

    fn begin<S: SiteSource>(sites: S, options: Options, start: fn(S, Options) -> Server) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let metrics = listener.local_addr().unwrap();
        // The runtime lives as long as the tests.
        let runtime = Box::leak(Box::new(tokio::runtime::Runtime::new().unwrap()));
        let _guard = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let options = Options {
            poll: Duration::from_millis(20),
            remote_poll: Duration::from_millis(50),
            metrics: Some(Arc::new(listener)),
            ..options
        };
        Self { server: start(sites, options), metrics }
    }

    pub(crate) fn asked(&self, path: &str) -> Answer {
        ask(self.metrics, "GET", path, &[])
    }

    /// The value of the line with this beginning.
    pub(crate) fn number(&self, line: &str) -> Option<f64> {
        let text = self.asked("/metrics").text().to_owned();
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' ')).map(str::to_owned);
        found.map(|number| number.parse().unwrap())
    }
}

/// The metrics of servers that have done everything that is counted.
pub(crate) fn everything() -> String {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let one = app.image(DOCKER_MANIFEST, "one", "");
    let signature = format!("sha256-{}.sig", one.hex());
    let blob = app.blob(b"0123456789");
    app.tag("1.0", one);
    app.tag(&signature, one);
    folders.publish(&app);
    folders.write(&format!("{}bigbank", tree::CUSTOMERS), &customer("bigbank", &["*"], |_| {}));
    folders.revision("one");
    let upstream = Upstream::start(false);
    let origin = Origin::Open(BaseUrl::parse(&upstream.url()).unwrap());
    let elsewhere = SiteConfig {
        vendor: "other".parse().unwrap(),
        metadata: Metadata::Snapshots(origin.clone()),
        ..folders.site()
    };
    let notify = Some(Notify::new("http://127.0.0.1:1/", None).unwrap());
    let sites = vec![SiteConfig { bucket: Bucket::Redirect(origin), ..folders.site() }, elsewhere];
    let notify_publications = notify.clone();
    let traces = Some(Traces::new(Duration::from_secs(60), Told::default()));
    let options = Options { notify, notify_publications, traces, ..Options::default() };
    let counted = Counted::start_with(sites, options);
    let ask = |method: &str, agent: &str, path: &str| {
        let url = format!("http://acme.localhost/v2/app/{path}");
        assert!(counted.server.ask(method, &url, &[("user-agent", agent)]).status < 400, "{path}");
    };
    ask("HEAD", "docker", "manifests/1.0");
    ask("GET", "docker", "manifests/1.0");
    ask("GET", "Nexus/3", "manifests/1.0");
    ask("GET", "cosign", &format!("manifests/{signature}"));
    ask("GET", "docker", &format!("blobs/{blob}"));
    let secured = tempfile::tempdir().unwrap();
    let certificates = vec![crate::tls::issue(secured.path(), "acme.localhost")];
    // No authority listens there.
    let acme = Some(Acme {
        domains: vec!["registry.example.com".to_owned()],
        email: None,
        folder: secured.path().join("acme"),
        directory: "https://127.0.0.1:1/directory".to_owned(),
        ca: None,
        pause: Acme::PAUSE,
    });
    let options = Options { certificates, acme, ..Options::default() };
    let secure = Counted::start_with(vec![folders.site()], options);
    format!("{}{}", counted.asked("/metrics").text(), secure.asked("/metrics").text())
}

#[test]
fn pulls_are_counted_by_the_rule() {
    let folders = Folders::new("acme");
    let mut app = Published::new("tools/app");
    let (one, two) = (app.image(DOCKER_MANIFEST, "one", ""), app.image(DOCKER_MANIFEST, "two", ""));
    let index = app.index(OCI_INDEX, &[(two, "arm64")]);
    let signature = app.image(DOCKER_MANIFEST, "signature", "");
    let old = app.index(OCI_INDEX, &[(one, "arm64")]);
    for (tag, digest) in [("1.0", one), ("multi", index), ("latest", index)] {
        app.tag(tag, digest);
    }
    app.tag(&format!("sha256-{}.sig", one.hex()), signature);
    folders.publish(&app);
    folders.revision("one");
    let counted = Counted::start(vec![folders.site()]);
    let get = |reference: &str| {
        assert_eq!(counted.server.get(&format!("/v2/tools/app/manifests/{reference}")).status, 200);
    };
    let path = "/v2/tools/app/manifests/1.0";
    // As docker pulls, and as podman pulls. Another program counts as another client.
    assert_eq!(counted.server.ask("HEAD", path, &[]).status, 200);
    get(&one.to_string());
    get("1.0");
    let podman = [("user-agent", "containers/5.34 (github.com/containers/image)")];
    assert_eq!(counted.server.ask("GET", path, &podman).status, 200);
    // The pull of an index includes its manifests. Its digest has two tags.
    get("multi");
    get(&index.to_string());
    get(&two.to_string());
    let containerd = [("user-agent", "containerd/2.0")];
    let by_digest = format!("/v2/tools/app/manifests/{index}");
    assert_eq!(counted.server.ask("GET", &by_digest, &containerd).status, 200);
    // A 304 and a 404 are not pulls.
    let etag = format!("\"{one}\"");
    assert_eq!(counted.server.ask("GET", path, &[("if-none-match", &etag)]).status, 304);
    assert_eq!(counted.server.get("/v2/tools/app/manifests/none").status, 404);
    get(&old.to_string());
    get(&format!("sha256-{}.sig", one.hex()));
    get(&signature.to_string());
    let of = |tag: &str| {
        counted.number(&format!(r#"raas_pulls_total{{vendor="acme",repository="tools/app",tag="{tag}"}}"#))
    };
    assert_eq!(of("1.0"), Some(2.0));
    assert_eq!(of("multi"), Some(1.0));
    assert_eq!(of("latest|multi"), Some(1.0));
    assert_eq!(of("@"), Some(1.0));
    let text = counted.asked("/metrics").text().to_owned();
    assert_eq!(text.lines().filter(|line| line.starts_with("raas_pulls_total{")).count(), 4, "{text}");
    assert_eq!(counted.server.get("/v2/tools/app/tags/list").status, 200);
    get("latest");
    let others = r#"{vendor="acme",repository="tools/app"}"#;
    assert_eq!(counted.number(&format!("raas_polls_total{others}")), Some(2.0), "HEAD, and 304");
    assert_eq!(
        counted.number(&format!("raas_mirror_pulls_total{others}")),
        Some(1.0),
        "after a list of tags"
    );
    assert_eq!(counted.number("raas_uncounted_requests_total"), Some(0.0));
    let signatures = r#"raas_attachment_pulls_total{vendor="acme",repository="tools/app",kind="sig"}"#;
    assert_eq!(counted.number(signatures), Some(2.0));
    assert_eq!(counted.number(r#"raas_responses_total{api="v2",class="3xx"}"#), Some(1.0));
    assert_eq!(counted.number(r#"raas_responses_total{api="v2",class="4xx"}"#), Some(1.0));
    assert_eq!(counted.number(r#"raas_tags{vendor="acme"}"#), Some(4.0));
    assert_eq!(counted.number(r#"raas_repositories{vendor="acme"}"#), Some(1.0));
    assert!(counted.number("raas_sent_bytes_total") > Some(1000.0));
    let answers = counted.number(r#"raas_response_seconds_count{api="v2"}"#);
    assert!(answers > Some(10.0));
    assert_eq!(counted.number(r#"raas_response_seconds_bucket{api="v2",le="+Inf"}"#), answers);
    assert!(counted.number(r#"raas_response_seconds_sum{api="v2"}"#) > Some(0.0));
}

#[test]
fn open_connections_are_counted() {
    let folders = Folders::new("acme");
    folders.revision("one");
    let counted = Counted::start(vec![folders.site()]);
    let open = std::net::TcpStream::connect(counted.server.address).unwrap();
    assert!(soon(|| counted.number("raas_connections") == Some(1.0)));
    drop(open);
    assert!(soon(|| counted.number("raas_connections") == Some(0.0)));
}

#[test]
fn pulls_of_pulps_documents_are_counted_by_tag() {
    let folders = Folders::new("acme");
    let document = r#"{"type":"pulp-docker-redirect","version":2,"repository":"r","repo-registry-id":"old",
        "url":"https://pulp.example.com/old","protected":false}"#;
    folders.write("crane/data/old.json", document.as_bytes());
    folders.revision("one");
    let counted = Counted::start(vec![folders.site()]);
    assert_eq!(counted.server.get("/v2/old/manifests/1.0").status, 307);
    let pulls = r#"raas_pulls_total{vendor="acme",repository="old",tag="1.0"}"#;
    assert_eq!(counted.number(pulls), Some(1.0));
}

#[test]
fn bytes_are_counted_by_source() {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let blob = app.blob(b"0123456789");
    let masked = app.blob_entry(b"masked", Some("https://cdn.example.com/layer"));
    folders.publish(&app);
    let base = Some("https://cdn.example.com/v1/base");
    let v1 = v1_document("app", &[], &[(image_id('1'), base), (image_id('2'), None)], true);
    folders.write("crane/data/app/_v1.json", &v1);
    folders.revision("one");
    let bucket = Bucket::Redirect(Origin::Open(BaseUrl::parse("https://bucket.example.com/acme").unwrap()));
    let counted = Counted::start(vec![SiteConfig { bucket, ..folders.site() }]);
    let path = |digest| format!("/v2/app/blobs/{digest}");
    counted.server.get(&path(blob));
    counted.server.ask("GET", &path(blob), &[("range", "bytes=8-")]);
    counted.server.ask("HEAD", &path(blob), &[]);
    counted.server.get(&path(masked));
    for id in ['1', '2'] {
        counted.server.get(&format!("/v1/images/{}/layer", image_id(id)));
        counted.server.ask("HEAD", &format!("/v1/images/{}/layer", image_id(id)), &[]);
    }
    let to = |to: &str| counted.number(&format!(r#"raas_redirected_bytes_total{{vendor="acme",to="{to}"}}"#));
    assert_eq!(to("bucket"), Some(17.0), "a blob, two bytes of it, and a layer of five");
    assert_eq!(to("elsewhere"), Some(11.0), "a masked layer of six, and one of five");
}

#[test]
fn the_state_of_the_metadata_is_in_the_metrics() {
    let upstream = Upstream::start(false);
    let origin = Origin::Open(BaseUrl::parse(&upstream.url()).unwrap());
    let site = SiteConfig::new(
        "acme".parse().unwrap(),
        Metadata::Snapshots(origin.clone()),
        Bucket::Redirect(origin),
    );
    let folders = Folders::new("other");
    folders.write("crane/data/bad.json", b"{");
    folders.revision("one");
    let counted = Counted::start(vec![site, folders.site()]);
    let of = |name: &str| counted.number(&format!(r#"{name}{{vendor="acme"}}"#));
    assert_eq!((of("raas_metadata_current"), of("raas_loaded")), (Some(1.0), Some(1.0)));
    assert_eq!(of("raas_metadata_refusals_total"), Some(0.0));
    upstream.set("/_metadata/current", b"nonsense");
    assert!(soon(|| of("raas_metadata_refusals_total") > Some(0.0)));
    assert_eq!(of("raas_metadata_current"), Some(0.0));
    assert!(of("raas_metadata_age_seconds") > Some(0.0));
    assert_eq!(counted.number(r#"raas_refused_documents{vendor="other"}"#), Some(1.0));
    // The bucket does not answer: that is no refusal of metadata.
    upstream.fail("/_metadata/current", Fault::Status(500), usize::MAX);
    assert!(later(|| of("raas_metadata_read_failures_total") > Some(0.0)));
    let refusals = of("raas_metadata_refusals_total");
    let failures = of("raas_metadata_read_failures_total").unwrap();
    assert!(later(|| of("raas_metadata_read_failures_total") > Some(failures + 1.0)));
    assert_eq!(of("raas_metadata_refusals_total"), refusals);
    // A folder has the same metrics, but for the number of the publication.
    let of_folder = |name: &str| counted.number(&format!(r#"{name}{{vendor="other"}}"#));
    assert_eq!((of_folder("raas_metadata_current"), of_folder("raas_metadata_sequence")), (Some(1.0), None));
    assert!(of_folder("raas_metadata_age_seconds").is_some_and(|age| age < 5.0));
    std::fs::rename(folders.metadata(), folders.metadata().with_extension("away")).unwrap();
    assert!(soon(|| of_folder("raas_metadata_current") == Some(0.0)));
    assert!(counted.asked("/-/readyz").text().contains("2 of 2 sites loaded, 2 behind"));
    assert!(
        counted.asked("/-/readyz").text().contains("\nother: behind (the metadata folder cannot be read")
    );
    assert!(!counted.server.get("/-/readyz").text().contains("other:"), "clients do not learn the vendors");
}

/// Sites, some of whose vendors cannot be served.
struct PartlyRefused(Vec<SiteConfig>, Arc<AtomicBool>);

impl SiteSource for PartlyRefused {
    fn sites(&self) -> std::io::Result<Vec<SiteConfig>> {
        Ok(self.0.clone())
    }

    fn refused(&self) -> BTreeMap<String, String> {
        let is_refused = self.1.load(Ordering::Relaxed);
        is_refused.then(|| ("other".to_owned(), "line 7: no key".to_owned())).into_iter().collect()
    }
}

/// A missing file of one vendor stops no other vendor, and is seen.
#[test]
fn vendors_and_files_that_cannot_be_used_are_counted() {
    let folders = Folders::new("acme");
    folders.revision("one");
    let (users, refused) = (folders.bucket().join("users"), Arc::new(AtomicBool::new(true)));
    let site = SiteConfig { users: Some(users.clone()), ..folders.site() };
    let counted = Counted::start_with(PartlyRefused(vec![site], Arc::clone(&refused)), Options::default());
    let numbers = || {
        let files = counted.number("raas_unreadable_access_files{vendor=\"acme\"}");
        (files, counted.number("raas_refused_vendors"))
    };
    assert_eq!(numbers(), (Some(1.0), Some(1.0)));
    let loaded = || counted.number(r#"raas_loaded{vendor="other"}"#);
    assert_eq!(loaded(), Some(0.0));
    // A host that may be the refused vendor's gets no other vendor's images, and no 404.
    let status = |host: &str| counted.server.ask("GET", "/v2/", &[("host", host)]).status;
    let hosts = ["acme.localhost", "other.localhost", "nobody.localhost", "registry.example.com"];
    assert_eq!(hosts.map(status), [401, 503, 404, 503]);
    let ready = counted.asked("/-/readyz");
    assert_eq!(ready.status, 200, "the server serves what it can");
    assert!(ready.text().contains("1 files of users"), "{}", ready.text());
    assert!(ready.text().contains("1 configured vendors cannot be served"), "{}", ready.text());
    assert!(ready.text().contains("\nother: refused (line 7: no key)\n"), "{}", ready.text());
    std::fs::write(&users, "").unwrap();
    refused.store(false, Ordering::Relaxed);
    assert!(soon(|| numbers() == (Some(0.0), Some(0.0))));
    assert_eq!((loaded(), status("registry.example.com")), (None, 401));
    assert_eq!(counted.asked("/-/readyz").text(), "ok\n");
}

#[test]
fn operators_have_a_port_of_their_own() {
    let folders = Folders::new("acme");
    folders.revision("one");
    let counted = Counted::start(vec![folders.site()]);
    assert_eq!(counted.server.get("/metrics").status, 404, "the clients' port has no metrics");
    let page = counted.asked("/metrics");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(page.text().contains("# TYPE raas_pulls_total counter\n"));
    assert_eq!((counted.asked("/-/readyz").status, counted.asked("/-/healthz").status), (200, 200));
    assert_eq!(counted.asked("/v2/").status, 404);
    let sites: serde_json::Value =
        serde_json::from_slice(counted.asked("/-/sites").text().as_bytes()).unwrap();
    let expected =
        serde_json::json!({ "vendor": "acme", "revision": "one", "published": true, "problem": null });
    assert_eq!(sites["sites"], serde_json::json!([expected]));
    assert_eq!(counted.server.get("/-/sites").status, 404, "clients do not learn the vendors");
    assert_eq!(ask(counted.metrics, "POST", "/metrics", &[]).status, 405);
}
